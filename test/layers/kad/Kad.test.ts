/** The actor of a DHT over time: who comes into its table, who goes out, how it is kept fresh. In virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as KadRouting from "../../../src/layers/kad/KadRouting.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import type { NodeInfo } from "../../../src/layers/simulation/SimNode.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Actors } from "../../../src/services/Actors.ts"
import { Identify } from "../../../src/services/Identify.ts"
import { Kad as KadService } from "../../../src/services/Kad.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { Protocols } from "../../../src/services/Protocols.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { answering, at, findPeer, join, kadNode, type KadNode, lan, placeOf, serving, statusOf } from "./network.ts"

const dial = (from: KadNode, to: KadNode) =>
  from.run(Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: to.peerId, addresses: to.addresses() })))

/** What a node says that it speaks. */
const speaks = (node: KadNode) => node.run(Effect.map(Protocols, ({ list }) => list().includes(lan)))

describe("two halves of a network", () => {
  it(
    "that were cut from each other for so long that their tables forgot meet again within a refresh",
    simulate({ nodes: 6, layer: kadNode() }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const sizes = Effect.forEach(nodes, (node) => Effect.map(statusOf(node), ({ peers }) => peers))
        yield* join(nodes)
        yield* faults.partition(nodes.slice(0, 3), nodes.slice(3))
        yield* Effect.sleep("45 minutes")
        assert.deepStrictEqual(yield* sizes, [2, 2, 2, 2, 2, 2])
        yield* faults.heal
        yield* Effect.sleep("10 minutes")
        assert.deepStrictEqual(yield* sizes, [5, 5, 5, 5, 5, 5])
      })
    )
  )
})

describe("entering", () => {
  it(
    "completes when the first peer is in the table, at once when one is, and not when it is empty again",
    simulate({ nodes: 4, layer: kadNode(({ index }) => ({ mode: index === 2 ? "client" : "server" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        const [first, second, client, third] = [at(nodes, 0), at(nodes, 1), at(nodes, 2), at(nodes, 3)]
        const { entered } = yield* first.run(KadService)
        const waiting = yield* Effect.forkChild(entered)
        const given = yield* Effect.forkChild(entered)
        yield* Effect.sleep("1 minute")
        yield* Fiber.interrupt(given)
        assert.isUndefined(waiting.pollUnsafe())
        yield* dial(second, first)
        yield* Fiber.join(waiting)
        assert.strictEqual((yield* statusOf(first)).peers, 1)
        yield* entered
        yield* second.stop
        // With nobody connected, it might be this node that cannot be reached.
        yield* dial(client, first)
        yield* Effect.sleep("2 hours")
        assert.strictEqual((yield* statusOf(first)).peers, 0)
        const again = yield* Effect.forkChild(entered)
        yield* Effect.sleep("1 minute")
        assert.isUndefined(again.pollUnsafe())
        yield* dial(third, first)
        yield* Fiber.join(again)
      })
    )
  )
})

describe("the table", () => {
  it(
    "takes servers that answer, and neither clients nor those that say they are servers and answer nothing",
    simulate(
      { nodes: 4, layer: kadNode(({ index }) => ({ mode: index === 0 || index === 1 ? "server" : "client" })) },
      ({ nodes }) =>
        Effect.gen(function* () {
          yield* serving(at(nodes, 3), () => Effect.never)
          yield* join(nodes)
          for (const [i, peers] of [1, 1, 2, 2].entries()) {
            assert.strictEqual((yield* statusOf(at(nodes, i))).peers, peers, at(nodes, i).name)
          }
          assert.deepStrictEqual(yield* Effect.forEach(nodes, speaks), [true, true, false, true])
        })
    )
  )

  it(
    "is closed to nobody by many that do not answer",
    simulate(
      { nodes: 20, layer: kadNode(({ index }) => ({ mode: index === 0 || index === 19 ? "server" : "client" })) },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [first, ...others] = nodes
          for (const silent of others.slice(0, -1)) {
            yield* serving(silent, () => Effect.never)
            yield* dial(silent, first)
          }
          yield* dial(at(nodes, 19), first)
          // Before it would meet all of them again, with an empty table.
          yield* Effect.sleep("20 seconds")
          assert.strictEqual((yield* statusOf(first)).peers, 1)
        })
    )
  )

  it(
    "lets go of a peer that is gone, once it is asked, and of one that serves no more as soon as it says so",
    simulate({ nodes: 4, layer: kadNode({ mode: "server" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        assert.strictEqual((yield* statusOf(at(nodes, 0))).peers, 3)
        yield* at(nodes, 3).stop
        yield* Effect.sleep("15 minutes")
        assert.strictEqual((yield* statusOf(at(nodes, 0))).peers, 2)
      })
    )
  )

  it(
    "keeps those that this node has no room to ask",
    simulate(
      {
        nodes: 4,
        layer: ({ index }: NodeInfo) =>
          KadRouting.layer({ wan: false, mode: "server" }).pipe(
            Layer.provideMerge(
              Libp2p.layer({
                listen: ["/ip4/0.0.0.0/tcp/4001"],
                limits: index === 0 ? { system: { connectionsOutbound: 1 } } : {}
              })
            ),
            Layer.provide(Libp2p.layerTcp),
            Layer.provideMerge(MemoryPeerStore.layer())
          )
      },
      ({ nodes: [first, ...others] }) =>
        Effect.gen(function* () {
          const use = <A, E>(effect: Effect.Effect<A, E, KadService | PeerRouting | Swarm>) => first.run(effect)
          const size = use(Effect.flatMap(KadService, ({ status }) => Effect.map(status, ([lan]) => lan?.peers)))
          const target = { peer: first.peerId, addresses: first.addresses() }
          for (const other of others) yield* other.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(target)))
          yield* Effect.sleep("2 minutes")
          assert.strictEqual(yield* size, 3)
          yield* use(
            Effect.gen(function* () {
              const swarm = yield* Swarm
              for (const { peerId } of others.slice(1)) yield* swarm.disconnect(peerId)
              const routing = yield* PeerRouting
              yield* Effect.ignore(Stream.runDrain(routing.closestPeers(first.peerId.bytes)))
            })
          )
          assert.strictEqual(yield* size, 3)
        })
    )
  )

  it(
    "does not empty itself when it is this node that is cut off",
    simulate({ nodes: 4, layer: kadNode({ mode: "server" }) }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const [first, ...others] = nodes
        yield* faults.partition([first], others)
        yield* Effect.sleep("1 hour")
        assert.strictEqual((yield* statusOf(first)).peers, 3)
        yield* faults.heal
        yield* Effect.sleep("15 minutes")
        const found = yield* findPeer(first, at(nodes, 2).peerId)
        assert.strictEqual(found.peer.toString(), at(nodes, 2).peerId.toString())
      })
    )
  )

  it(
    "is filled again from the peers to enter by, when it has run empty",
    simulate(
      {
        nodes: 4,
        layer: kadNode(({ index }) => ({
          mode: "server",
          // Asked for each time: where the first is, is known once the nodes are there.
          ...(index === 3 ? { bootstrap: Effect.sync(() => [...entrances]) } : {})
        }))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const last = at(nodes, 3)
          yield* join(nodes.slice(0, 3))
          assert.strictEqual((yield* statusOf(last)).peers, 0)
          entrances.push(placeOf(at(nodes, 0)))
          yield* Effect.sleep("5 minutes")
          assert.strictEqual((yield* statusOf(last)).peers, 3)
          entrances.length = 0
        })
    )
  )
})

const entrances: Array<ReturnType<typeof placeOf>> = []

describe("refresh", () => {
  it(
    "asks, in each bucket, every ten minutes; one that asked nobody is a failure and is made again",
    simulate({ nodes: 2, layer: kadNode(({ index }) => ({ mode: index === 0 ? "server" : "client" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        let asked = 0
        let answers = true
        yield* serving(b, (stream) =>
          answers
            ? answering(({ type }) => {
                asked++
                return Kad.make(type)
              })(stream)
            : stream.reset("no")
        )
        yield* dial(a, b)
        yield* Effect.sleep("5 minutes")
        const settled = yield* statusOf(a)
        assert.strictEqual(settled.peers, 1)
        const before = asked
        yield* Effect.sleep("1 hour")
        const fresh = yield* statusOf(a)
        // At least one question for each ten minutes: a refresh without questions is none.
        assert.isAtLeast(asked - before, 5)
        assert.isAtLeast(fresh.counters.refreshed - settled.counters.refreshed, 5)
        assert.strictEqual(fresh.counters.refreshesFailed, 0)
        assert.isBelow(fresh.buckets[0]?.refreshedMsAgo ?? Number.POSITIVE_INFINITY, 11 * 60_000)

        answers = false
        yield* Effect.sleep("30 minutes")
        const dead = yield* statusOf(a)
        assert.isAtLeast(dead.counters.refreshesFailed, 1)
        assert.strictEqual(dead.counters.refreshed, fresh.counters.refreshed)
        assert.isAbove(dead.buckets[0]?.refreshedMsAgo ?? 0, 20 * 60_000)
      })
    )
  )

  it(
    "is made at once when it is asked for, by a child of the DHT",
    simulate({ nodes: 3, layer: kadNode({ mode: "server" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const first = at(nodes, 0)
        yield* Effect.sleep("11 minutes")
        yield* first.run(Effect.flatMap(KadService, ({ refresh }) => refresh))
        const { buckets } = yield* statusOf(first)
        assert.isBelow(buckets[0]?.refreshedMsAgo ?? Number.POSITIVE_INFINITY, 120_000)
        const tree = yield* first.run(Effect.flatMap(Actors, ({ tree }) => tree))
        const kad = tree.find(({ name }) => name === "kad lan")
        assert.deepStrictEqual(
          kad?.children.map(({ name }) => name),
          ["refresh"]
        )
        assert.match(kad?.detail ?? "", /^server, 2 peers/)
        assert.strictEqual(kad?.restarts, 0)
      })
    )
  )
})

describe("the mode", () => {
  it(
    "of a client says nothing of the protocol to others; of a server it does",
    simulate({ nodes: 2, layer: kadNode(({ index }) => ({ mode: index === 0 ? "server" : "client" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* dial(b, a)
        const info = yield* b.run(Effect.flatMap(Identify, ({ identified }) => identified(connection)))
        assert.include(info.protocols, lan)
        const [back] = yield* a.run(Effect.flatMap(Swarm, ({ connections }) => connections()))
        const other = yield* a.run(
          Effect.flatMap(Identify, ({ identified }) => identified(back ?? assert.fail("no connection")))
        )
        assert.notInclude(other.protocols, lan)
        assert.strictEqual((yield* statusOf(b)).mode, "client")
      })
    )
  )
})

describe("connections with peers of the table", () => {
  it(
    "are worth something while the peer stays, and nothing when it has left",
    simulate({ nodes: 3, layer: kadNode() }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [first, second] = [at(nodes, 0), at(nodes, 1)]
        const worth = first.run(Effect.map(PeerStore, (store) => store.worth(second.peerId)))
        yield* join(nodes)
        yield* Effect.sleep("3 hours")
        // It wears off, and is said anew.
        assert.isAbove(yield* worth, 3)
        assert.isBelow(yield* worth, 5)
        yield* faults.crash(second)
        yield* Effect.sleep("1 hour")
        assert.strictEqual((yield* statusOf(first)).peers, 1)
        assert.strictEqual(yield* worth, 0)
      })
    )
  )
})
