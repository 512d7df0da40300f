/** A DHT with a peer in it that does not keep to the protocol: whatever it does, questions end in time, and honest peers are found. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as LengthPrefix from "../../../src/data/LengthPrefix.ts"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { Writer } from "../../../src/data/Protobuf.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import * as KadRouting from "../../../src/layers/kad/KadRouting.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import type { NodeInfo } from "../../../src/layers/simulation/SimNode.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Kad as KadService } from "../../../src/services/Kad.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { byteMessages, type ProtocolStream } from "../../../src/services/ProtocolStream.ts"
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
  lan,
  placeOf,
  records,
  serving,
  statusOf
} from "./network.ts"

/** The last of the nodes is the hostile one: its own DHT only asks, so that it can serve what it likes. */
const hostile = 5
const options = {
  nodes: 6,
  layer: kadNode(({ index }) => ({ mode: index === hostile ? ("client" as const) : ("server" as const) })),
  mustReach: ["the hostile peer is asked"]
}

const key = Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(3)])
const recordKey = Bytes.fromUtf8("/v/one")
const good = Bytes.fromUtf8("ok, this")

const closest100k = (() => {
  const one = new Writer().bytes(8, new Uint8Array(0)).finish()
  const body = new Uint8Array(2 + one.length * 100_000)
  body.set([8, 4])
  for (let i = 0; i < 100_000; i++) body.set(one, 2 + i * one.length)
  return LengthPrefix.encode(body)
})()

/** Answers the checks honestly, so that it gets into tables, and the rest by `answer`. */
const lying = (answer: (question: Kad.Kad) => Kad.Kad) =>
  answering((question) => (question.type === "FindNode" ? Kad.make("FindNode") : answer(question)))

/** Honest for some questions, then as it likes. */
const afterSome = (honest: number, then: (stream: ProtocolStream) => Effect.Effect<unknown, unknown>) => {
  let asked = 0
  return (stream: ProtocolStream) => (++asked > honest ? then(stream) : answering(({ type }) => Kad.make(type))(stream))
}

const kinds: ReadonlyArray<readonly [string, (stream: ProtocolStream) => Effect.Effect<unknown, unknown>]> = [
  ["never answers", afterSome(5, () => Effect.never)],
  [
    "answers a byte a second",
    afterSome(5, (stream) =>
      Effect.forEach(new Uint8Array(100), (byte) =>
        Effect.andThen(Effect.sleep("1 second"), stream.write(Uint8Array.of(byte)))
      )
    )
  ],
  ["answers with 100,000 peers", (stream) => Effect.andThen(stream.read, stream.write(closest100k))],
  ["resets every stream", (stream) => stream.reset("no")],
  [
    "gives a value of 10 MiB",
    lying(() =>
      Kad.make("GetValue", { record: { key: recordKey, value: new Uint8Array(10 * 1024 * 1024), timeReceived: "" } })
    )
  ],
  [
    "gives a record for another key",
    lying(({ type }) =>
      Kad.make(type, {
        record: { key: Bytes.fromUtf8("/v/two"), value: Bytes.fromUtf8("ok, but for another"), timeReceived: "" }
      })
    )
  ],
  [
    "gives a record that is not valid",
    lying(({ key, type }) =>
      Kad.make(type, { record: { key, value: Bytes.fromUtf8("a bad one, and a long one"), timeReceived: "" } })
    )
  ],
  [
    "names peers that are nowhere",
    answering(({ type }) =>
      Kad.make(type, {
        closerPeers: Array.from({ length: 200 }, (_, i) => ({
          id: Uint8Array.of(0x12, 32, ...new Uint8Array(31).fill(i), i),
          addrs: [Uint8Array.of(4, 10, 77, i, 1, 6, 15, 161)],
          connection: "Connected" as const
        }))
      })
    )
  ]
]

describe("a peer that", () => {
  for (const [what, handler] of kinds) {
    it(
      `${what} holds up nobody for long`,
      simulate(options, ({ nodes, sometimes, world }) =>
        Effect.gen(function* () {
          const reached = (stream: ProtocolStream) =>
            Effect.andThen(sometimes("the hostile peer is asked"), handler(stream))
          yield* serving(at(nodes, hostile), reached)
          yield* join(nodes)

          const timed = <A, E>(effect: Effect.Effect<A, E>, atMostMs: number) =>
            Effect.gen(function* () {
              const began = world.timeline.now
              const result = yield* effect
              assert.isAtMost(world.timeline.now - began, atMostMs)
              return result
            })
          const [a, b] = [at(nodes, 1), at(nodes, 3)]
          const { peer } = yield* timed(findPeer(a, at(nodes, 2).peerId), 61_000)
          assert.strictEqual(peer.toString(), at(nodes, 2).peerId.toString())

          yield* timed(
            content(b, ({ provide }) => provide(key)),
            61_000
          )
          // On its way to the holders.
          yield* Effect.sleep("1 second")
          const providers = yield* timed(
            content(a, ({ findProviders }) => Stream.runCollect(findProviders(key))),
            61_000
          )
          assert.include(idsOf(providers), b.peerId.toString())

          yield* timed(
            records(b, ({ put }) => put(recordKey, good)),
            61_000
          )
          const { value } = yield* timed(
            records(a, ({ get }) => get(recordKey)),
            61_000
          )
          assert.deepStrictEqual(value, good)
          const missing = yield* timed(Effect.flip(records(a, ({ get }) => get(Bytes.fromUtf8("/v/none")))), 61_000)
          assert.strictEqual(missing._tag === "RecordStoreError" ? missing.reason._tag : missing._tag, "RecordNotFound")
        })
      )
    )
  }

  it(
    "gives wrong records is not believed, and is refused what it puts",
    simulate(options, ({ nodes, sometimes }) =>
      Effect.gen(function* () {
        yield* sometimes("the hostile peer is asked")
        yield* join(nodes)
        for (const [recordOf, tag] of [
          [{ key: recordKey, value: Bytes.fromUtf8("bad") }, "RecordInvalid"],
          [{ key: Bytes.fromUtf8("/unknown/x"), value: good }, "UnknownNamespace"]
        ] as const) {
          const error = yield* Effect.flip(records(at(nodes, 1), ({ put }) => put(recordOf.key, recordOf.value)))
          assert.strictEqual(error._tag === "RecordStoreError" ? error.reason._tag : error._tag, tag)
        }
      })
    )
  )
})

describe("the public table", () => {
  it(
    "takes nobody with private addresses only",
    simulate({ nodes: 3, layer: kadNode({ wan: true, lan: false, mode: "server" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        for (const node of nodes) assert.strictEqual((yield* statusOf(node)).peers, 0)
        const error = yield* Effect.flip(
          content(at(nodes, 1), ({ findProviders }) => Stream.runCollect(findProviders(key)))
        )
        assert.strictEqual(error._tag === "RoutingError" ? error.reason._tag : error._tag, "NobodyToAsk")
      })
    )
  )

  it(
    "takes those with public ones, and hears of no private address",
    simulate(
      {
        nodes: 4,
        layer: kadNode({ wan: true, lan: false, mode: "server" }),
        arrange: (_, nodes) => nodes.forEach((node, i) => node.host.setAddresses([`${20 + i}.0.0.1`, `10.0.${i}.1`]))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          yield* join(nodes)
          for (const node of nodes) assert.strictEqual((yield* statusOf(node)).peers, 3)
          yield* content(at(nodes, 2), ({ provide }) => provide(key))
          yield* Effect.sleep("1 second")
          const [provider] = yield* content(at(nodes, 1), ({ findProviders }) => Stream.runCollect(findProviders(key)))
          assert.deepStrictEqual(provider?.addresses.map(String), ["/ip4/22.0.0.1/tcp/4001"])
        })
    )
  )

  it(
    "takes few that connect from one network, wherever they say that they are",
    simulate(
      {
        nodes: 7,
        layer: ({ index }: NodeInfo) =>
          KadRouting.layer({ lan: false, mode: "server" }).pipe(
            Layer.provideMerge(Libp2p.layer({ listen: [`/ip4/${30 + index}.0.0.1/tcp/4001`] })),
            Layer.provide(Libp2p.layerTcp),
            Layer.provideMerge(MemoryPeerStore.layer())
          ),
        // All but the first have an address in the same network, which they connect from and do not tell of.
        arrange: (_, nodes) =>
          nodes.forEach((node, i) =>
            node.host.setAddresses(i === 0 ? ["30.0.0.1"] : [`20.0.0.${i}`, `${30 + i}.0.0.1`])
          )
      },
      ({ nodes: [first, ...others] }) =>
        Effect.gen(function* () {
          const target = { peer: first.peerId, addresses: first.addresses() }
          for (const other of others) yield* other.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(target)))
          yield* Effect.sleep("10 seconds")
          const seen = yield* first.run(Effect.flatMap(Swarm, ({ connections }) => connections()))
          assert.lengthOf(seen, 6)
          for (const { remoteAddress } of seen) assert.match(remoteAddress.toString(), /^\/ip4\/20\.0\.0\./)
          const [status] = yield* first.run(Effect.flatMap(KadService, ({ status }) => status))
          assert.strictEqual(status?.peers, 2)
        })
    )
  )
})

describe("what a peer says of others", () => {
  /** Where nobody is. */
  const nowhere = Uint8Array.of(4, 10, 77, 7, 7, 6, 15, 161)
  const eight = {
    nodes: 8,
    layer: kadNode(({ index }) => ({ k: 1, mode: index === 7 ? "client" : "server" }))
  } as const

  /** A node with a liar in its table, and one for whom there was no room beside the liar, so that the liar is asked for it. */
  const lied = (nodes: ReadonlyArray<KadNode>) =>
    Effect.gen(function* () {
      const [first, liar] = [at(nodes, 0), at(nodes, 7)]
      let of: KadNode | undefined
      yield* serving(
        liar,
        answering(({ type }) =>
          Kad.make(type, {
            closerPeers:
              of === undefined ? [] : [{ id: of.peerId.bytes, addrs: [nowhere], connection: "Connected" as const }]
          })
        )
      )
      yield* first.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(placeOf(liar))))
      yield* join(nodes.slice(0, 7))
      const shared = ({ peerId }: KadNode) => Key.commonPrefix(Key.contact(first.peerId).key, Key.contact(peerId).key)
      const other = nodes.slice(1, 7).find((node) => shared(node) === shared(liar)) ?? assert.fail("another seed")
      of = other
      return { first, liar, other }
    })

  it(
    "is not passed on in place of what they say of themselves",
    simulate(eight, ({ nodes }) =>
      Effect.gen(function* () {
        const { first, liar, other } = yield* lied(nodes)
        yield* first.run(
          Effect.flatMap(PeerRouting, (routing) => Stream.runDrain(routing.closestPeers(other.peerId.bytes)))
        )
        const asked = Effect.gen(function* () {
          const { read, write } = byteMessages(yield* (yield* Swarm).openStream(first.peerId, lan))
          yield* write(Kad.encode(Kad.make("FindNode", { key: other.peerId.bytes })))
          return yield* Effect.fromResult(Kad.decode((yield* read) ?? assert.fail("no answer")))
        })
        const { closerPeers } = yield* liar.run(Effect.scoped(asked))
        const found = closerPeers.find(({ id }) => Bytes.equals(id, other.peerId.bytes))
        const own = other.addresses().flatMap((address) => Multiaddr.withoutPeer(address)?.bytes ?? [])
        assert.deepStrictEqual(found?.addrs, own)
      })
    )
  )

  it(
    "sends no crawl to where the realm does not lead",
    simulate(options, ({ nodes, sometimes }) =>
      Effect.gen(function* () {
        const ssh = Uint8Array.of(4, 127, 0, 0, 1, 6, 0, 22)
        yield* serving(
          at(nodes, hostile),
          answering(({ type }) =>
            Kad.make(type, {
              closerPeers: [1, 2, 3].map((i) => ({
                id: Uint8Array.of(0x12, 32, ...new Uint8Array(32).fill(i)),
                addrs: [ssh],
                connection: "Connected" as const
              }))
            })
          )
        )
        yield* sometimes("the hostile peer is asked")
        yield* join(nodes)
        const crawled = yield* at(nodes, 1).run(Effect.flatMap(KadService, ({ crawl }) => Stream.runCollect(crawl())))
        assert.sameMembers(
          crawled.map(({ peer }) => peer.peer.toString()),
          [0, 2, 3, 4, 5].map((i) => at(nodes, i).peerId.toString())
        )
        for (const { failure } of crawled) assert.isUndefined(failure)
      })
    )
  )

  it(
    "hides no provider that another can tell the place of",
    simulate(
      {
        nodes: 6,
        // The provider is a client, so that nobody has it in a table; who asks is one, so that it holds nothing itself.
        layer: kadNode(({ index }) => ({ mode: [2, 3, hostile].includes(index) ? "client" : "server" }))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [asker, provider, liar] = [at(nodes, 2), at(nodes, 3), at(nodes, hostile)]
          yield* serving(
            liar,
            answering(({ type }) =>
              type === "GetProviders"
                ? Kad.make(type, {
                    providerPeers: [{ id: provider.peerId.bytes, addrs: [], connection: "Connected" }]
                  })
                : Kad.make(type)
            )
          )
          yield* join(nodes)
          // The liar is the closest: it is asked first.
          const servers = [0, 1, 4, hostile].map((i) => Key.contact(at(nodes, i).peerId))
          const wanted = Array.from({ length: 100 }, (_, i) =>
            Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(i)])
          ).find((one) => Key.closest(Key.fromBytes(one), servers, 1)[0]?.peer === liar.peerId)
          if (wanted === undefined) return assert.fail("another seed")
          yield* content(provider, ({ provide }) => provide(wanted))
          yield* Effect.sleep("1 second")
          const found = yield* content(asker, ({ findProviders }) => Stream.runCollect(findProviders(wanted)))
          assert.deepStrictEqual(idsOf(found), [provider.peerId.toString()])
          assert.isAbove(found[0]?.addresses.length ?? 0, 0)
        })
    )
  )
})
