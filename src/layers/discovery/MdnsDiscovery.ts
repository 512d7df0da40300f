/**
 * Peers that were heard on the local network, as a Discovery. Its addresses are
 * those that lead to the local network; that the peer is there is hearsay until
 * a connection proves it.
 *
 * ```
 * const Discover = MdnsDiscovery.layer.pipe(Layer.provideMerge(MdnsNetwork.layer()))
 * ```
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { type DiscoveredPeer, Discovery } from "../../services/Discovery.ts"
import { LocalNetwork } from "../../services/LocalNetwork.ts"

/** It as a value, for `Discovery.layerAll`. */
export const make: Effect.Effect<Discovery["Service"], never, LocalNetwork> = Effect.map(
  LocalNetwork,
  ({ changes }) => ({
    discovered: changes.pipe(
      Stream.filter(({ _tag }) => _tag !== "Left"),
      Stream.map(({ peer: { addresses, peer } }): DiscoveredPeer => ({ peer, addresses, by: "mdns" }))
    )
  })
)

export const layer: Layer.Layer<Discovery, never, LocalNetwork> = Layer.effect(Discovery, make)
