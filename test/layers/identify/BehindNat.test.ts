/** Nodes behind NATs learn their address from those who see it, when enough of them do. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import type { SimHost } from "../../../src/layers/simulation/net/SimNetwork.ts"
import type { NodeInfo } from "../../../src/layers/simulation/SimNode.ts"
import { Identify } from "../../../src/services/Identify.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { at, layer, listenTo, meet, type Node, tally } from "./network.ts"

/** Two homes behind one NAT, one behind a symmetric one, four peers of one network, four of others. */
const insiders = ["192.168.1.2", "192.168.1.3", "192.168.2.2"]
const outside = ["5.1.0.1", "5.1.0.2", "5.1.3.3", "5.1.200.4", "5.2.0.1", "5.3.0.1", "5.4.0.1", "5.5.0.1"]

const world = (program: (nodes: ReadonlyArray<Node>) => Effect.Effect<void, unknown>) => {
  const homes = new Map<string, SimHost>()
  return simulate(
    {
      nodes: insiders.length + outside.length,
      layer: (node: NodeInfo) =>
        Layer.unwrap(
          Effect.sync(() => {
            const home = homes.get(node.name)
            return home === undefined ? layer()(node) : Layer.provide(layer()(node), home.layer)
          })
        ),
      arrange: (network, nodes) => {
        const cone = network.addNat({ name: "cone", address: "203.0.113.1", kind: "endpoint-independent" })
        const symmetric = network.addNat({ name: "symmetric", address: "203.0.113.2", kind: "symmetric" })
        for (const [i, address] of insiders.entries()) {
          const node = at(nodes, i)
          const host = network.addHost({
            name: `${node.name} at home`,
            addresses: [address],
            schedule: node.place.scheduler.schedule,
            behind: i < 2 ? cone : symmetric
          })
          homes.set(node.name, host)
        }
        for (const [i, address] of outside.entries()) at(nodes, insiders.length + i).host.setAddresses([address])
      }
    },
    ({ nodes }) => program(nodes)
  )
}

const announced = (node: Node) =>
  node.run(Effect.flatMap(Identify, (identify) => Effect.map(identify.announced, (all) => all.map(String))))
const observed = (node: Node) => node.run(Effect.flatMap(Identify, (identify) => identify.observed))

describe("behind a NAT", () => {
  it(
    "an address is believed when peers in four networks see it, and is then told to all",
    world((nodes) =>
      Effect.gen(function* () {
        const [first, second, third] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
        const observers = outside.map((_, i) => at(nodes, insiders.length + i))
        const last = at(nodes, nodes.length - 1)
        const inside = [first, second, third]
        const events = yield* listenTo(at(observers, 0))

        // All those of one network, and two more: three networks.
        for (const observer of observers.slice(0, 6)) {
          for (const home of inside) yield* meet(home, observer)
        }
        yield* Effect.sleep(2000)
        assert.deepStrictEqual(
          (yield* observed(first)).map(({ address, confirmed, observers }) => [String(address), observers, confirmed]),
          [["/ip4/203.0.113.1/tcp/4001", 3, false]]
        )
        assert.notInclude(yield* announced(first), "/ip4/203.0.113.1/tcp/4001")
        assert.strictEqual(tally(events.heard), 0)

        for (const home of inside) yield* meet(home, at(observers, 6))
        yield* Effect.sleep(2000)
        assert.include(yield* announced(first), "/ip4/203.0.113.1/tcp/4001")
        // Two homes, one address: the NAT gave the second another port.
        const [mapped] = (yield* observed(second)).map(({ address }) => String(address))
        assert.notStrictEqual(mapped, "/ip4/203.0.113.1/tcp/4001")
        assert.include(yield* announced(second), mapped)
        // A symmetric NAT shows each peer another port, which nobody else can dial.
        assert.isTrue((yield* observed(third)).every(({ confirmed, observers }) => !confirmed && observers === 1))
        assert.deepStrictEqual(
          (yield* announced(third)).filter((address) => address.includes("203.0.113")),
          []
        )

        // The peers were told, in a record that they can check; private addresses were not for them.
        assert.strictEqual(tally(events.heard), 2)
        const known = yield* at(observers, 0).run(
          Effect.flatMap(PeerStore, (store) => Effect.orDie(store.get(first.peerId)))
        )
        assert.deepStrictEqual(
          known?.addresses.filter(({ confidence }) => confidence === "certified").map(({ address }) => String(address)),
          ["/ip4/203.0.113.1/tcp/4001"]
        )
        yield* events.stop

        // And it is true.
        yield* last.run(
          Effect.gen(function* () {
            const swarm = yield* Swarm
            const address = Multiaddr.fromStringUnsafe("/ip4/203.0.113.1/tcp/4001")
            const connection = yield* swarm.dial({ peer: first.peerId, addresses: [address] })
            const info = yield* (yield* Identify).identified(connection)
            assert.deepStrictEqual(info.listenAddresses.map(String), [address.toString()])
          })
        )
        // One who dialled the address has seen it too.
        yield* Effect.sleep(1000)
        assert.strictEqual((yield* observed(first))[0]?.observers, 5)

        // Long after they have gone, it is forgotten.
        for (const peer of nodes.slice(3))
          yield* first.run(Effect.flatMap(Swarm, (swarm) => swarm.disconnect(peer.peerId)))
        yield* Effect.sleep("29 minutes")
        assert.include(yield* announced(first), "/ip4/203.0.113.1/tcp/4001")
        yield* Effect.sleep("5 minutes")
        assert.deepStrictEqual(yield* observed(first), [])
        assert.notInclude(yield* announced(first), "/ip4/203.0.113.1/tcp/4001")
      })
    )
  )
})
