/** The local network in virtual time; whole scenarios are in src/programs/sim/Lan.ts. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { contentKey, stranger } from "../../../src/conformance/PeerRouting.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as LocalConnections from "../../../src/layers/connections/LocalConnections.ts"
import * as MdnsDiscovery from "../../../src/layers/discovery/MdnsDiscovery.ts"
import * as MdnsNetwork from "../../../src/layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as MdnsRouting from "../../../src/layers/routing/MdnsRouting.ts"
import { simulate, type SimulateOptions } from "../../../src/layers/simulation/Simulate.ts"
import { ContentRouting } from "../../../src/services/ContentRouting.ts"
import { Discovery } from "../../../src/services/Discovery.ts"
import { LocalNetwork } from "../../../src/services/LocalNetwork.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { Swarm } from "../../../src/services/Swarm.ts"

const layerOf = (most: number) => () =>
  Layer.mergeAll(MdnsRouting.layer, MdnsDiscovery.layer, LocalConnections.layer({ most })).pipe(
    Layer.provideMerge(Layer.orDie(MdnsNetwork.layer())),
    Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer())
  )

const onOneWire: Pick<SimulateOptions<never, never>, "arrange" | "link"> = {
  link: { latencyMs: { min: 0.2, mean: 1, max: 20 }, loss: 0.1 },
  arrange: (_, nodes) => {
    for (const node of nodes) node.host.setAddresses([`192.168.7.${node.info.index + 1}`])
  }
}

const connections = Effect.flatMap(Swarm, (swarm) => swarm.connections())

describe("the local network in virtual time", () => {
  it(
    "nodes find each other, connect, and keep to the bound of what they dial",
    simulate({ seed: 1, nodes: 12, layer: layerOf(3), ...onOneWire }, ({ nodes, world }) =>
      Effect.gen(function* () {
        yield* Effect.sleep("6 seconds")
        for (const node of nodes) {
          const open = yield* node.run(connections)
          if (open.length === 0) world.fail(`${node.name} has no connection`)
          // By itself it dials three; others dial it.
          const dialled = open.filter(({ direction }) => direction === "outbound").length
          if (dialled > 3) world.fail(`${node.name} has dialled ${dialled}`)
        }
      })
    )
  )

  it(
    "who comes is connected within two seconds",
    simulate(
      { seed: 1, nodes: 2, layer: layerOf(8), ...onOneWire, link: { latencyMs: { min: 0.2, mean: 1, max: 20 } } },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [first, second] = nodes
          if (second === undefined) return yield* Effect.die("too few")
          for (let time = 0; time < 20; time++) {
            yield* second.stop
            yield* Effect.sleep("10 seconds")
            yield* second.start
            yield* Effect.sleep("2 seconds")
            assert.lengthOf(yield* first.run(connections), 1, `of the first, the ${time}th time`)
            assert.lengthOf(yield* second.run(connections), 1, `of the second, the ${time}th time`)
          }
        })
    )
  )

  it(
    "who comes later is discovered; peers and content are found; who has gone is not",
    simulate({ seed: 2, nodes: 8, layer: layerOf(0), ...onOneWire }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b, c, late] = nodes
        if (b === undefined || c === undefined || late === undefined) return yield* Effect.die("too few")
        yield* late.stop
        yield* Effect.sleep("6 seconds")
        const discovered = yield* Effect.forkChild(
          a.run(Effect.flatMap(Discovery, (discovery) => Stream.runHead(discovery.discovered)))
        )
        yield* Effect.sleep(1)
        yield* late.start
        yield* Effect.sleep("3 seconds")
        const met = discovered.pollUnsafe()
        assert.isTrue(met?._tag === "Success" && met.value._tag === "Some")
        const found = yield* a.run(Effect.flatMap(PeerRouting, ({ findPeer }) => findPeer(late.peerId)))
        assert.deepStrictEqual(found.addresses.map(String), ["/ip4/192.168.7.4/tcp/4001"])
        const missed = yield* a.run(Effect.flip(Effect.flatMap(PeerRouting, ({ findPeer }) => findPeer(stranger(1)))))
        assert.include(String(missed), "not found")

        const key = contentKey(1)
        for (const node of [b, c]) yield* node.run(Effect.flatMap(ContentRouting, ({ provide }) => provide(key)))
        const providers = yield* a.run(
          Effect.flatMap(ContentRouting, ({ findProviders }) => Stream.runCollect(findProviders(key)))
        )
        assert.deepStrictEqual(
          providers.map(({ peer }) => peer.toString()).toSorted(),
          [b, c].map(({ peerId }) => peerId.toString()).toSorted()
        )
        late.crash("kept")
        yield* Effect.sleep("125 seconds")
        const peers = yield* a.run(Effect.flatMap(LocalNetwork, (network) => network.peers))
        assert.isFalse(peers.some(({ peer }) => peer.toString() === late.peerId.toString()))
      })
    )
  )
})
