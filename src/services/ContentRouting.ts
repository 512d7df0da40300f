/**
 * ContentRouting: who has the content of a key? Layers: kad, mDNS, delegated,
 * composites.
 *
 * A key is the multihash of a CID ({@link file://../data/ContentKey.ts}), since
 * content of one hash has many CIDs.
 *
 * Specification: kad-dht/README.md, "Content provider advertisement and discovery".
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { RoutedPeer, RoutingError, RoutingOptions } from "./PeerRouting.ts"

/** Where it is known now that this node has the content. */
export interface Provided {
  /** Peers that were told, or that took the announcement where the routing knows it. */
  readonly holders: number
  /** Peers that are still being told. */
  readonly pending?: number | undefined
}

export class ContentRouting extends Context.Service<
  ContentRouting,
  {
    /** Such as `kad`, for errors and progress. */
    readonly router: string
    /**
     * Announces that this node has the content, and goes on announcing it, as
     * the routing needs, until {@link unprovide} or the end of the node.
     * Succeeds when the first announcement is out.
     */
    readonly provide: (key: Uint8Array, options?: RoutingOptions) => Effect.Effect<Provided, RoutingError>
    /** Announces it no more. What was announced is forgotten by others in time (48 h for kad). */
    readonly unprovide: (key: Uint8Array) => Effect.Effect<void>
    /** What is announced now. */
    readonly provided: Effect.Effect<ReadonlyArray<Uint8Array>>
    /**
     * Peers that have the content, each once, as they are learnt. Stop at the
     * first, and the question ends. Ends without an element when nobody knows
     * of any.
     */
    readonly findProviders: (key: Uint8Array, options?: RoutingOptions) => Stream.Stream<RoutedPeer, RoutingError>
  }
>()("effect-libp2p/ContentRouting") {}
