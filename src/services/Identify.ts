/**
 * Identify: what peers say of themselves, and what they see of this node. Every
 * new connection is identified at once, in both directions.
 *
 * Specification: identify/README.md.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { PublicKey } from "../data/Keys.ts"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import { StreamError } from "./ByteStream.ts"
import { type Connection, OpenStreamError } from "./Swarm.ts"

export const protocol = "/ipfs/id/1.0.0"
/** A peer tells what has changed, unasked. */
export const pushProtocol = "/ipfs/id/push/1.0.0"

/** What a peer says of itself. */
export interface IdentifyInfo {
  readonly peer: PeerId
  readonly publicKey: PublicKey
  readonly protocolVersion: string | undefined
  readonly agentVersion: string | undefined
  /** Where it says it listens. Addresses that this node cannot read are left out. */
  readonly listenAddresses: ReadonlyArray<Multiaddr>
  /** The address of this node as the peer sees it. */
  readonly observedAddress: Multiaddr | undefined
  readonly protocols: ReadonlyArray<string>
  /** The addresses that the peer signed, in the envelope that it sent; verified. */
  readonly signedPeerRecord: Uint8Array | undefined
}

/** An address of this node as others see it. */
export interface ObservedAddress {
  readonly address: Multiaddr
  /** Peers in different networks that see it. */
  readonly observers: number
  /** Enough of them agree: it is announced. */
  readonly confirmed: boolean
}

/** No stream could be opened for it. */
export class IdentifyUnavailable extends Schema.TaggedClass<IdentifyUnavailable>()("IdentifyUnavailable", {
  cause: OpenStreamError
}) {}
/** The stream failed, or the peer does not speak identify. */
export class IdentifyFailed extends Schema.TaggedClass<IdentifyFailed>()("IdentifyFailed", { cause: StreamError }) {}
/** The message is malformed, too long, or does not belong to the peer. */
export class IdentifyMalformed extends Schema.TaggedClass<IdentifyMalformed>()("IdentifyMalformed", {
  detail: Schema.String
}) {}
/** No answer by the deadline. */
export class IdentifyTimeout extends Schema.TaggedClass<IdentifyTimeout>()("IdentifyTimeout", {
  afterMs: Schema.Finite
}) {}
/** The connection ended first. */
export class IdentifyDisconnected extends Schema.TaggedClass<IdentifyDisconnected>()("IdentifyDisconnected", {}) {}

export const IdentifyErrorReason = Schema.Union([
  IdentifyUnavailable,
  IdentifyFailed,
  IdentifyMalformed,
  IdentifyTimeout,
  IdentifyDisconnected
])
export type IdentifyErrorReason = typeof IdentifyErrorReason.Type

/** A peer could not be identified. */
export class IdentifyError extends Schema.TaggedError<IdentifyError>()("IdentifyError", {
  peer: Schema.String,
  reason: IdentifyErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "IdentifyUnavailable":
      case "IdentifyFailed":
        return `${this.peer} could not be identified: ${reason.cause.message}`
      case "IdentifyMalformed":
        return `${this.peer} sent an identify message that is refused: ${reason.detail}`
      case "IdentifyTimeout":
        return `${this.peer} did not identify itself within ${reason.afterMs} ms`
      case "IdentifyDisconnected":
        return `${this.peer} disconnected before it was identified`
    }
  }
}

export interface IdentifyEvent {
  readonly connection: Connection
  readonly info: IdentifyInfo
  /** It told of its own accord. */
  readonly pushed: boolean
}

export class Identify extends Context.Service<
  Identify,
  {
    /** Waits until the peer of an open connection is identified: there is no race with connecting. */
    readonly identified: (connection: Connection) => Effect.Effect<IdentifyInfo, IdentifyError>
    /** Peers as they are identified, from now on, and again when they push what has changed. */
    readonly events: Stream.Stream<IdentifyEvent>
    /** How others see this node's addresses, the most seen first. */
    readonly observed: Effect.Effect<ReadonlyArray<ObservedAddress>>
    /** The addresses that this node tells others: where it listens, and what is confirmed. */
    readonly announced: Effect.Effect<ReadonlyArray<Multiaddr>>
    /** Tells every connected peer that speaks identify push now; it also happens by itself when something changes. */
    readonly push: Effect.Effect<void>
  }
>()("effect-libp2p/Identify") {}
