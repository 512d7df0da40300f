import { assert, describe, it } from "@effect/vitest"
import { Density, limits } from "../../../../src/layers/kad/core/Density.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { NetworkSize } from "../../../../src/layers/kad/core/NetworkSize.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { among } from "./lookup.ts"
import { chance, contactAt } from "./model.ts"

/** Peers at places by chance, without the cost of hashing. */
const peers = (prng: Prng, count: number) => Array.from({ length: count }, () => contactAt(Key.random(chance(prng))))

/** Peers that are closer to a place than anybody: at most so far from it, as a part of the key space. */
const crowd = (prng: Prng, target: Key.Key, count: number, within: number) => {
  const bits = Math.ceil(-Math.log2(within))
  return Array.from({ length: count }, () => contactAt(Key.withPrefix(target, bits, chance(prng))))
}

/** How often the places of honest networks are taken for crowded, by the size that `sizeOf` gives. */
const falseAlarms = (
  prng: Prng,
  count: number,
  k: number,
  sizeOf: (all: ReadonlyArray<Key.Contact>) => (target: Key.Key) => number
) => {
  const networks = count > 1_000 ? 2 : 8
  const places = 60
  const all = limits(k)
  let alarms = 0
  for (let i = 0; i < networks; i++) {
    const there = peers(prng, count)
    const size = sizeOf(there)
    for (let j = 0; j < places; j++) {
      const target = Key.random(chance(prng))
      if (new Density(target, size(target), all).isCrowded(Key.closest(target, there, k))) alarms += 1
    }
  }
  return alarms / (networks * places)
}

/** What a node goes by that has looked up so many places, and knows who is around it. */
const measured = (prng: Prng, k: number, lookups: number) => (all: ReadonlyArray<Key.Contact>) => {
  const size = new NetworkSize({ k })
  for (let i = 0; i < lookups; i++) size.add(among(Key.random(chance(prng)), all, k), 0)
  const self = Key.random(chance(prng))
  const neighbours = { self, closest: Key.closest(self, all, k) }
  const sizeAt = size.cautious(0, neighbours)
  return (target: Key.Key) => sizeAt(target) ?? assert.fail("there is something to go by")
}

describe("Density", () => {
  const timeout = 120_000
  it(
    "takes chance for a crowd once in a hundred times where the size is known, and seldom where it is estimated",
    { timeout },
    () => {
      // One node may have sparse neighbours, and then be wrong again and again.
      const shorts: Array<number> = []
      for (const k of [8, 20]) {
        for (const count of [k, 100, 1_000, 10_000]) {
          const prng = new Prng(`density ${k} ${count}`)
          const label = `${count} peers, k = ${k}`
          const known = falseAlarms(prng, count, k, () => () => count)
          const long = falseAlarms(prng, count, k, measured(prng, k, 20))
          const short = falseAlarms(prng, count, k, measured(prng, k, 0))
          assert.isAtMost(known, 0.03, label)
          assert.isAtMost(long, 0.03, `${label}, 20 lookups`)
          shorts.push(short)
        }
      }
      assert.isAtMost(shorts.reduce((sum, one) => sum + one, 0) / shorts.length, 0.05, "by the own neighbours")
    }
  )

  it("finds crowds that are all of the closest, by what a node of the network knows", () => {
    for (const [k, least] of [
      [8, 0.8],
      [20, 0.99]
    ] as const) {
      for (const count of [100, 1_000, 5_000]) {
        const prng = new Prng(`crowds ${k} ${count}`)
        const rounds = 100
        let found = 0
        const honest = peers(prng, count)
        const size = measured(prng, k, 20)(honest)
        for (let i = 0; i < rounds; i++) {
          const target = Key.random(chance(prng))
          const [first] = Key.closest(target, honest, 1)
          const all = [...honest, ...crowd(prng, target, k, Key.distance(target, first?.key ?? target))]
          if (new Density(target, size(target), limits(k)).isCrowded(Key.closest(target, all, k))) found += 1
        }
        assert.isAtLeast(found / rounds, least, `${count} peers, k = ${k}`)
      }
    }
  })

  it("says nothing of fewer than are looked for, and finds half a crowd", () => {
    const prng = new Prng("density half")
    const honest = peers(prng, 1_000)
    const target = Key.random(chance(prng))
    const density = new Density(target, 1_000, limits(20))
    const near = crowd(prng, target, 12, 1 / 1_000_000)
    assert.isFalse(density.isCrowded(near))
    assert.isTrue(density.isCrowded(Key.closest(target, [...near, ...honest], 20)))
  })

  it("has as many honest peers in its region as should hold a record, or up to twice as many", () => {
    const prng = new Prng("region")
    for (const count of [10, 100, 5_000]) {
      let sum = 0
      const rounds = 20
      for (let i = 0; i < rounds; i++) {
        const { key, length } = new Density(Key.random(chance(prng)), count, limits(20)).region
        sum += peers(prng, count).filter((one) => Key.commonPrefix(one.key, key) >= length).length
      }
      assert.isAtLeast(sum / rounds, Math.min(count, 18))
      assert.isAtMost(sum / rounds, 44)
    }
  })
})
