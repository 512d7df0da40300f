import { assert, describe, it } from "@effect/vitest"
import { Density, limits } from "../../../../src/layers/kad/core/Density.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Region } from "../../../../src/layers/kad/core/Region.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { among } from "./lookup.ts"
import { chance, contactAt, contacts } from "./model.ts"

const k = 20
const limit = 6 * k

/** A place, honest peers, and a crowd that shares so many bits with it; the region as it is explored. */
const setting = (seed: string, honestCount: number, crowdCount: number, shared: number) => {
  const prng = new Prng(seed)
  const target = Key.random(chance(prng))
  const honest = contacts(prng, honestCount)
  const crowd = Array.from({ length: crowdCount }, () => contactAt(Key.withPrefix(target, shared, chance(prng))))
  const density = new Density(target, honestCount, limits(k))
  const region = new Region(density)
  const all = [...honest, ...crowd]
  let lookups = 0
  region.found(among(target, all, k))
  for (let part = region.next(); part !== undefined; part = region.next()) {
    lookups += 1
    region.found(among(Key.withPrefix(part.key, part.length, chance(prng)), all, k), part)
  }
  const { key, length } = density.region
  const within = honest.filter((one) => Key.commonPrefix(one.key, key) >= length)
  const ids = new Set(crowd.map((one) => one.key.id))
  return { region, density, within, lookups, isCrowd: (one: Key.Contact) => ids.has(one.key.id), prng }
}

/** Lookups that find all of them, some hundred at a time. */
const meet = (region: Region, target: Key.Key, all: ReadonlyArray<Key.Contact>) => {
  for (let i = 0; i < all.length; i += 300) region.found(among(target, all.slice(i, i + 300), 300))
}

/** The part of the honest peers of the region that are among the chosen. */
const shareOf = (within: ReadonlyArray<Key.Contact>, chosen: ReadonlyArray<Key.Contact>) => {
  const ids = new Set(chosen.map(({ key }) => key.id))
  return within.filter(({ key }) => ids.has(key.id)).length / within.length
}

describe("Region", () => {
  it("gets to know nearly all honest peers around a crowd, with a few lookups", () => {
    for (const [honest, crowd] of [
      [30, 25],
      [300, 25],
      [300, 2_000],
      [3_000, 60]
    ] as const) {
      let found = 0
      for (let i = 0; i < 5; i++) {
        const label = `${honest} peers, ${crowd} in the crowd, ${i}`
        const shared = Math.ceil(Math.log2(honest)) + 6
        const { lookups, region, within } = setting(label, honest, crowd, shared)
        assert.isAtMost(lookups, 8, label)
        const chosen = region.chosen(limit, () => undefined)
        assert.isAtMost(chosen.length, limit)
        assert.isAtLeast(shareOf(within, chosen), 0.75, label)
        found += shareOf(within, chosen) / 5
      }
      assert.isAtLeast(found, 0.85, `${honest} peers, ${crowd} in the crowd`)
    }
  })

  it("leaves room for honest peers, however many are in the crowd", () => {
    const { density, prng, within } = setting("room", 500, 0, 0)
    const region = new Region(density)
    const crowd = Array.from({ length: 3_000 }, () =>
      contactAt(Key.withPrefix(density.target, density.region.length + 3, chance(prng)))
    )
    const all = [...within, ...crowd]
    meet(region, density.target, all)
    assert.isAtLeast(region.size, 3_000)
    const chosen = region.chosen(limit, () => undefined)
    assert.lengthOf(chosen, limit)
    const further = within.filter(({ key }) => Key.commonPrefix(key, density.target) < density.region.length + 3)
    assert.strictEqual(shareOf(further, chosen), 1)
  })

  it("has one of each network before the second of any, where a crowd is everywhere", () => {
    const { density, prng, within } = setting("networks", 500, 0, 0)
    const crowd = Array.from({ length: 3_000 }, () =>
      contactAt(Key.withPrefix(density.target, density.region.length, chance(prng)))
    )
    const region = new Region(density)
    const all = [...within, ...crowd]
    meet(region, density.target, all)
    const ids = new Map(crowd.map(({ key }, i) => [key.id, `network ${i % 6}`]))
    const chosen = region.chosen(limit, ({ key }) => ids.get(key.id))
    assert.lengthOf(chosen, limit)
    assert.isAtLeast(shareOf(within, chosen), 0.8)
    // By the distance alone hardly any would be.
    assert.isAtMost(
      shareOf(
        within,
        region.chosen(limit, () => undefined)
      ),
      0.2
    )
  })

  it("ends where nobody answers, and asks for no part twice", () => {
    const target = Key.random(chance(new Prng("silent")))
    const region = new Region(new Density(target, 1_000, limits(k)))
    const parts = new Set<string>()
    for (let part = region.next(); part !== undefined; part = region.next()) {
      parts.add(`${Key.toHex(part.key)}/${part.length}`)
      region.found(among(part.key, [], k), part)
    }
    assert.isAtMost(parts.size, 8)
    assert.isEmpty(region.chosen(limit, () => undefined))
  })
})
