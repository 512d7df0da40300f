/**
 * Bootstrap: the peers by which a node finds its way into a network, and back
 * into it. Layer: bootstrap list.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { DiscoveredPeer } from "./Discovery.ts"
import type { RoutedPeer } from "./PeerRouting.ts"

export interface BootstrapPeer extends RoutedPeer {
  /** From the list that was given, or learnt to be stable. */
  readonly source: "given" | "learnt"
  /** In a row. */
  readonly failures: number
  /** When it answered last, in milliseconds of the node's clock. */
  readonly seenAt: number | undefined
  /** It is not tried before. */
  readonly retryAt: number
}

export class Bootstrap extends Context.Service<
  Bootstrap,
  {
    /** Peers of the list as they are connected, `by: "bootstrap"`; so that this is a Discovery too. */
    readonly discovered: Stream.Stream<DiscoveredPeer>
    /**
     * Enters the network again: connects to peers of the list until there are
     * as many as wanted, or each that may be tried was, and tells of those
     * that are connected as discovered. Gives their number. All who ask at the
     * same time share one try.
     */
    readonly reenter: Effect.Effect<number>
    /** All that are known now. */
    readonly peers: Effect.Effect<ReadonlyArray<BootstrapPeer>>
  }
>()("effect-libp2p/Bootstrap") {}
