/**
 * Swarm: the connections of a node. It listens, dials, secures, multiplexes and
 * keeps connections, and opens streams of protocols on them.
 *
 * Specification: connections/README.md; addressing/README.md.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import { ActorError } from "./Actors.ts"
import { StreamError } from "./ByteStream.ts"
import { Denied } from "./ConnectionGater.ts"
import { SecurityError } from "./ConnectionSecurity.ts"
import { NegotiationError } from "./Protocols.ts"
import type { ConnectionKind, ProtocolStream } from "./ProtocolStream.ts"
import { describeLimit, LimitExceeded } from "./ResourceManager.ts"
import { MuxerError } from "./StreamMuxer.ts"
import { TransportError } from "./Transport.ts"

// ---- why a connection could not be made -------------------------------------

/** No transport can dial the address. */
export class NoTransport extends Schema.TaggedClass<NoTransport>()("NoTransport", {}) {}
/** The network refused. */
export class TransportFailed extends Schema.TaggedClass<TransportFailed>()("TransportFailed", {
  cause: TransportError
}) {}
/** The two ends agreed on no security or no muxer. */
export class NegotiationFailed extends Schema.TaggedClass<NegotiationFailed>()("NegotiationFailed", {
  cause: NegotiationError
}) {}
/** The remote did not prove the identity that it should have. */
export class SecurityFailed extends Schema.TaggedClass<SecurityFailed>()("SecurityFailed", { cause: SecurityError }) {}
/**
 * The address did not answer, or did not finish the handshake, by the deadline. `stage` is how far it came. `network`:
 * this node is in the private network with this fingerprint, and the remote had said nothing that shows that it is, too.
 */
export class DeadlineExceeded extends Schema.TaggedClass<DeadlineExceeded>()("DeadlineExceeded", {
  stage: Schema.Literals(["dialing", "securing", "multiplexing"]),
  afterMs: Schema.Finite,
  network: Schema.optional(Schema.String)
}) {}
/** A name could not be resolved to addresses of the peer. */
export class UnresolvedName extends Schema.TaggedClass<UnresolvedName>()("UnresolvedName", { detail: Schema.String }) {}

/** The address is that of another peer than the one dialled: it ends with this `/p2p/<id>`. It was not tried. */
export class AnotherPeer extends Schema.TaggedClass<AnotherPeer>()("AnotherPeer", { named: Schema.String }) {}

/** The swarm is stopping or too busy to answer. */
export class SwarmUnavailable extends Schema.TaggedClass<SwarmUnavailable>()("SwarmUnavailable", {
  cause: ActorError
}) {}
/** The address failed a moment ago; it is tried again later. */
export class BackingOff extends Schema.TaggedClass<BackingOff>()("BackingOff", { retryInMs: Schema.Finite }) {}
/** No address of this kind has answered lately, so it is seldom tried; `kind` is such as `IPv6`. */
export class BlackHoled extends Schema.TaggedClass<BlackHoled>()("BlackHoled", { kind: Schema.String }) {}

export const AttemptReason = Schema.Union([
  LimitExceeded,
  Denied,
  BackingOff,
  BlackHoled,
  SwarmUnavailable,
  NoTransport,
  AnotherPeer,
  TransportFailed,
  NegotiationFailed,
  SecurityFailed,
  DeadlineExceeded,
  UnresolvedName
])
export type AttemptReason = typeof AttemptReason.Type

/** One address that was tried. */
export const DialAttempt = Schema.Struct({ address: Schema.String, reason: AttemptReason })
export type DialAttempt = typeof DialAttempt.Type

/** The peer is this node itself. */
export class DialSelf extends Schema.TaggedClass<DialSelf>()("DialSelf", {}) {}
/** No address of the peer is known. */
export class NoAddresses extends Schema.TaggedClass<NoAddresses>()("NoAddresses", {}) {}
/** Every address failed; see the attempts. */
export class AllFailed extends Schema.TaggedClass<AllFailed>()("AllFailed", {}) {}

/** The peer did not answer within the time for a whole dial; see the attempts. */
export class DialTimeout extends Schema.TaggedClass<DialTimeout>()("DialTimeout", { afterMs: Schema.Finite }) {}

export const DialErrorReason = Schema.Union([DialSelf, NoAddresses, AllFailed, DialTimeout, Denied, SwarmUnavailable])
export type DialErrorReason = typeof DialErrorReason.Type

const describeAttempt = (reason: AttemptReason): string => {
  switch (reason._tag) {
    case "NoTransport":
      return "no transport of this node can dial it"
    case "AnotherPeer":
      return `it is an address of ${reason.named}`
    case "TransportFailed":
      return reason.cause.reason._tag === "NetworkFailure"
        ? reason.cause.reason.cause.message
        : reason.cause.reason.detail
    case "NegotiationFailed":
    case "SecurityFailed":
      return reason.cause.message
    case "DeadlineExceeded":
      return `no answer within ${reason.afterMs} ms (${reason.stage})${
        reason.network === undefined
          ? ""
          : `; it may not have the key of the private network ${reason.network}: some without it say nothing`
      }`
    case "UnresolvedName":
      return reason.detail
    case "SwarmUnavailable":
      return reason.cause.message
    case "LimitExceeded":
      return describeLimit(reason)
    case "Denied":
      return `denied by this node's connection gater (${reason.stage}): ${reason.because}`
    case "BackingOff":
      return `failed a moment ago; tried again in ${Math.ceil(reason.retryInMs / 1000)} s`
    case "BlackHoled":
      return `no ${reason.kind} address has answered lately; it is tried again now and then`
  }
}

/** A peer could not be dialled. `peer` is empty when only an address without an id was given. */
export class DialError extends Schema.TaggedError<DialError>()("DialError", {
  peer: Schema.String,
  reason: DialErrorReason,
  attempts: Schema.Array(DialAttempt)
}) {
  override get message(): string {
    const peer = this.peer === "" ? "the address" : this.peer
    switch (this.reason._tag) {
      case "DialSelf":
        return `${peer} is this node itself`
      case "NoAddresses":
        return `no address of ${peer} is known: give one, such as /ip4/192.0.2.1/tcp/4001/p2p/${this.peer}`
      case "SwarmUnavailable":
        return `cannot dial ${peer}: ${this.reason.cause.message}`
      case "Denied":
        return `${peer} is not dialled: denied by this node's connection gater: ${this.reason.because}`
      case "DialTimeout":
        return `${peer} could not be reached within ${this.reason.afterMs} ms${this.attempts
          .map(({ address, reason }) => `; ${address}: ${describeAttempt(reason)}`)
          .join("")}`
      case "AllFailed":
        return this.attempts.length === 1
          ? this.attempts.map(({ address, reason }) => `${address}: ${describeAttempt(reason)}`).join("")
          : `no address of ${peer} could be dialled: ${this.attempts
              .map(({ address, reason }) => `${address}: ${describeAttempt(reason)}`)
              .join("; ")}`
    }
  }
}

/** Listening on an address failed. */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  address: Schema.String,
  reason: Schema.Union([NoTransport, TransportFailed])
}) {
  override get message(): string {
    return `cannot listen on ${this.address}: ${
      this.reason._tag === "NoTransport" ? "no transport of this node can" : describeAttempt(this.reason)
    }`
  }
}

// ---- why a stream could not be opened ---------------------------------------

/** The muxer gave no stream. */
export class MuxerFailed extends Schema.TaggedClass<MuxerFailed>()("MuxerFailed", { cause: MuxerError }) {}
/** The stream failed before it could be used. */
export class StreamFailed extends Schema.TaggedClass<StreamFailed>()("StreamFailed", { cause: StreamError }) {}
/** The remote did not agree on a protocol by the deadline. */
export class NegotiationTimeout extends Schema.TaggedClass<NegotiationTimeout>()("NegotiationTimeout", {
  afterMs: Schema.Finite
}) {}

export const OpenStreamErrorReason = Schema.Union([
  MuxerFailed,
  StreamFailed,
  NegotiationFailed,
  NegotiationTimeout,
  LimitExceeded
])
export type OpenStreamErrorReason = typeof OpenStreamErrorReason.Type

/** A stream could not be opened on a connection. */
export class OpenStreamError extends Schema.TaggedError<OpenStreamError>()("OpenStreamError", {
  peer: Schema.String,
  protocols: Schema.Array(Schema.String),
  reason: OpenStreamErrorReason
}) {
  override get message(): string {
    const why =
      this.reason._tag === "NegotiationTimeout"
        ? `no protocol agreed within ${this.reason.afterMs} ms`
        : this.reason._tag === "LimitExceeded"
          ? describeLimit(this.reason)
          : this.reason.cause.message
    return `no stream of ${this.protocols.join(" or ")} with ${this.peer}: ${why}`
  }
}

// ---- connections ------------------------------------------------------------

/** Why a connection ended, in words, and which end or layer ended it. */
export interface ConnectionEnd {
  readonly by: "local" | "remote" | "error"
  readonly detail: string
}

/** A secured, multiplexed connection with a peer. */
export interface Connection {
  /** Counts up within a node. */
  readonly id: number
  readonly remotePeer: PeerId
  readonly remoteAddress: Multiaddr
  readonly localAddress: Multiaddr
  readonly direction: "inbound" | "outbound"
  readonly kind: ConnectionKind
  /** Such as `/noise`. */
  readonly security: string
  /** Such as `/yamux/1.0.0`. */
  readonly muxer: string
  /** True when the muxer was agreed inside the security handshake. */
  readonly earlyMuxer: boolean
  /** When it was ready, in milliseconds of the node's clock. */
  readonly openedAt: number
  /** Open streams, of both directions. */
  readonly streamCount: () => number
  /**
   * Opens a stream of one of `protocols`, in order of preference. With one
   * protocol there is no round trip; a remote that does not speak it shows when
   * the stream is read. When the scope closes, the stream is closed, or reset
   * if the scope failed. On a connection that was given up for another with the
   * same peer, because both had dialled at once, it opens one there.
   */
  readonly openStream: (
    protocols: string | ReadonlyArray<string>
  ) => Effect.Effect<ProtocolStream, OpenStreamError, Scope.Scope>
  /** A round trip of the muxer, in milliseconds. */
  readonly ping: Effect.Effect<number, MuxerError>
  /** Ends it, within a bounded time, whatever the remote does. */
  readonly close: Effect.Effect<void>
  /** Waits for its end. */
  readonly awaitClosed: Effect.Effect<ConnectionEnd>
}

/** What happens in a swarm. */
export type SwarmEvent =
  | { readonly _tag: "Listening"; readonly addresses: ReadonlyArray<Multiaddr> }
  | { readonly _tag: "ListenClosed"; readonly addresses: ReadonlyArray<Multiaddr> }
  | { readonly _tag: "Connected"; readonly connection: Connection }
  | { readonly _tag: "Disconnected"; readonly connection: Connection; readonly end: ConnectionEnd }
  | { readonly _tag: "InboundFailed"; readonly remoteAddress: Multiaddr; readonly reason: AttemptReason }
  | { readonly _tag: "DialFailed"; readonly error: DialError }
  | {
      readonly _tag: "HandlerFailed"
      readonly protocol: string
      readonly remotePeer: PeerId
      /** True for a defect, false for a typed failure of the handler. */
      readonly died: boolean
    }

/** Whom to dial: a peer whose addresses are known, an address, or a peer at given addresses. */
export type DialTarget = PeerId | Multiaddr | { readonly peer: PeerId; readonly addresses: ReadonlyArray<Multiaddr> }

/** Counts since the start. */
export interface SwarmCounters {
  readonly inboundOpened: number
  readonly outboundOpened: number
  readonly inboundFailed: number
  readonly dialsFailed: number
  readonly handlersFailed: number
  readonly streamsRefused: number
}

export class Swarm extends Context.Service<
  Swarm,
  {
    readonly peerId: PeerId
    /** The fingerprint of the private network that the node is in; none for one that anybody may connect with. */
    readonly network?: string | undefined
    /** Listens until the scope closes; gives the addresses, with real ports. */
    readonly listen: (address: Multiaddr) => Effect.Effect<ReadonlyArray<Multiaddr>, ListenError, Scope.Scope>
    /** Where the node listens now. */
    readonly listenAddresses: Effect.Effect<ReadonlyArray<Multiaddr>>
    /**
     * A connection with the peer: one that is open, or a new one. All who ask for
     * a peer at the same time share one dial.
     */
    readonly dial: (target: DialTarget) => Effect.Effect<Connection, DialError>
    /** Dials if needed, and opens a stream; see {@link Connection.openStream}. */
    readonly openStream: (
      target: DialTarget,
      protocols: string | ReadonlyArray<string>
    ) => Effect.Effect<ProtocolStream, DialError | OpenStreamError, Scope.Scope>
    /** The open connections, or those with one peer, oldest first. */
    readonly connections: (peer?: PeerId) => Effect.Effect<ReadonlyArray<Connection>>
    /** Closes every connection with the peer. */
    readonly disconnect: (peer: PeerId) => Effect.Effect<void>
    /**
     * What happens from now on. A subscriber that falls more than 1,024 events
     * behind loses the oldest. Of `InboundFailed`, and of `HandlerFailed`, at most
     * 100 are told in a second; all are counted.
     */
    readonly events: Stream.Stream<SwarmEvent>
    /**
     * Runs `task` for each connection, also those that are open now, in a fiber
     * that ends with the connection, until the scope closes.
     */
    readonly forEachConnection: <R>(
      task: (connection: Connection) => Effect.Effect<void, never, R>
    ) => Effect.Effect<void, never, R | Scope.Scope>
    readonly counters: Effect.Effect<SwarmCounters>
  }
>()("effect-libp2p/Swarm") {}
