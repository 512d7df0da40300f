/** Networks of whole nodes with a DHT, in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as Bytes from "../../../src/data/Bytes.ts"
import { simulate, start } from "../../../src/layers/simulation/Simulate.ts"
import { Kad as KadService, type KadPeers } from "../../../src/services/Kad.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import {
  answering,
  at,
  content,
  findPeer,
  idsOf,
  join,
  kadNode,
  type KadNode,
  placeOf,
  records,
  serving,
  statusOf
} from "./network.ts"

const dial = (from: KadNode, to: KadNode) => from.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(placeOf(to))))

const key = (n: number) => Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(n)])

describe("a DHT of 30 nodes", () => {
  it(
    "finds every peer, every provider and every value",
    // Small buckets, so that nodes do not all know each other.
    simulate({ nodes: 30, cheapCrypto: true, layer: kadNode({ k: 5, alpha: 3 }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        for (const node of nodes) {
          const { mode, peers } = yield* statusOf(node)
          assert.strictEqual(mode, "server")
          assert.isAtLeast(peers, 5, node.name)
        }
        for (let i = 0; i < 30; i++) {
          const wanted = at(nodes, (i + 13) % 30)
          const found = yield* findPeer(at(nodes, i), wanted.peerId)
          assert.strictEqual(found.peer.toString(), wanted.peerId.toString())
          assert.isAbove(found.addresses.length, 0)
        }
        for (const i of [3, 17]) {
          const { holders } = yield* content(at(nodes, i), ({ provide }) => provide(key(1)))
          assert.isAtLeast(holders, 4)
          yield* records(at(nodes, i), ({ put }) => put(Bytes.fromUtf8(`/v/${i}`), Bytes.fromUtf8(`ok ${i}`)))
        }
        yield* Effect.sleep("1 second")
        for (const i of [9, 28]) {
          const providers = yield* content(at(nodes, i), ({ findProviders }) =>
            Stream.runCollect(findProviders(key(1)))
          )
          assert.sameMembers(
            [...idsOf(providers)],
            [3, 17].map((one) => at(nodes, one).peerId.toString())
          )
          const { value } = yield* records(at(nodes, i), ({ get }) => get(Bytes.fromUtf8("/v/17")))
          assert.strictEqual(Bytes.toUtf8(value), "ok 17")
        }
      })
    ),
    120_000
  )
})

describe("KadRouting", () => {
  it("begins with the table of an earlier run, and need not join", () => {
    let kept: ReadonlyArray<KadPeers> = []
    const layer = kadNode(({ index }) => ({
      mode: "server",
      remembered: Effect.sync(() => (index === 3 ? kept : []))
    }))
    simulate({ nodes: 4, layer }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const last = at(nodes, 3)
        kept = yield* last.run(Effect.flatMap(KadService, ({ tables }) => tables))
        yield* last.stop
        yield* last.start
        const { counters, peers } = yield* statusOf(last)
        assert.deepStrictEqual([peers, counters.requests], [3, 0])
        const found = yield* findPeer(last, at(nodes, 1).peerId)
        assert.strictEqual(found.peer.toString(), at(nodes, 1).peerId.toString())
        assert.isAtMost((yield* statusOf(last)).counters.requests, 3)
      })
    )()
  })

  it("finds a peer of whose addresses some lie, by those who do not", () => {
    const nowhere = Multiaddr.fromStringUnsafe("/ip4/10.77.0.1/tcp/4001").bytes
    const layer = kadNode(({ index }) => ({ mode: index === 1 ? "server" : "client" }))
    simulate({ nodes: 5, layer }, ({ nodes }) =>
      Effect.gen(function* () {
        const [asker, honest, wanted] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
        const { bytes: id } = wanted.peerId
        for (const liar of [3, 4]) {
          const answer = answering(({ key, type }) =>
            Kad.make(type, {
              closerPeers: Bytes.equals(key, id) ? [{ id, addrs: [nowhere], connection: "Connected" }] : []
            })
          )
          yield* serving(at(nodes, liar), answer)
        }
        yield* dial(wanted, honest)
        for (const other of [1, 3, 4]) yield* dial(asker, at(nodes, other))
        yield* Effect.sleep("1 minute")
        const { addresses } = yield* findPeer(asker, wanted.peerId)
        assert.include(addresses.map(String).join(), wanted.host.addresses.join())
      })
    )()
  })

  it(
    "goes on announcing what one of two could announce who asked at once",
    simulate({ nodes: 3, layer: kadNode({ mode: "server" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const provided = yield* content(at(nodes, 0), ({ provide, provided }) =>
          Effect.gen(function* () {
            const hurried = Effect.exit(provide(key(1), { deadline: "5 millis" }))
            const [first, second] = yield* Effect.all([hurried, Effect.exit(provide(key(1)))], {
              concurrency: "unbounded"
            })
            assert.deepStrictEqual([first._tag, second._tag], ["Failure", "Success"])
            return yield* provided
          })
        )
        assert.deepStrictEqual(provided, [key(1)])
        const hurried = content(at(nodes, 0), ({ provide }) => provide(key(2), { deadline: "5 millis" }))
        assert.strictEqual((yield* Effect.exit(hurried))._tag, "Failure")
        assert.lengthOf(yield* content(at(nodes, 0), ({ provided }) => provided), 1)
      })
    )
  )

  it(
    "tells who asks what the node provides itself, when the holders are gone",
    simulate({ nodes: 3, layer: kadNode(({ index }) => ({ mode: index === 2 ? "client" : "server" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        const [provider, holder, asker] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
        yield* join(nodes)
        assert.strictEqual((yield* content(provider, ({ provide }) => provide(key(1)))).holders, 1)
        yield* holder.stop
        const found = yield* content(asker, ({ findProviders }) => Stream.runCollect(findProviders(key(1))))
        assert.deepStrictEqual(idsOf(found), [provider.peerId.toString()])
        assert.isAbove(found[0]?.addresses.length ?? 0, 0)
        yield* content(provider, ({ unprovide }) => unprovide(key(1)))
        assert.isEmpty(yield* content(asker, ({ findProviders }) => Stream.runCollect(findProviders(key(1)))))
      })
    )
  )

  it("is the same run each time, from one seed", () => {
    const run = (seed: number) => {
      const running = start({ nodes: 5, layer: kadNode({ mode: "server" }), seed }, ({ nodes }) =>
        Effect.gen(function* () {
          yield* join(nodes)
          yield* content(at(nodes, 1), ({ provide }) => provide(key(1)))
          yield* content(at(nodes, 2), ({ findProviders }) => Stream.runDrain(findProviders(key(1))))
          yield* Effect.sleep("12 minutes")
        })
      )
      for (let next = running.next(); ; next = running.next()) if (next.done === true) return next.value
    }
    const first = run(3)
    const second = run(3)
    assert.isUndefined(first.problem)
    assert.deepEqual([second.hash, second.events, second.virtualMs], [first.hash, first.events, first.virtualMs])
    assert.notStrictEqual(run(4).hash, first.hash)
  })

  it(
    "announces again what it provides until it provides it no more, and others forget it in time",
    simulate(
      {
        nodes: 4,
        layer: kadNode({ mode: "server", reprovideEvery: "40 minutes", providers: { ttlMs: 3_600_000 } })
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          yield* join(nodes)
          const [provider, asker] = [at(nodes, 1), at(nodes, 2)]
          const found = content(asker, ({ findProviders }) => Stream.runCount(findProviders(key(1))))
          yield* content(provider, ({ provide }) => provide(key(1)))
          assert.deepStrictEqual(yield* content(provider, ({ provided }) => provided), [key(1)])
          yield* Effect.sleep("100 minutes")
          assert.strictEqual(yield* found, 1)
          yield* content(provider, ({ unprovide }) => unprovide(key(1)))
          yield* Effect.sleep("70 minutes")
          assert.strictEqual(yield* found, 0)
        })
    )
  )

  it(
    "asks both DHTs, and gives the answers of both as one",
    simulate(
      {
        nodes: 4,
        layer: kadNode({ wan: true, lan: true, mode: "server" }),
        // Node 3 is public only, node 2 local only.
        arrange: (_, nodes) =>
          nodes.forEach((node, i) =>
            node.host.setAddresses([...(i === 2 ? [] : [`${20 + i}.0.0.1`]), ...(i === 3 ? [] : [`10.0.${i}.1`])])
          )
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [a, b, local, publicly] = [at(nodes, 0), at(nodes, 1), at(nodes, 2), at(nodes, 3)]
          yield* join([a, b, publicly])
          yield* join([b, local])
          for (const node of [local, publicly]) yield* content(node, ({ provide }) => provide(key(1)))
          yield* Effect.sleep("1 second")
          const providers = yield* content(b, ({ findProviders }) => Stream.runCollect(findProviders(key(1))))
          assert.sameMembers(
            [...idsOf(providers)],
            [local, publicly].map(({ peerId }) => peerId.toString())
          )
          const steps = yield* b.run(
            Effect.flatMap(PeerRouting, ({ closestPeers }) => Stream.runCollect(closestPeers(key(1))))
          )
          const closest = idsOf(steps.at(-1)?.closest ?? [])
          for (const { peerId } of [local, publicly]) assert.include(closest, peerId.toString())
          // Node 0 is in both: it holds what it is told twice, and is one holder.
          const { holders } = yield* content(b, ({ provide }) => provide(key(2)))
          const more = yield* Effect.flip(
            records(b, ({ put }) => put(Bytes.fromUtf8("/v/1"), Bytes.fromUtf8("ok"), { quorum: 4 }))
          )
          assert.strictEqual(holders, 3)
          assert.include(String(more), "3 of the 4 peers that were wanted have it")
        })
    )
  )

  it(
    "says what it cannot do: a key that is no multihash, nobody to ask, a peer that is nowhere, a deadline",
    simulate({ nodes: 3, layer: kadNode({ mode: "server" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        const a = at(nodes, 0)
        const nowhere = yield* Effect.map(a.run(Effect.void), () => at(nodes, 2).peerId)
        const reasonOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
          Effect.map(Effect.flip(effect), (error) => {
            const reason = "reason" in error ? error.reason : undefined
            return typeof reason === "object" && reason !== null && "_tag" in reason ? reason._tag : error._tag
          })
        const provide = (bytes: Uint8Array) => content(a, (routing) => routing.provide(bytes))
        assert.strictEqual(yield* reasonOf(provide(Uint8Array.of(1))), "RoutingUnsupported")
        assert.strictEqual(yield* reasonOf(provide(key(1))), "NobodyToAsk")
        assert.deepStrictEqual(yield* content(a, ({ provided }) => provided), [])
        assert.strictEqual(yield* reasonOf(findPeer(a, nowhere)), "NobodyToAsk")
        yield* at(nodes, 2).stop
        yield* join(nodes.slice(0, 2))
        assert.strictEqual(yield* reasonOf(findPeer(a, nowhere)), "NotFound")
        const hurried = a.run(
          Effect.flatMap(PeerRouting, (routing) => routing.findPeer(nowhere, { deadline: "5 millis" }))
        )
        assert.strictEqual(yield* reasonOf(hurried), "RoutingTimeout")
      })
    )
  )
})
