/** The record store as others may use it: shares, over a store in memory with a small quota. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import * as Holding from "../../../src/layers/kad/Holding.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import * as RecordValidators from "../../../src/services/RecordValidators.ts"

const self = Key.fromBytes(Uint8Array.of(1))
const key = (i: number | string) => Bytes.fromUtf8(`/v/${i}`)
const ok = Bytes.fromUtf8("ok")
const by = (peer: string) => ({ peer, group: peer })
const validators = RecordValidators.layer({
  v: { validate: (_, value) => (Bytes.toUtf8(value).startsWith("ok") ? undefined : "it is not ok"), select: () => 0 }
})

const held = ({ records }: Holding.Holding, all: ReadonlyArray<number | string>) =>
  Effect.forEach(all, (one) => Effect.map(Effect.exit(records.get(key(one))), ({ _tag }) => _tag === "Success"))

describe("what is held for others", () => {
  it.effect("is not taken by one who floods: others and this node go on, whatever bound is met first", () =>
    Effect.gen(function* () {
      for (const quota of [{ records: 40 }, { records: 1_000 }]) {
        const store = yield* MemoryRecordStore.make({ quota })
        const holding = yield* Holding.make(store, self, { records: 64, peer: 1 })
        yield* holding.records.put(key("mine"), ok)
        yield* holding.hold(key("early"), ok, by("honest"))
        const flood = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, i) => i),
          (i) => Effect.exit(holding.hold(key(i), ok, by("flooder")))
        )
        assert.isTrue(flood.some(({ _tag }) => _tag === "Failure"))
        yield* holding.hold(key("late"), ok, by("honest"))
        assert.deepStrictEqual(yield* held(holding, ["mine", "early", "late"]), [true, true, true])
        const { dropped, refused } = holding.counts()
        assert.isAbove(refused.node + refused.peer + refused.group + dropped, 200)
      }
    }).pipe(Effect.provide(validators))
  )

  it.effect("leaves what was in the store before it started in no share, whoever brings it again", () =>
    Effect.gen(function* () {
      const store = yield* MemoryRecordStore.make()
      yield* store.put(key("old"), ok)
      const holding = yield* Holding.make(store, self, { records: 16, peer: 1 })
      yield* holding.hold(key("old"), ok, by("flooder"))
      assert.strictEqual(holding.counts().held, 0)
      for (let i = 0; i < 99; i++) yield* Effect.exit(holding.hold(key(i), ok, by("flooder")))
      assert.deepStrictEqual(yield* held(holding, ["old"]), [true])
    }).pipe(Effect.provide(validators))
  )

  it.effect("counts what the store holds, not what was brought and is not better", () =>
    Effect.gen(function* () {
      const holding = yield* Holding.make(yield* MemoryRecordStore.make(), self, { records: 16, bytes: 160, peer: 1 })
      yield* holding.hold(key(1), Bytes.fromUtf8("ok, and of some length"), by("a"))
      const { fill } = holding.counts()
      assert.isAbove(fill, 1 / 16)
      const { reason } = yield* Effect.flip(holding.hold(key(1), ok, by("b")))
      assert.strictEqual(reason._tag, "RecordOutdated")
      assert.strictEqual(holding.counts().fill, fill)
    }).pipe(
      Effect.provide(
        RecordValidators.layer({
          // The longest is best.
          v: { validate: () => undefined, select: (_, [a, b]) => ((a?.length ?? 0) >= (b?.length ?? 0) ? 0 : 1) }
        })
      )
    )
  )

  it.effect("loses nothing to what is not valid, and says whose share is full", () =>
    Effect.gen(function* () {
      const holding = yield* Holding.make(yield* MemoryRecordStore.make(), self, { records: 16, peer: 1 / 16 })
      yield* holding.hold(key(1), ok, by("a"))
      const invalid = yield* Effect.flip(holding.hold(key(2), Bytes.fromUtf8("bad"), by("b")))
      assert.strictEqual(invalid.reason._tag, "RecordInvalid")
      assert.deepStrictEqual(holding.counts(), {
        held: 1,
        fill: 1 / 16,
        refused: { peer: 0, group: 0, node: 0 },
        dropped: 0
      })
      const closeness = (i: number) => Key.commonPrefix(self, Key.fromBytes(key(i)))
      const further = Array.from({ length: 99 }, (_, i) => 2 + i).find((i) => closeness(i) <= closeness(1)) ?? 0
      const { reason } = yield* Effect.flip(holding.hold(key(further), ok, by("a")))
      assert.deepStrictEqual([reason._tag, "share" in reason && reason.share], ["RecordShareFull", "peer"])
      assert.deepStrictEqual(yield* held(holding, [1, further]), [true, false])
    }).pipe(Effect.provide(validators))
  )
})
