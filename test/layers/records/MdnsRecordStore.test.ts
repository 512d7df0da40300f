import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import { stranger } from "../../../src/conformance/PeerRouting.ts"
import { recordStoreSuite, smallQuota, validators } from "../../../src/conformance/RecordStore.ts"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MdnsRecordStore from "../../../src/layers/records/MdnsRecordStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import * as Protocols from "../../../src/layers/swarm/Protocols.ts"
import { LocalNetwork } from "../../../src/services/LocalNetwork.ts"
import { RecordValidators } from "../../../src/services/RecordValidators.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { knows, start } from "../mdns/nodes.ts"

const utf8 = Bytes.fromUtf8
const key = utf8("/test/key")

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
      yield* b.network.hold({ _tag: "Record", key }, utf8("no rank"))
      yield* c.records.put(key, utf8("1:one"))
      assert.strictEqual(yield* text(a.records), "1:one")
      const error = yield* Effect.flip(c.records.put(key, utf8("2:two"), { quorum: 2 }))
      assert.deepInclude(error.reason, { _tag: "QuorumNotReached", got: 1, wanted: 2 })
    })
  )
})
