/**
 * Discovery: peers that this node did not ask for by name: heard on the local
 * network, met on a random walk, or given in a list. Layers: bootstrap list,
 * random walk, mDNS, and several of them together.
 *
 * ```
 * const Discover = Discovery.layerAll([BootstrapList.make({ list }), RandomWalk.make()])
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { together } from "./internal/Together.ts"
import type { RoutedPeer } from "./PeerRouting.ts"

export interface DiscoveredPeer extends RoutedPeer {
  /** What discovered it, such as `bootstrap`, `random-walk` or `mdns`. */
  readonly by: string
}

export class Discovery extends Context.Service<
  Discovery,
  {
    /** Peers as they are discovered, from now on; one may come again. A slow reader misses the oldest. */
    readonly discovered: Stream.Stream<DiscoveredPeer>
  }
>()("effect-libp2p/Discovery") {}

/** Several discoveries side by side, as one. */
export const layerAll = <M extends Effect.Effect<Discovery["Service"], unknown, unknown>>(
  discoveries: ReadonlyArray<M>
): Layer.Layer<Discovery, Effect.Error<M>, Exclude<Effect.Services<M>, Scope.Scope>> =>
  Layer.effect(
    Discovery,
    Effect.map(together<Discovery["Service"], M>(discoveries), (all) => ({
      discovered: Stream.mergeAll(
        all.map(({ discovered }) => discovered),
        { concurrency: "unbounded" }
      )
    }))
  )
