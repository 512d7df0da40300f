/** Whether a node that decides by itself answers others on the public network, as it can be reached. In virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import type { SimHost } from "../../../src/layers/simulation/net/SimNetwork.ts"
import type { NatKind } from "../../../src/layers/simulation/net/Nat.ts"
import type { NodeInfo } from "../../../src/layers/simulation/SimNode.ts"
import { Identify } from "../../../src/services/Identify.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { at, kadNode, type KadNode, statusOf } from "./network.ts"

const wan = "/ipfs/kad/1.0.0"
/** As many as must see an address before it counts as confirmed. */
const servers = 4
const node = (strangers: number) =>
  kadNode(({ index }) => ({
    wan: true,
    lan: false,
    mode: index < servers ? "server" : index < servers + strangers ? "client" : "auto"
  }))

const dial = (from: KadNode, to: KadNode) =>
  from.run(Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: to.peerId, addresses: to.addresses() })))

const modeOf = (one: KadNode) => Effect.map(statusOf(one), ({ mode }) => mode)

/** Whether a peer has heard that the node serves, and how many are in the peer's table. */
const knownBy = (peer: KadNode, one: KadNode) =>
  Effect.gen(function* () {
    const info = yield* peer.run(Effect.flatMap(PeerStore, (store) => Effect.orDie(store.get(one.peerId))))
    return { speaks: info?.protocols.includes(wan) ?? false, peers: (yield* statusOf(peer)).peers }
  })

/**
 * Servers and strangers in networks of their own, and after them nodes that
 * decide by themselves: one in the open, one behind a NAT of each kind. All but
 * the strangers meet the first.
 */
const world = (
  strangers: number,
  kinds: ReadonlyArray<NatKind>,
  program: (nodes: ReadonlyArray<KadNode>) => Effect.Effect<void, unknown>
) => {
  const open = servers + strangers + 1
  const homes = new Map<string, SimHost>()
  return simulate(
    {
      nodes: open + kinds.length,
      layer: (info: NodeInfo) =>
        Layer.unwrap(
          Effect.sync(() => {
            const home = homes.get(info.name)
            return home === undefined ? node(strangers)(info) : Layer.provide(node(strangers)(info), home.layer)
          })
        ),
      arrange: (network, nodes) => {
        nodes.slice(0, open).forEach((one, i) => one.host.setAddresses([`${20 + i}.0.0.1`]))
        for (const [i, kind] of kinds.entries()) {
          const one = at(nodes, open + i)
          const behind = network.addNat({ name: kind, address: `${40 + i}.0.0.1`, kind })
          const home = network.addHost({
            name: `${one.name} at home`,
            addresses: ["192.168.1.2"],
            schedule: one.place.scheduler.schedule,
            behind
          })
          homes.set(one.name, home)
        }
      }
    },
    ({ nodes }) =>
      Effect.gen(function* () {
        for (const one of [...nodes.slice(1, servers), ...nodes.slice(servers + strangers)]) {
          yield* dial(one, at(nodes, 0))
        }
        yield* program(nodes)
      })
  )
}

describe("mode auto on the public network", () => {
  it(
    "a node behind a NAT stays a client, though peers of many networks see its address",
    world(0, ["address-dependent", "symmetric"], (nodes) =>
      Effect.gen(function* () {
        const inside = nodes.slice(servers + 1)
        for (const one of inside) for (const other of nodes.slice(0, servers)) yield* dial(one, other)
        yield* Effect.sleep("15 minutes")
        const observed = yield* at(inside, 0).run(Effect.flatMap(Identify, (identify) => identify.observed))
        assert.isTrue(observed.some(({ confirmed }) => confirmed))
        for (const one of inside) {
          assert.strictEqual(yield* modeOf(one), "client", one.name)
          assert.isFalse((yield* knownBy(at(nodes, 0), one)).speaks)
        }
        assert.strictEqual((yield* statusOf(at(nodes, 0))).peers, servers)
      })
    )
  )

  it(
    "a node with a public address becomes a server, one that loses it returns to client, and its peers are told",
    world(0, [], (nodes) =>
      Effect.gen(function* () {
        const one = at(nodes, servers)
        assert.strictEqual(yield* modeOf(one), "client")
        assert.isFalse((yield* knownBy(at(nodes, 0), one)).speaks)
        yield* Effect.sleep("2 minutes")
        assert.strictEqual(yield* modeOf(one), "server")
        assert.deepStrictEqual(yield* knownBy(at(nodes, 0), one), { speaks: true, peers: servers })

        // It goes home, and calls from there.
        one.host.setAddresses(["192.168.1.2"])
        yield* Effect.sleep("2 minutes")
        for (const other of nodes.slice(0, servers)) yield* Effect.ignore(dial(one, other))
        yield* Effect.sleep("80 minutes")
        assert.strictEqual(yield* modeOf(one), "client")
        assert.deepStrictEqual(yield* knownBy(at(nodes, 0), one), { speaks: false, peers: servers - 1 })
      })
    )
  )

  it(
    "a node behind a NAT that lets strangers in becomes a server when they come",
    world(3, ["endpoint-independent"], (nodes) =>
      Effect.gen(function* () {
        const one = at(nodes, nodes.length - 1)
        for (const other of nodes.slice(0, servers)) yield* dial(one, other)
        yield* Effect.sleep("2 minutes")
        assert.strictEqual(yield* modeOf(one), "client")
        const observed = yield* one.run(Effect.flatMap(Identify, (identify) => identify.observed))
        const addresses = observed.slice(0, 1).map(({ address }) => address)
        for (const stranger of nodes.slice(servers, servers + 3)) {
          yield* stranger.run(Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: one.peerId, addresses })))
        }
        yield* Effect.sleep("2 minutes")
        assert.strictEqual(yield* modeOf(one), "server")
      })
    )
  )
})
