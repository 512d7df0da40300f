import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Preimages } from "../../../../src/layers/kad/core/Preimages.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { chance } from "./model.ts"

const prng = new Prng("preimages")

/** As who asks does it, a few tries at a time. */
const find = (preimages: Preimages, prefix: Key.Key, length: number): Key.Preimage => {
  for (let turns = 0; turns < 100_000; turns++) {
    const found = preimages.find(prefix, length)
    if (found !== undefined) return found
    preimages.advance(32)
  }
  assert.fail("not found")
}

describe("Preimages", () => {
  it("gives bytes that hash to the part asked for, whatever its size", () => {
    const preimages = new Preimages(chance(prng), 12)
    for (let i = 0; i < 300; i++) {
      const prefix = Key.random(chance(prng))
      const length = prng.below(13)
      const { bytes, key } = find(preimages, prefix, length)
      assert.isAtLeast(Key.commonPrefix(prefix, key), length)
      assert.strictEqual(Key.fromBytes(bytes).id, key.id)
      assert.deepStrictEqual([...bytes.subarray(0, 2), bytes.length], [0x12, 32, 34])
    }
    assert.isUndefined(preimages.find(Key.random(chance(prng)), 13))
  })

  it("costs for very many parts what it costs for few: each try serves all", () => {
    const preimages = new Preimages(chance(prng), 10)
    for (let i = 0; i < 5_000; i++) find(preimages, Key.random(chance(prng)), 10)
    // 1,024 parts are all found after some 1,024 × ln(1,024) tries; one by one they would take 5,000 × 1,024.
    assert.isBelow(preimages.tried, 20_000)
  })

  it("is another for each that is made, and gives bytes of their own", () => {
    const [one, other] = [new Preimages(chance(prng), 4), new Preimages(chance(prng), 4)]
    const prefix = Key.random(chance(prng))
    const { bytes } = find(one, prefix, 4)
    assert.notDeepEqual(bytes, find(other, prefix, 4).bytes)
    const before = bytes.slice()
    one.advance(10)
    assert.deepStrictEqual(bytes, before)
  })
})
