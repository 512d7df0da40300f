/**
 * PeerRouting: where is a peer, and which peers are closest to a key? Layers:
 * kad (a DHT), mDNS (the local network), delegated (over HTTP), and composites
 * of these. Programs ask this service; which layer answers is a choice of the
 * deployment.
 *
 * Specification: kad-dht/README.md, "Peer routing"; routing/README.md.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"

// ---- errors -----------------------------------------------------------------

/** Everyone who might know was asked, and nobody knew. `asked`: how many answered. */
export class NotFound extends Schema.TaggedClass<NotFound>()("NotFound", { asked: Schema.Finite }) {}
/** There is nobody to ask: no peer of this routing is known, or none can be reached. */
export class NobodyToAsk extends Schema.TaggedClass<NobodyToAsk>()("NobodyToAsk", { detail: Schema.String }) {}
/** The deadline came first. `asked`: how many had answered by then. */
export class RoutingTimeout extends Schema.TaggedClass<RoutingTimeout>()("RoutingTimeout", {
  afterMs: Schema.Finite,
  asked: Schema.Finite
}) {}
/** This routing cannot do it, whoever is asked. */
export class RoutingUnsupported extends Schema.TaggedClass<RoutingUnsupported>()("RoutingUnsupported", {
  detail: Schema.String
}) {}
/** The routing itself failed: it is stopping, or its server does not answer as it must. */
export class RoutingFailed extends Schema.TaggedClass<RoutingFailed>()("RoutingFailed", { detail: Schema.String }) {}
/** A server that is asked over HTTP does not answer as it must. `status` is that of its answer, if one came. */
export class RoutingServerFailed extends Schema.TaggedClass<RoutingServerFailed>()("RoutingServerFailed", {
  url: Schema.String,
  status: Schema.UndefinedOr(Schema.Finite),
  detail: Schema.String
}) {}

/** Why one routing came to nothing. */
export const OneRoutingReason = Schema.Union([
  NotFound,
  NobodyToAsk,
  RoutingTimeout,
  RoutingUnsupported,
  RoutingFailed,
  RoutingServerFailed
])
export type OneRoutingReason = typeof OneRoutingReason.Type

/** Several routings were asked, and each came to nothing in its own way. */
export class AllRoutingsFailed extends Schema.TaggedClass<AllRoutingsFailed>()("AllRoutingsFailed", {
  failures: Schema.Array(Schema.Struct({ router: Schema.String, reason: OneRoutingReason }))
}) {}

export const RoutingErrorReason = Schema.Union([...OneRoutingReason.members, AllRoutingsFailed])
export type RoutingErrorReason = typeof RoutingErrorReason.Type

/** What came of a question, in words. */
export const describe = (reason: RoutingErrorReason): string => {
  switch (reason._tag) {
    case "NotFound":
      return `not found; ${reason.asked} ${reason.asked === 1 ? "peer was" : "peers were"} asked`
    case "NobodyToAsk":
      return `nobody to ask: ${reason.detail}`
    case "RoutingTimeout":
      return `not found within ${reason.afterMs} ms; ${reason.asked} ${reason.asked === 1 ? "peer" : "peers"} had answered`
    case "RoutingUnsupported":
    case "RoutingFailed":
      return reason.detail
    case "RoutingServerFailed":
      return `${reason.url}${reason.status === undefined ? "" : ` answered ${reason.status}`}: ${reason.detail}`
    case "AllRoutingsFailed":
      return reason.failures.map(({ reason, router }) => `${router}: ${describe(reason)}`).join("; ")
  }
}

/** A question to a routing came to nothing. `router` is which one, `what` is what was asked for. */
export class RoutingError extends Schema.TaggedError<RoutingError>()("RoutingError", {
  router: Schema.String,
  what: Schema.String,
  reason: RoutingErrorReason
}) {
  override get message(): string {
    return `${this.router}: ${this.what}: ${describe(this.reason)}`
  }
}

// ---- what is asked and learnt -----------------------------------------------

/** A peer and where it can be reached, as far as is known. */
export interface RoutedPeer {
  readonly peer: PeerId
  readonly addresses: ReadonlyArray<Multiaddr>
}

/** A step of a question that many peers are asked. */
export interface RoutingProgress {
  /** Which routing tells, such as `kad`. */
  readonly router: string
  /** Peers that this step has told of. */
  readonly learnt: ReadonlyArray<RoutedPeer>
  /** Peers that were asked so far, and how many of those answered or failed. */
  readonly asked: number
  readonly answered: number
  readonly failed: number
  /** The longest chain of peers so far in which each was learnt from the one before. */
  readonly hops: number
  /** The closest peers so far, the closest first. */
  readonly closest: ReadonlyArray<RoutedPeer>
}

export interface RoutingOptions {
  /** For the whole question. Default: a minute. */
  readonly deadline?: Duration.Input | undefined
  /** Told of each step. Plain code: keep it short. */
  readonly onProgress?: ((progress: RoutingProgress) => void) | undefined
}

export class PeerRouting extends Context.Service<
  PeerRouting,
  {
    /** Such as `kad`, for errors and progress. */
    readonly router: string
    /**
     * Where the peer is. It is the routing's word, not proven: a connection is
     * proof. Fails with {@link NotFound} when all who might know were asked.
     */
    readonly findPeer: (peer: PeerId, options?: RoutingOptions) => Effect.Effect<RoutedPeer, RoutingError>
    /**
     * The peers closest to a key (its SHA-256, by XOR), step by step as they
     * are learnt; `closest` of the last element is the answer. Interrupting it
     * ends the question at once.
     */
    readonly closestPeers: (key: Uint8Array, options?: RoutingOptions) => Stream.Stream<RoutingProgress, RoutingError>
  }
>()("effect-libp2p/PeerRouting") {}
