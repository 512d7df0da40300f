import { assert, describe, it } from "@effect/vitest"
import { Density, limits } from "../../../../src/layers/kad/core/Density.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import * as NetworkSize from "../../../../src/layers/kad/core/NetworkSize.ts"
import { isUsable, OptimisticProvide } from "../../../../src/layers/kad/core/OptimisticProvide.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { run } from "./lookup.ts"
import { chance, contact, contactAt, Network, trueClosest } from "./model.ts"

const k = 20

/** An estimate as lookups of this network give it. */
const estimateOf = (network: Network, prng: Prng, lookups: number): NetworkSize.Estimate => {
  const size = new NetworkSize.NetworkSize({ k })
  for (let i = 0; i < lookups; i++) size.add(lookup(network, prng, Key.random(chance(prng))).finished, 0)
  return size.estimate(0) ?? assert.fail("no estimate")
}

const lookup = (network: Network, prng: Prng, target: Key.Key, stopWhen?: Parameters<typeof run>[2]) => {
  const self = contact(prng)
  const seeds = Key.closest(target, network.table(self.key), k)
  return run(
    { target, self: self.key, seeds, k },
    (peer) => ({ afterMs: 20 + prng.below(180), closer: network.answer(peer.key, target) }),
    stopWhen
  )
}

/** Announces a key; gives whom it told, when it answers, when each is told 100 ms after it is given, and what it cost. */
const announce = (network: Network, prng: Prng, target: Key.Key, estimate: NetworkSize.Estimate) => {
  const pace = new OptimisticProvide({ target, estimate, k })
  const told = new Map<string, { readonly contact: Key.Contact; readonly at: number }>()
  const give = (all: ReadonlyArray<Key.Contact>, now: number) => {
    for (const one of all) told.set(one.key.id, { contact: one, at: now + 100 })
  }
  let nearest: ReadonlyArray<Key.Contact> = []
  const looked = lookup(network, prng, target, (_, query, now) => {
    nearest = query.nearest()
    const { stop, tell } = pace.step(nearest)
    give(tell, now)
    return stop
  })
  give(pace.finish(nearest), looked.endedAt)
  const inTime = [...told.values()].toSorted((a, b) => a.at - b.at)
  let answeredAt = 0
  for (const { at, contact: one } of inTime) {
    if (pace.state === "enough") break
    pace.settled(one, true)
    answeredAt = at
  }
  assert.strictEqual(pace.state, "enough")
  return {
    told: inTime.map(({ contact: one }) => one),
    ms: Math.max(answeredAt, looked.endedAt),
    asked: looked.asked.length,
    hops: looked.finished.progress.hops
  }
}

describe("OptimisticProvide", () => {
  it("asks fewer and answers sooner than a whole lookup, and tells those who will be asked", () => {
    const prng = new Prng("optimistic")
    const network = new Network(prng, 2_000, k)
    const estimate = estimateOf(network, prng, 40)
    const sums = { classic: { ms: 0, asked: 0, hops: 0 }, optimistic: { ms: 0, asked: 0, hops: 0 } }
    const rounds = 40
    let closest = 0
    for (let i = 0; i < rounds; i++) {
      const target = Key.random(chance(prng))
      const { asked, endedAt, finished } = lookup(network, prng, target)
      sums.classic.asked += asked.length
      sums.classic.ms += endedAt + 100
      sums.classic.hops += finished.progress.hops
      const early = announce(network, prng, target, estimate)
      sums.optimistic.asked += early.asked
      sums.optimistic.ms += early.ms
      sums.optimistic.hops += early.hops
      const told = new Set(early.told.map(({ key }) => key.id))
      assert.isAtMost(told.size, 2 * k)
      const holding = trueClosest(target, network.peers, k).filter(({ key }) => told.has(key.id)).length
      closest += holding
      // Who looks for it asks all of the closest: one that holds it is enough.
      assert.isAtLeast(holding, k / 2)
    }
    assert.isAbove(closest / rounds / k, 0.85)
    assert.isBelow(sums.optimistic.asked, 0.6 * sums.classic.asked)
    assert.isBelow(sums.optimistic.ms, 0.75 * sums.classic.ms)
    assert.isAtMost(sums.optimistic.hops, sums.classic.hops)
  })

  it("counts only those that were reached, each once, and says when there are too few", () => {
    const prng = new Prng("optimistic few")
    const target = Key.random(chance(prng))
    const near = Array.from({ length: 8 }, () => contactAt(Key.inBucket(target, 40, chance(prng))))
    const pace = new OptimisticProvide({ target, estimate: { size: 500, low: 400, high: 600, lookups: 9 }, k: 8 })
    const { stop, tell } = pace.step(near)
    assert.deepStrictEqual([tell.length, stop], [8, true])
    assert.isEmpty(pace.step(near).tell)
    assert.isEmpty(pace.finish(near))
    assert.strictEqual(pace.state, "open")
    for (const one of near.slice(0, 5)) pace.settled(one, true)
    for (const one of near.slice(0, 5)) pace.settled(one, true)
    assert.deepStrictEqual([pace.state, pace.reached, pace.open], ["open", 5, 3])
    for (const one of near.slice(5)) pace.settled(one, false)
    assert.strictEqual(pace.state, "short")
  })

  it("tells no more than twice as many as it should, whoever is invented on the way", () => {
    const prng = new Prng("optimistic liars")
    const target = Key.random(chance(prng))
    const pace = new OptimisticProvide({ target, estimate: { size: 500, low: 400, high: 600, lookups: 9 }, k: 8 })
    let told = 0
    for (let i = 0; i < 50; i++) {
      const { tell } = pace.step(Array.from({ length: 8 }, () => contactAt(Key.inBucket(target, 60, chance(prng)))))
      told += tell.length
      for (const one of tell) pace.settled(one, false)
    }
    assert.strictEqual(told, 16)
  })

  it("tells nobody of a crowd, and leaves it to the classic way as soon as those who are told have answered", () => {
    const prng = new Prng("optimistic crowd")
    const target = Key.random(chance(prng))
    const estimate = { size: 500, low: 400, high: 600, lookups: 9 }
    const density = new Density(target, 500, limits(8))
    const honest = Array.from({ length: 500 }, () => contactAt(Key.random(chance(prng))))
    const crowd = Array.from({ length: 8 }, () => contactAt(Key.inBucket(target, 60, chance(prng))))
    const pace = new OptimisticProvide({ target, estimate, k: 8, density })
    assert.isEmpty(pace.step(Key.closest(target, honest.slice(0, 50), 8)).tell)
    const { tell } = pace.step(Key.closest(target, honest, 8))
    assert.isNotEmpty(tell)
    assert.deepStrictEqual(pace.step(crowd), { tell: [], stop: true })
    assert.isEmpty(pace.finish(crowd))
    assert.strictEqual(pace.state, "open")
    for (const one of tell) pace.settled(one, true)
    assert.strictEqual(pace.state, "short")
    // On several paths, of which one leads to the crowd, those of the others are told.
    const spread = new OptimisticProvide({ target, estimate, k: 8, density })
    const mixed = Key.closest(target, [...crowd.slice(0, 2), ...Key.closest(target, honest, 6)], 8)
    assert.isAtLeast(spread.step(mixed).tell.length, 6)
  })

  it("does not stop while fewer are known than should hold it, however close they are", () => {
    const prng = new Prng("optimistic sparse")
    const target = Key.random(chance(prng))
    const pace = new OptimisticProvide({ target, estimate: { size: 500, low: 400, high: 600, lookups: 9 }, k: 8 })
    const near = Array.from({ length: 7 }, () => contactAt(Key.inBucket(target, 60, chance(prng))))
    assert.isFalse(pace.step(near).stop)
  })

  it("is not used without an estimate, with one that may be far off, or among few", () => {
    const of = (low: number, high: number) => ({ size: (low + high) / 2, low, high, lookups: 9 })
    assert.deepStrictEqual(
      [undefined, of(900, 1_100), of(500, 1_001), of(39, 39), of(40, 40)].map((estimate) => isUsable(estimate)),
      [false, true, false, false, true]
    )
  })
})
