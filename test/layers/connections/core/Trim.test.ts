import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Leases } from "../../../../src/layers/connections/core/Leases.ts"
import { chooseToTrim, nextChange, type Trimmable } from "../../../../src/layers/connections/core/Trim.ts"
import { pauseMs } from "../../../../src/layers/internal/Retry.ts"

const now = 1_000_000
const marks = { lowWater: 4, highWater: 6, graceMs: 20_000 }
let ids = 0
const one = (given: Partial<Trimmable> = {}): Trimmable => ({
  id: ids++,
  direction: "inbound",
  openedAt: now - 60_000,
  streams: 0,
  worth: 0,
  protected: false,
  ...given
})
const many = (count: number, given: Partial<Trimmable> = {}) => Array.from({ length: count }, () => one(given))
const young = { openedAt: now - 1000 }

describe("what to close when there are too many connections", () => {
  it("is nothing up to the high mark, then all above the low one", () => {
    assert.lengthOf(chooseToTrim(many(6), now, marks), 0)
    assert.lengthOf(chooseToTrim(many(7), now, marks), 3)
    assert.lengthOf(chooseToTrim(many(5), now, marks, true), 1)
    assert.lengthOf(chooseToTrim(many(4), now, marks, true), 0)
  })

  it("is what is worth least; then what came in; then what is least used; then the newest", () => {
    const order = [
      one({ worth: -1, streams: 9, direction: "outbound" }),
      one({ openedAt: now - 30_000 }),
      one({ openedAt: now - 90_000 }),
      one({ streams: 1 }),
      one({ direction: "outbound" }),
      one({ direction: "outbound", streams: 1 }),
      one({ worth: 1 })
    ]
    for (const mixed of [order, order.toReversed(), order.toSorted((a, b) => (a.id % 3) - (b.id % 3))]) {
      assert.deepStrictEqual(chooseToTrim(mixed, now, { ...marks, highWater: 4 }), order.slice(0, 3))
    }
  })

  it("spares the protected and the young", () => {
    const spared = [...many(3, { protected: true, worth: -9 }), ...many(2, { ...young, worth: -9 })]
    assert.lengthOf(chooseToTrim([...spared, ...many(2)], now, marks), 2)
    assert.deepStrictEqual(
      chooseToTrim([...many(2), ...spared], now, marks).filter((each) => spared.includes(each)),
      []
    )
    assert.lengthOf(chooseToTrim(many(50, { protected: true }), now, marks), 0)
  })

  it("is newcomers when there are too many of them, and half of the low mark stays whoever comes", () => {
    const known = many(4, { worth: 0 })
    const flood = many(50, { ...young, worth: 100 })
    const chosen = chooseToTrim([...known, ...flood], now, marks)
    assert.strictEqual(known.filter((each) => !chosen.includes(each)).length, 2)
    assert.strictEqual(54 - chosen.length, marks.highWater)
  })

  it("is worth another look when the first of the young has had its grace", () => {
    const crowd = [...many(6, { protected: true }), one({ openedAt: now - 5000 }), one({ openedAt: now - 7000 })]
    assert.strictEqual(nextChange(crowd, now, marks), now + 13_000)
    assert.isUndefined(nextChange(crowd.slice(0, 6), now, marks))
    assert.isUndefined(nextChange(many(9, { protected: true }), now, marks))
  })

  const Trim = Schema.Struct({
    id: Schema.Natural,
    direction: Schema.Literals(["inbound", "outbound"]),
    openedAt: Schema.Int.check(Schema.isBetween({ minimum: now - 40_000, maximum: now })),
    streams: Schema.Natural,
    worth: Schema.Int,
    protected: Schema.Boolean
  })
  it.effect.prop(
    "never is a protected one, and never leaves more than the high mark unless only protected ones are left",
    [Schema.Array(Trim).check(Schema.isMaxLength(20))],
    ([connections]) =>
      Effect.sync(() => {
        const chosen = chooseToTrim(connections, now, marks)
        assert.strictEqual(new Set(chosen).size, chosen.length)
        assert.isFalse(chosen.some((each) => each.protected))
        const left = connections.filter((each) => !chosen.includes(each))
        const open = left.filter((each) => !each.protected && now - each.openedAt < marks.graceMs)
        if (left.length > marks.highWater) assert.lengthOf(open, 0)
        if (chosen.length > 0) assert.isAtLeast(left.length, marks.lowWater)
      })
  )
})

describe("leases and pauses", () => {
  it("count who holds a peer", () => {
    const leases = new Leases()
    assert.isTrue(leases.take("a"))
    assert.isFalse(leases.take("a"))
    assert.isFalse(leases.give("a"))
    assert.isTrue(leases.has("a"))
    assert.isTrue(leases.give("a"))
    assert.isFalse(leases.give("a"))
    assert.deepStrictEqual(leases.peers(), [])
  })

  it("double up to the longest, with jitter", () => {
    const pauses = { firstMs: 1000, longestMs: 300_000 }
    assert.deepStrictEqual(
      [1, 2, 3, 9, 10, 1000].map((failures) => pauseMs(failures, pauses, 0)),
      [500, 1000, 2000, 128_000, 150_000, 150_000]
    )
    assert.strictEqual(pauseMs(3, pauses, 0.5), 3000)
  })
})
