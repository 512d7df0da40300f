import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import * as NetworkSize from "../../../../src/layers/kad/core/NetworkSize.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { run } from "./lookup.ts"
import { chance, contactAt } from "./model.ts"

const hour = 3_600_000

/** Peers at places by chance, without the cost of hashing. */
const peers = (prng: Prng, count: number) => Array.from({ length: count }, () => contactAt(Key.random(chance(prng))))

/** A lookup that finds these; with fewer than `k` it ends for want of peers. */
const lookup = (target: Key.Key, found: ReadonlyArray<Key.Contact>, stop = false) =>
  run(
    { target, self: target, seeds: found, alpha: 20 },
    () => ({ afterMs: 1, closer: [] }),
    () => stop
  ).finished

const measure = (prng: Prng, all: ReadonlyArray<Key.Contact>, lookups: number, now = 0) => {
  const size = new NetworkSize.NetworkSize()
  for (let i = 0; i < lookups; i++) {
    const target = Key.random(chance(prng))
    size.add(lookup(target, Key.closest(target, all, 20)), now)
  }
  return size
}

describe("NetworkSize", () => {
  it("is within 15 % after forty lookups, and mostly within its own bounds", () => {
    for (const count of [100, 1_000, 10_000]) {
      let within = 0
      for (let round = 0; round < 5; round++) {
        const prng = new Prng(`size ${count} ${round}`)
        const estimate = measure(prng, peers(prng, count), 40).estimate(0) ?? assert.fail("no estimate")
        assert.closeTo(estimate.size / count, 1, 0.15, `${count}: ${estimate.size}`)
        assert.isBelow(estimate.low, estimate.size)
        assert.isAbove(estimate.high, estimate.size)
        assert.strictEqual(estimate.lookups, 40)
        if (estimate.low <= count && count <= estimate.high) within += 1
      }
      assert.isAtLeast(within, 4)
    }
  })

  it("stands some lookups that liars made", () => {
    const prng = new Prng("size liars")
    const all = peers(prng, 1_000)
    const size = measure(prng, all, 37)
    for (let i = 0; i < 3; i++) {
      const target = Key.random(chance(prng))
      const invented = Array.from({ length: 20 }, () => contactAt(Key.inBucket(target, 100, chance(prng))))
      size.add(lookup(target, invented), 0)
    }
    assert.closeTo((size.estimate(0)?.size ?? 0) / 1_000, 1, 0.2)
  })

  it("says nothing with too little to go by, of late, or of other than whole lookups", () => {
    const prng = new Prng("size little")
    const all = peers(prng, 500)
    assert.isUndefined(measure(prng, all, 4).estimate(0))
    const size = measure(prng, all, 6, hour)
    assert.isDefined(size.estimate(2.9 * hour))
    assert.isUndefined(size.estimate(3 * hour))
    const target = Key.random(chance(prng))
    const again = new NetworkSize.NetworkSize()
    for (let i = 0; i < 10; i++) again.add(lookup(target, Key.closest(target, all, 20)), 0)
    assert.isUndefined(again.estimate(0), "ten times the same peers")
    const stopped = new NetworkSize.NetworkSize()
    for (let i = 0; i < 10; i++) {
      const place = Key.random(chance(prng))
      stopped.add(lookup(place, Key.closest(place, all, 20), true), 0)
    }
    assert.isUndefined(stopped.estimate(0))
  })

  it("counts a network that is smaller than a lookup", () => {
    const prng = new Prng("size small")
    const size = measure(prng, peers(prng, 7), 1)
    assert.deepStrictEqual(size.estimate(0), { size: 8, low: 8, high: 8, lookups: 1 })
    const target = Key.random(chance(prng))
    size.add(lookup(target, Key.closest(target, peers(prng, 100), 20)), 0)
    assert.isUndefined(size.estimate(0), "it has grown")
    const some = run({ target, self: target, seeds: peers(prng, 10) }, ({ key }) => ({
      afterMs: 1,
      closer: (key.words[0] ?? 0) >>> 30 === 0 ? [] : "fails"
    })).finished
    size.add(some, 0)
    assert.isUndefined(size.estimate(0), "most did not answer: there may be more")
  })

  it("is cautious about being made larger: by lookups that are led astray, and by a crowd at the place or around this node", () => {
    const prng = new Prng("cautious")
    const count = 1_000
    const all = peers(prng, count)
    const self = Key.random(chance(prng))
    const neighbours = { self, closest: Key.closest(self, all, 20) }
    const target = Key.flip(self, 0)
    const dense = (size: NetworkSize.NetworkSize, lookups: number, near?: Key.Key) => {
      for (let i = 0; i < lookups; i++) {
        const place = Key.withPrefix(near, near === undefined ? 0 : 5, chance(prng))
        const invented = Array.from({ length: 20 }, () => contactAt(Key.inBucket(place, 40, chance(prng))))
        size.add(lookup(place, invented), 0)
      }
      return size
    }
    const honest = measure(prng, all, 60)
    assert.closeTo((honest.cautious(0, neighbours)(target) ?? 0) / count, 1, 0.3)
    assert.closeTo((honest.cautious(0, undefined)(target) ?? 0) / count, 1, 0.3)
    // All that was looked up near the place.
    const there = dense(measure(prng, all, 40), 100, target).cautious(0, undefined)(target) ?? 0
    assert.closeTo(there / count, 1, 0.3)
    // Half of all lookups.
    const half = measure(prng, all, 0)
    for (let i = 0; i < 20; i++) {
      const place = Key.random(chance(prng))
      half.add(lookup(place, Key.closest(place, all, 20)), 0)
      dense(half, 1)
    }
    assert.isAtMost(half.cautious(0, undefined)(target) ?? 0, 2 * count)
    // All of them: not more than twice what is seen around this node.
    assert.isAtMost(dense(measure(prng, all, 0), 30).cautious(0, neighbours)(target) ?? 0, 4 * count)
    // What is around this node counts for a place beside it only where there is nothing else.
    const crowd = Array.from({ length: 20 }, () => contactAt(Key.inBucket(self, 40, chance(prng))))
    const crowded = { self, closest: Key.closest(self, [...all, ...crowd], 20) }
    assert.closeTo((honest.cautious(0, crowded)(self) ?? 0) / count, 1, 0.3)
    assert.closeTo((measure(prng, all, 0).cautious(0, neighbours)(self) ?? 0) / count, 1, 0.5)
    assert.isUndefined(measure(prng, all, 4).cautious(0, undefined)(target))
  })

  it("gives thresholds that hold for the closest peers of a network", () => {
    const prng = new Prng("thresholds")
    const count = 2_000
    const all = peers(prng, count)
    const { peer, set } = NetworkSize.thresholds(count)
    let last = 0
    let mean = 0
    const rounds = 400
    for (let i = 0; i < rounds; i++) {
      const target = Key.random(chance(prng))
      const distances = Key.closest(target, all, 20).map(({ key }) => Key.distance(target, key))
      if ((distances[19] ?? 0) >= peer) last += 1
      if (distances.reduce((sum, one) => sum + one, 0) / 20 < set) mean += 1
    }
    assert.closeTo(last / rounds, 0.9, 0.06)
    assert.isAbove(mean / rounds, 0.85)
  })
})
