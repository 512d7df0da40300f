import { assert, describe, it } from "@effect/vitest"
import { Checks } from "../../../../src/layers/kad/core/Checks.ts"
import type * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { contacts } from "./model.ts"

const all = contacts(new Prng("checks"), 40)
const at = (index: number): Key.Contact => all[index] ?? assert.fail("no such contact")
const any = () => true

describe("Checks", () => {
  it("asks few at once, each once, and those that wait in the order in which they came", () => {
    const checks = new Checks({ atOnce: 2, waiting: 2 })
    assert.deepStrictEqual(
      [0, 0, 1, 2, 3, 4].map((i) => checks.begin(at(i))),
      [true, false, true, false, false, false]
    )
    assert.deepStrictEqual([checks.size, checks.room], [2, 0])
    assert.strictEqual(checks.done(at(0), any), at(2))
    assert.isTrue(checks.begin(at(2)))
    assert.strictEqual(checks.done(at(1), any), at(3))
    assert.isUndefined(checks.done(at(2), any), "the fifth found no room to wait")
    assert.strictEqual(checks.room, 2)
  })

  it("passes over those that are not wanted any more", () => {
    const checks = new Checks({ atOnce: 1, waiting: 9 })
    for (const i of [0, 1, 2, 3]) checks.begin(at(i))
    assert.strictEqual(
      checks.done(at(0), (next) => next === at(3)),
      at(3)
    )
    assert.isUndefined(checks.done(at(3), any))
  })

  it("never asks more, or has more wait, than it may, and comes to all that wait", () => {
    for (let seed = 0; seed < 20; seed++) {
      const prng = new Prng(`checks ${seed}`)
      const checks = new Checks({ atOnce: 3, waiting: 5 })
      const asked: Array<Key.Contact> = []
      const begin = (contact: Key.Contact) => {
        if (!checks.begin(contact)) return
        assert.notInclude(asked, contact)
        asked.push(contact)
      }
      for (let step = 0; step < 200; step++) {
        const done = prng.chance(0.4) ? asked.shift() : undefined
        const next = done === undefined ? at(prng.below(all.length)) : checks.done(done, any)
        if (next !== undefined) begin(next)
        assert.strictEqual(checks.size, asked.length)
        assert.isAtMost(asked.length, 3)
      }
      let drained = 0
      for (let done = asked.shift(); done !== undefined; done = asked.shift(), drained++) {
        const next = checks.done(done, any)
        if (next !== undefined) begin(next)
      }
      assert.isAtMost(drained, 3 + 5)
      assert.strictEqual(checks.size, 0)
    }
  })
})
