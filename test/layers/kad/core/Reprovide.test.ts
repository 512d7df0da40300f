import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { isEnough, Reprovide } from "../../../../src/layers/kad/core/Reprovide.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { chance } from "./model.ts"

const hour = 3_600_000
const prng = new Prng("reprovide")
const self = Key.random(chance(prng))
const key = (i: number) => Bytes.fromUtf8(`key ${i}`)

/** Runs a plan for so long; gives when each key was announced, and how many at each time. */
const run = (plan: Reprovide, from: number, until: number, networkSize: number | undefined) => {
  const times = new Map<string, Array<number>>()
  const batches: Array<{ readonly at: number; readonly count: number }> = []
  for (let at = plan.dueAt; at !== undefined && at < until; at = plan.dueAt) {
    const now = Math.max(at, from)
    const batch = plan.due(now, networkSize)
    assert.isNotEmpty(batch, "what is due is given")
    plan.provided(batch, now, networkSize)
    batches.push({ at: now, count: batch.length })
    for (const { bytes } of batch) {
      const id = Bytes.toHex(bytes)
      times.set(id, [...(times.get(id) ?? []), now])
    }
  }
  return { times, batches }
}

describe("Reprovide", () => {
  it("announces each key at once, then once a cycle, in regions that are spread evenly", () => {
    const plan = new Reprovide({ self })
    const count = 800
    for (let i = 0; i < count; i++) assert.isTrue(plan.add(key(i), 0))
    const { batches, times } = run(plan, 0, 110 * hour, 1_000)
    assert.strictEqual(times.size, count)
    for (const all of times.values()) {
      assert.strictEqual(all[0], 0)
      for (const [i, at] of all.entries()) {
        const gap = at - (all[i - 1] ?? 0)
        if (i > 1) assert.closeTo(gap, 22 * hour, 1)
        assert.isAtMost(gap, 24 * hour, "addresses live for 24 hours")
        if (i > 0) assert.isAtLeast(gap, hour)
      }
    }
    // 1,000 peers are eight regions.
    const cycle = batches.filter(({ at }) => at >= 44 * hour && at < 66 * hour)
    assert.strictEqual(cycle.length, 8)
    for (const [i, { at, count: size }] of cycle.entries()) {
      assert.closeTo(at - (cycle[i - 1]?.at ?? at - 2.75 * hour), 2.75 * hour, 1)
      assert.closeTo(size, count / 8, count / 20)
    }
  })

  it("lets new keys fall in with their region, however they come", () => {
    const plan = new Reprovide({ self })
    let now = 0
    for (let i = 0; i < 500; i++) {
      now += 100_000
      plan.add(key(i), now)
      for (let batch = plan.due(now, 500); batch.length > 0; batch = plan.due(now, 500)) plan.provided(batch, now, 500)
    }
    const { batches, times } = run(plan, now, now + 120 * hour, 500)
    assert.isAtMost(batches.filter(({ at }) => at > now + 44 * hour && at <= now + 66 * hour).length, 4)
    for (const all of times.values()) {
      assert.isAtMost((all[0] ?? 0) - now, 24 * hour)
      for (const [i, at] of all.entries()) assert.isAtMost(at - (all[i - 1] ?? at), 24 * hour)
    }
  })

  it("has one region in a small network, some in one of unknown size, and follows one that grows", () => {
    for (const [size, regions] of [
      [3, 1],
      [100, 1],
      [undefined, 32],
      [20_000, 128]
    ] as const) {
      const plan = new Reprovide({ self })
      for (let i = 0; i < 800; i++) plan.add(key(i), 0)
      run(plan, 0, 30 * hour, size)
      const { batches } = run(plan, 0, 88 * hour, size)
      assert.strictEqual(batches.filter(({ at }) => at >= 44 * hour && at < 66 * hour).length, regions)
    }
    const plan = new Reprovide({ self })
    for (let i = 0; i < 1_000; i++) plan.add(key(i), 0)
    const early = run(plan, 0, 50 * hour, 50).times
    const late = run(plan, 0, 150 * hour, 5_000).times
    for (const [id, times] of late) {
      const all = [...(early.get(id) ?? []), ...times]
      for (const [i, at] of all.entries()) assert.isAtMost(at - (all[i - 1] ?? at), 24 * hour)
    }
  })

  it("gives again after a while what was not announced, and nothing that is provided no more", () => {
    const plan = new Reprovide({ self, maxKeys: 3 })
    for (const i of [1, 2, 3]) assert.isTrue(plan.add(key(i), 0))
    assert.isFalse(plan.add(key(4), 0))
    assert.isTrue(plan.add(key(3), 0))
    const batch = plan.due(0, 3)
    assert.strictEqual(batch.length, 3)
    assert.isEmpty(plan.due(0, 3))
    plan.provided(batch.slice(0, 1), 0, 3)
    assert.isTrue(plan.remove(key(2)))
    assert.isFalse(plan.remove(key(2)))
    plan.provided(batch.slice(1, 2), 0, 3)
    assert.isFalse(plan.has(key(2)))
    assert.strictEqual(plan.dueAt, 600_000)
    assert.deepStrictEqual(
      plan.due(600_000, 3).map(({ bytes }) => Bytes.toUtf8(bytes)),
      ["key 3"]
    )
    assert.deepStrictEqual(plan.keys.map(Bytes.toUtf8), ["key 1", "key 3"])
    assert.strictEqual(plan.size, 2)
  })

  it("waits longer each time that a key cannot be announced, up to an eighth of the cycle, until it can", () => {
    const plan = new Reprovide({ self, cycleMs: 16 * hour })
    plan.add(key(1), 0)
    const pauses: Array<number> = []
    let now = 0
    for (let i = 0; i < 7; i++) {
      assert.lengthOf(plan.due(now, 3), 1)
      const next = plan.dueAt ?? assert.fail("forgotten")
      pauses.push((next - now) / 60_000)
      now = next
    }
    assert.deepStrictEqual(pauses, [10, 20, 40, 80, 120, 120, 120])
    plan.provided(plan.due(now, 3), now, 3)
    now = plan.dueAt ?? assert.fail("forgotten")
    plan.due(now, 3)
    assert.strictEqual((plan.dueAt ?? 0) - now, 600_000)
  })

  it("takes up what was announced before it started: within 24 hours of that, spread, and the overdue at once", () => {
    const plan = new Reprovide({ self })
    for (let i = 0; i < 400; i++) assert.isTrue(plan.restore(key(i), -hour, 0))
    for (let i = 400; i < 410; i++) plan.restore(key(i), -30 * hour, 0)
    plan.restore(key(410), undefined, 0)
    plan.restore(key(411), 50 * hour, 0)
    const { batches, times } = run(plan, 0, 24 * hour, 1_000)
    assert.strictEqual(times.size, 412)
    const first = (i: number) => times.get(Bytes.toHex(key(i)))?.[0] ?? assert.fail("never announced")
    for (let i = 0; i < 400; i++) assert.isAtMost(first(i), 23 * hour)
    for (let i = 400; i < 411; i++) assert.strictEqual(first(i), 0)
    assert.isAtMost(first(411), 24 * hour)
    const early = batches.filter(({ at }) => at < hour / 2).reduce((sum, { count }) => sum + count, 0)
    assert.isBelow(early, 100, "not all at once")
  })

  it("counts a key as announced when half of those who are to hold it were told", () => {
    assert.deepStrictEqual(
      [isEnough(0, 0), isEnough(0, 20), isEnough(9, 20), isEnough(10, 20), isEnough(1, 1), isEnough(2, 5)],
      [false, false, false, true, true, false]
    )
  })

  it("gives no more at once than asked for", () => {
    const plan = new Reprovide({ self })
    for (let i = 0; i < 50; i++) plan.add(key(i), 0)
    const sizes: Array<number> = []
    for (let i = 0; i < 5; i++) sizes.push(plan.due(0, 10, 20).length)
    assert.deepStrictEqual(sizes, [20, 20, 10, 0, 0])
    assert.isUndefined(new Reprovide({ self }).dueAt)
  })
})
