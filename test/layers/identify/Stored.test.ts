import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { at, layer, meet, type Node } from "./network.ts"

const stored = (on: Node, of: Node) => on.run(Effect.flatMap(PeerStore, (store) => Effect.orDie(store.get(of.peerId))))

/** Writes take effect, and are never safe. */
const stuck = Layer.effect(
  PeerStore,
  Effect.map(MemoryPeerStore.make(), (memory): PeerStore["Service"] => {
    const never = <A, E>(write: Effect.Effect<A, E>) => Effect.andThen(write, Effect.never)
    return {
      ...memory,
      addAddresses: (...given) => never(memory.addAddresses(...given)),
      addRecord: (...given) => never(memory.addRecord(...given)),
      removeAddresses: (...given) => never(memory.removeAddresses(...given)),
      setProtocols: (...given) => never(memory.setProtocols(...given)),
      setPublicKey: (...given) => never(memory.setPublicKey(...given))
    }
  })
)

const onStuckDisks = () =>
  Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] }).pipe(Layer.provide(Libp2p.layerTcp), Layer.provideMerge(stuck))

describe("what is stored of connected peers", () => {
  it(
    "is known at once: neither a dial nor identify waits for the disk",
    simulate({ nodes: 2, layer: onStuckDisks }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b).pipe(Effect.timeout("5 seconds"), Effect.orDie)
        const known = yield* stored(a, b)
        const proven = known?.addresses.filter(({ confidence }) => confidence === "proven") ?? []
        assert.deepStrictEqual(
          proven.map(({ address }) => address.toString()),
          [connection.remoteAddress.toString()]
        )
        assert.include(known?.protocols ?? [], "/ipfs/id/1.0.0")
        assert.isDefined((yield* stored(b, a))?.recordSequence)
        yield* a.run(connection.close)
      })
    )
  )

  it(
    "lasts as long as they are connected",
    simulate({ nodes: 2, layer: layer(), until: "2 days" }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b)
        const before = [yield* stored(a, b), yield* stored(b, a)]
        yield* Effect.sleep("26 hours")
        for (const [i, after] of [yield* stored(a, b), yield* stored(b, a)].entries()) {
          assert.deepStrictEqual(
            after?.addresses.map(({ address, confidence }) => `${confidence} ${address.toString()}`),
            before[i]?.addresses.map(({ address, confidence }) => `${confidence} ${address.toString()}`)
          )
          assert.deepStrictEqual(after?.recordSequence, before[i]?.recordSequence)
          assert.deepStrictEqual(after?.protocols, before[i]?.protocols)
        }
        const proven = (yield* stored(a, b))?.addresses.find(({ confidence }) => confidence === "proven")
        assert.isTrue(proven !== undefined && Multiaddr.equals(proven.address, connection.remoteAddress))
      })
    )
  )
})
