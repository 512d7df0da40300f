/** Simulated nodes with a swarm and no more: each test says who speaks what, and how. */
import { assert } from "@effect/vitest"
import { Layer } from "effect"
import * as ActorsLayer from "../../src/layers/actors/Actors.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../src/layers/peerstore/MemoryPeerStore.ts"
import * as ResourceManagerLayer from "../../src/layers/resources/ResourceManager.ts"
import type { SimNode } from "../../src/layers/simulation/SimNode.ts"
import * as ProtocolsLayer from "../../src/layers/swarm/Protocols.ts"
import * as SwarmLayer from "../../src/layers/swarm/Swarm.ts"

export const bare = () =>
  Libp2p.layerListen(["/ip4/0.0.0.0/tcp/4001"]).pipe(
    Layer.provideMerge(SwarmLayer.layer()),
    Layer.provideMerge(
      Layer.mergeAll(ActorsLayer.layer, ProtocolsLayer.layer, MemoryPeerStore.layer(), ResourceManagerLayer.layer())
    ),
    Layer.provide(Libp2p.layerTcp)
  )
type Bare = Layer.Success<ReturnType<typeof bare>>
export type BareNode = SimNode<Bare>

export const two = (nodes: ReadonlyArray<BareNode>): readonly [BareNode, BareNode] => {
  const [a, b] = nodes
  return a === undefined || b === undefined ? assert.fail("two nodes") : [a, b]
}
