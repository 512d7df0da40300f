import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { stranger } from "../../../src/conformance/PeerRouting.ts"
import { recordStoreSuite, smallQuota, validators } from "../../../src/conformance/RecordStore.ts"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MdnsRecordStore from "../../../src/layers/records/MdnsRecordStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import * as Protocols from "../../../src/layers/swarm/Protocols.ts"
import type { ByteStream } from "../../../src/services/ByteStream.ts"
import { type LocalHolding, LocalNetwork } from "../../../src/services/LocalNetwork.ts"
import { RecordValidators } from "../../../src/services/RecordValidators.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import { Protocols as ProtocolService } from "../../../src/services/Protocols.ts"
import * as ProtocolStream from "../../../src/services/ProtocolStream.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { knows, start } from "../mdns/nodes.ts"

const utf8 = Bytes.fromUtf8
const key = utf8("/test/key")
const protocol = "/effect-libp2p/record/1.0.0"

/** A local network on which nobody is. */
const empty = Layer.succeed(LocalNetwork, {
  peers: Effect.succeed([]),
  changes: Stream.never,
  refresh: Effect.void,
  ask: () => Stream.die("there is nobody to ask"),
  hold: () => Effect.void,
  release: () => Effect.void,
  status: Effect.succeed({
    service: "_p2p._udp.local",
    links: [],
    counters: { sent: 0, received: 0, refused: 0, renamed: 0 }
  })
})

// One that is alone asks nobody, and is held to all that a store of its own is held to.
recordStoreSuite(
  "mDNS",
  MdnsRecordStore.layer({ records: MemoryRecordStore.make({ quota: smallQuota }) }).pipe(
    Layer.provide(Layer.mergeAll(empty, Protocols.layer, Layer.mock(Swarm, { peerId: stranger(1) }))),
    Layer.fresh,
    Layer.build,
    Effect.map((context) => Context.get(context, RecordStore))
  ),
  { quota: smallQuota }
)

/** A local network on which somebody says that a hundred hold the record, none of whom ever answers. */
const crowded = Effect.gen(function* () {
  const crowd = Array.from({ length: 100 }, (_, n) => ({ peer: stranger(n + 2), addresses: [], content: undefined }))
  const present = crowd.map((one) => ({ ...one, services: [], firstMsAgo: 0, lastMsAgo: 0, forgottenInMs: 1000 }))
  const network = Effect.map(Layer.build(empty), (context) => ({
    ...Context.get(context, LocalNetwork),
    peers: Effect.succeed(present),
    ask: () => Stream.fromIterable(crowd)
  }))
  const context = yield* Layer.build(
    MdnsRecordStore.layer({ records: MemoryRecordStore.make() }).pipe(
      Layer.provideMerge(Protocols.layer),
      Layer.provide(Layer.effect(LocalNetwork, network)),
      Layer.provide(Layer.mock(Swarm, { peerId: stranger(1), openStream: () => Effect.never }))
    )
  )
  return { records: Context.get(context, RecordStore), protocols: Context.get(context, ProtocolService) }
})

describe("what is told of on the local network", () => {
  it.effect("is kept in one place, and read there when somebody asks; what is not there any more is not told of", () =>
    Effect.gen(function* () {
      const local = yield* MemoryRecordStore.make()
      const held: Array<Effect.Effect<Uint8Array | undefined>> = []
      const network = Effect.map(Layer.build(empty), (context) => ({
        ...Context.get(context, LocalNetwork),
        hold: (_: LocalHolding, content?: Effect.Effect<Uint8Array | undefined>) =>
          Effect.sync(() => void held.push(content ?? Effect.die("the record is not told")))
      }))
      const context = yield* Layer.build(
        MdnsRecordStore.layer({ records: Effect.succeed(local) }).pipe(
          Layer.provide(
            Layer.mergeAll(
              Layer.effect(LocalNetwork, network),
              Protocols.layer,
              Layer.mock(Swarm, { peerId: stranger(1) })
            )
          )
        )
      )
      yield* Context.get(context, RecordStore).put(key, utf8("1:one"))
      const [content] = held
      if (content === undefined) return assert.fail("nothing is told of")
      assert.deepStrictEqual(yield* content, utf8("1:one"))
      yield* local.put(key, utf8("2:two"))
      assert.deepStrictEqual(yield* content, utf8("2:two"))
      yield* local.delete(key)
      assert.isUndefined(yield* content)
    }).pipe(Effect.scoped, Effect.provideService(RecordValidators, validators))
  )
})

describe("the records of a local network on which nobody keeps their word", () => {
  it.effect("a hundred who hold one and do not give it keep nobody waiting for longer than one of them", () =>
    Effect.gen(function* () {
      const { records } = yield* crowded
      const getting = yield* Effect.forkChild(Effect.flip(records.get(key)), { startImmediately: true })
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(getting.pollUnsafe()?._tag, "Success")
    }).pipe(Effect.scoped, Effect.provideService(RecordValidators, validators))
  )

  it.effect("who opens a stream and asks for nothing is not waited for", () =>
    Effect.gen(function* () {
      const { protocols } = yield* crowded
      const resets: Array<string> = []
      const bytes: ByteStream = {
        tryRead: () => undefined,
        readable: Effect.never,
        tryWrite: () => 0,
        writable: Effect.never,
        flush: () => {},
        closeWrite: Effect.void,
        ownedReads: true,
        reset: (because) => void resets.push(because)
      }
      const stream = ProtocolStream.make({
        bytes,
        protocol,
        remotePeer: stranger(2),
        remoteAddress: Multiaddr.fromStringUnsafe("/ip4/10.0.0.2/tcp/4001"),
        connectionId: 1,
        direction: "inbound",
        connection: { _tag: "Direct" }
      })
      const handler = protocols.find(protocol)
      if (handler === undefined) return assert.fail()
      yield* Effect.forkChild(handler.run(stream), { startImmediately: true })
      yield* TestClock.adjust("6 seconds")
      assert.lengthOf(resets, 1)
    }).pipe(Effect.scoped, Effect.provideService(RecordValidators, validators))
  )
})

/** Three nodes that know each other. */
const three = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const node = (n: number) => start({ seed: n, net: network.host([`10.0.0.${n}`]), wait: "400 millis" })
  const [a, b, c] = [yield* node(1), yield* node(2), yield* node(3)]
  yield* knows(a, b, c)
  yield* knows(b, a, c)
  yield* knows(c, a, b)
  return [a, b, c] as const
})

const text = (store: RecordStore["Service"]) => Effect.map(store.get(key), ({ value }) => Bytes.toUtf8(value))

const test = (title: string, body: Effect.Effect<void, unknown, Effect.Services<typeof three>>) =>
  it.live(title, () => body.pipe(Effect.scoped, Effect.provideService(RecordValidators, validators)))

describe("records of the local network", () => {
  test(
    "are found by others, the best of them; in the answer itself, without a connection",
    Effect.gen(function* () {
      const [a, b, c] = yield* three
      yield* b.records.put(key, utf8("1:one"))
      assert.strictEqual(yield* text(a.records), "1:one")
      yield* c.records.put(key, utf8("3:three"))
      assert.strictEqual(yield* text(a.records), "3:three")
      assert.strictEqual(yield* text(b.records), "3:three")
      assert.lengthOf(yield* a.swarm.connections(), 0)
      const found = yield* Stream.runCollect(a.records.search(key, { quorum: 1 }))
      assert.lengthOf(found, 1)
    })
  )

  test(
    "that are too large for a packet are read from who holds them",
    Effect.gen(function* () {
      const [a, b] = yield* three
      const large = `2:${"x".repeat(60_000)}`
      yield* b.records.put(key, utf8(large))
      assert.strictEqual(yield* text(a.records), large)
      assert.lengthOf(yield* a.swarm.connections(), 1)
    })
  )

  test(
    "that were deleted are not found any more, and what is not there is not found",
    Effect.gen(function* () {
      const [a, b] = yield* three
      yield* b.records.put(key, utf8("1:one"))
      yield* b.records.delete(key)
      const error = yield* Effect.flip(a.records.get(key))
      assert.strictEqual(error.reason._tag, "RecordNotFound")
      assert.deepStrictEqual(yield* Stream.runCollect(a.records.search(utf8("/test/other"))), [])
    })
  )

  test(
    "that are not valid by the rules of who asks are passed over; a quorum cannot be had",
    Effect.gen(function* () {
      const [a, b, c] = yield* three
      // As somebody would say it who does not keep the rules.
      yield* b.network.hold({ _tag: "Record", key }, Effect.succeed(utf8("no rank")))
      yield* c.records.put(key, utf8("1:one"))
      assert.strictEqual(yield* text(a.records), "1:one")
      const error = yield* Effect.flip(c.records.put(key, utf8("2:two"), { quorum: 2 }))
      assert.deepInclude(error.reason, { _tag: "QuorumNotReached", got: 1, wanted: 2 })
    })
  )
})
