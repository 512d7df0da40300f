import { assert, describe, it } from "@effect/vitest"
import { Coverage } from "../../../../src/layers/kad/core/Coverage.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import type * as Query from "../../../../src/layers/kad/core/Query.ts"
import { type Item, type Step, Sweep } from "../../../../src/layers/kad/core/Sweep.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { among, run } from "./lookup.ts"
import { chance, contact, contactAt, contacts, Network, trueClosest } from "./model.ts"

const items = (prng: Prng, count: number) => Array.from({ length: count }, () => ({ key: Key.random(chance(prng)) }))

const placeOf = (step: Step<Item>, prng: Prng): Key.Key =>
  step._tag === "Item" ? step.item.key : Key.withPrefix(step.part.key, step.part.length, chance(prng))

const sweepAll = <A extends Item>(
  keys: ReadonlyArray<A>,
  prng: Prng,
  k: number,
  find: (target: Key.Key) => Query.Finished | undefined
) => {
  const sweep = new Sweep(keys, k)
  for (let step = sweep.next(); step !== undefined; step = sweep.next()) {
    const finished = find(placeOf(step, prng))
    if (finished === undefined) sweep.failed()
    else sweep.found(finished)
  }
  return sweep
}

/** Who holds a key, by the text of its place. */
const holdersOf = (sweep: Sweep<Item>) => {
  const holders = new Map<string, Array<Key.Contact>>()
  for (const { contact, items } of sweep.holders) {
    for (const { key } of items) holders.set(key.id, [...(holders.get(key.id) ?? []), contact])
  }
  return holders
}

/** One text for a set of peers. */
const sorted = (list: ReadonlyArray<Key.Contact>) =>
  list
    .map(({ key }) => key.id)
    .toSorted()
    .join()

describe("Sweep", () => {
  it("brings 10,000 keys to their closest 20 of 1,000 peers with a lookup for each hundred", () => {
    const prng = new Prng("sweep")
    const all = contacts(prng, 1_000)
    const keys = items(prng, 10_000)
    const sweep = sweepAll(keys, prng, 20, (target) => among(target, all, 20))
    assert.isAtMost(sweep.lookups, 100)
    const holders = holdersOf(sweep)
    for (let first = 0; first < 8; first++) {
      const near = ({ key }: Item) => (key.words[0] ?? 0) >>> 29 === first
      // More than 20: the closest to a key that begins with the same bits are among them.
      const peers = all.filter(near)
      assert.isAtLeast(peers.length, 20)
      for (const { key } of keys.filter(near)) {
        assert.strictEqual(sorted(holders.get(key.id) ?? []), sorted(Key.closest(key, peers, 20)))
      }
    }
    assert.strictEqual(holders.size, 10_000)
    assert.isEmpty(sweep.missed)
  })

  it("is exact for any number of keys and peers, and looks up at most twice as often as there are keys", () => {
    const prng = new Prng("sizes")
    for (const peers of [0, 1, 3, 4, 5, 150]) {
      for (const count of [0, 1, 2, 7, 200]) {
        const all = contacts(prng, peers)
        const keys = items(prng, count)
        const sweep = sweepAll(keys, prng, 4, (target) => among(target, all, 4))
        const label = `${count} keys, ${peers} peers`
        assert.isAtMost(sweep.lookups, 2 * count, label)
        if (peers > 0 && peers < 4) assert.isAtMost(sweep.lookups, 1, label)
        const holders = holdersOf(sweep)
        for (const { key } of keys) {
          assert.strictEqual(sorted(holders.get(key.id) ?? []), sorted(trueClosest(key, all, 4)), label)
        }
        assert.strictEqual(sweep.missed.length, peers === 0 ? count : 0, label)
      }
    }
  })

  it("works by real lookups in a network", () => {
    const prng = new Prng("sweep network")
    const network = new Network(prng, 300)
    const self = contact(prng)
    const keys = items(prng, 1_000)
    const sweep = sweepAll(keys, prng, 20, (target) => {
      const seeds = network.answer(self.key, target)
      return run({ target, self: self.key, seeds }, ({ key }) => ({
        afterMs: 10 + prng.below(50),
        closer: network.answer(key, target)
      })).finished
    })
    const holders = holdersOf(sweep)
    for (const { key } of keys) {
      assert.strictEqual(sorted(holders.get(key.id) ?? []), sorted(Key.closest(key, network.peers, 20)))
    }
    assert.isAtMost(sweep.lookups, 40)
  })

  it("looks up keys one by one where exploring fails, and says which were missed", () => {
    const prng = new Prng("sweep fails")
    const all = contacts(prng, 200)
    const keys = items(prng, 300)
    const own = new Set(keys.map(({ key }) => key.id))
    const alone = sweepAll(keys, prng, 20, (target) => (own.has(target.id) ? among(target, all, 20) : undefined))
    assert.isEmpty(alone.missed)
    const holders = holdersOf(alone)
    assert.isTrue(keys.every(({ key }) => holders.get(key.id)?.length === 20))
    const flaky = sweepAll(keys, prng, 20, (target) => (prng.chance(0.5) ? among(target, all, 20) : undefined))
    assert.isNotEmpty(flaky.missed)
    assert.strictEqual(holdersOf(flaky).size + flaky.missed.length, keys.length)
  })

  it("brings keys to the closest of each path in turn, looked up or not", () => {
    const prng = new Prng("sweep paths")
    const network = new Network(prng, 300)
    const self = contact(prng)
    const keys = items(prng, 300)
    const liars = contacts(prng, 2)
    // Who is asked first on a path, once in a while, names only peers that it has made to be closest.
    const sweep = sweepAll(keys, prng, 20, (target) => {
      const crowd = Array.from({ length: 20 }, () => contactAt(Key.inBucket(target, 60, chance(prng))))
      const seeds = [...liars, ...network.answer(self.key, target)]
      const lies = new Set([...liars, ...crowd].map(({ key }) => key.id))
      return run({ target, self: self.key, seeds, paths: 8 }, ({ key }) => ({
        afterMs: 10 + prng.below(50),
        closer: lies.has(key.id) ? crowd : network.answer(key, target)
      })).finished
    })
    const honest = new Set(network.peers.map(({ key }) => key.id))
    const holders = holdersOf(sweep)
    const counts = keys.map(({ key }) => (holders.get(key.id) ?? []).filter((one) => honest.has(one.key.id)).length)
    assert.isAbove(counts.reduce((sum, count) => sum + count, 0) / counts.length, 10)
    assert.isAbove(Math.min(...counts), 0)
  })

  it("brings all that belongs to a crowded region to everybody in it, with one question", () => {
    const prng = new Prng("sweep crowd")
    const all = contacts(prng, 500)
    const place = Key.random(chance(prng))
    const crowd = Array.from({ length: 40 }, () => contactAt(Key.inBucket(place, 40, chance(prng))))
    const region = { key: place, length: 4 }
    const within = all.filter(({ key }) => Key.commonPrefix(key, place) >= region.length)
    // In the crowd's midst, beside it, and elsewhere.
    const keys = [
      ...Array.from({ length: 10 }, () => ({ key: Key.inBucket(place, 39, chance(prng)) })),
      ...Array.from({ length: 10 }, () => ({ key: Key.withPrefix(place, 5, chance(prng)) })),
      ...Array.from({ length: 10 }, () => ({ key: Key.inBucket(place, 0, chance(prng)) }))
    ]
    const isCrowded = (key: Key.Key) => Key.commonPrefix(key, place) >= 20
    const sweep = new Sweep(keys, 20, isCrowded)
    let questions = 0
    for (let step = sweep.next(); step !== undefined; step = sweep.next()) {
      const finished = among(placeOf(step, prng), [...all, ...crowd], 20)
      const crowded = step._tag === "Item" && isCrowded(step.item.key)
      if (crowded) questions += 1
      sweep.found(finished, crowded ? { holders: within, region } : finished)
    }
    assert.isAtMost(questions, 1)
    const holders = holdersOf(sweep)
    for (const { key } of keys.slice(0, 10)) assert.strictEqual(sorted(holders.get(key.id) ?? []), sorted(within))
    for (const { key } of keys.slice(20)) {
      assert.strictEqual(sorted(holders.get(key.id) ?? []), sorted(trueClosest(key, all, 20)))
    }
  })

  it("ends against peers that are all around whatever is asked for", () => {
    const prng = new Prng("sweep lies")
    const keys = items(prng, 200)
    const sweep = sweepAll(keys, prng, 4, (target) =>
      among(
        target,
        Array.from({ length: 4 }, () => contactAt(Key.inBucket(target, 200, chance(prng)))),
        4
      )
    )
    assert.isAtMost(sweep.lookups, 400)
    assert.strictEqual(holdersOf(sweep).size, 200)
  })
})

/** The place that is furthest away of those that share so many bits. */
const furthest = (key: Key.Key, shared: number): Key.Key =>
  Key.fromDigest(Key.toBytes(key).map((byte, i) => byte ^ (0xff >> Math.min(8, Math.max(0, shared - 8 * i)))))

describe("Coverage", () => {
  it("knows exactly what was within the distance of one of the lookups", () => {
    for (let round = 0; round < 10; round++) {
      const prng = new Prng(`coverage ${round}`)
      const all = contacts(prng, 60)
      const coverage = new Coverage()
      const known = new Set<string>()
      for (let i = 0; i < prng.below(8); i++) {
        const target = Key.random(chance(prng))
        const closest = Key.closest(target, all, 5)
        for (const { key } of closest) known.add(key.id)
        coverage.add(target, closest[4]?.key ?? assert.fail())
      }
      for (let i = 0; i < 100; i++) {
        const center = Key.random(chance(prng))
        const last = Key.inBucket(center, prng.below(8), chance(prng))
        if (!coverage.has(center, last)) continue
        const within = all.filter(({ key }) => Key.compare(center, key, last) <= 0)
        assert.isTrue(within.every(({ key }) => known.has(key.id)))
      }
      const whole = { key: Key.random(chance(prng)), length: 0 }
      for (let gap = coverage.gap(whole); gap !== undefined; gap = coverage.gap(whole)) {
        assert.isFalse(coverage.has(gap.key, Key.flip(gap.key, gap.length)))
        coverage.add(gap.key, furthest(gap.key, gap.length))
      }
      assert.isTrue(coverage.complete)
    }
  })
})
