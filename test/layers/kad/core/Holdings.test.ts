import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { Holdings } from "../../../../src/layers/kad/core/Holdings.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { chance } from "./model.ts"

const self = Key.random(chance(new Prng("holdings")))
const key = (i: number) => Bytes.fromUtf8(`/v/${i}`)
const from = (i: number, group = `g${i}`) => ({ peer: `p${i}`, group })
const texts = (keys: ReadonlyArray<Uint8Array>) => keys.map((one) => Bytes.toUtf8(one))

describe("Holdings", () => {
  it("lets one peer, one network and many of both take their shares and nobody's own", () => {
    const holdings = new Holdings(self, { records: 160, bytes: 160_000 })
    const gone = new Set<string>()
    const offer = (i: number, who: { readonly peer: string; readonly group: string }, size = 100) => {
      const { dropped, refused } = holdings.offer(key(i), size, who, 0, 1_000)
      for (const text of texts(dropped)) gone.add(text)
      return refused
    }
    for (let i = 0; i < 5; i++) holdings.own(key(i), 1_000)
    for (let i = 5; i < 20; i++) assert.isUndefined(offer(i, from(i)))
    // Own ones are counted for nobody.
    for (let i = 0; i < 5; i++) assert.isUndefined(offer(i, from(99)))
    assert.strictEqual(holdings.counts.held, 15)
    for (let i = 0; i < 500; i++) offer(1_000 + i, from(100))
    assert.strictEqual(holdings.counts.held, 15 + 10)
    for (let i = 0; i < 5_000; i++) offer(10_000 + i, from(200 + (i % 50), "flood"))
    assert.isAtMost(holdings.counts.held, 15 + 10 + 40)
    for (let i = 0; i < 5_000; i++) offer(20_000 + i, from(300 + (i % 200)))
    assert.isAtMost(holdings.counts.held, 160)
    // One a peer is the most that hundreds can have, and the honest have no more.
    for (let i = 0; i < 20; i++) assert.isFalse(gone.has(`/v/${i}`), `/v/${i}`)
    assert.isAbove(holdings.counts.refused.peer, 400)
    assert.isAbove(holdings.counts.refused.group, 4_000)
    assert.isAtMost(holdings.counts.fill, 1)
    // A large one weighs as many as it takes the bytes of.
    assert.strictEqual(offer(30_000, from(400), 20_000), "peer")
  })

  it("does not let who brings a record again take it over, and have it dropped with its own", () => {
    const holdings = new Holdings(self, { records: 32 })
    holdings.offer(key(1), 10, from(1), 0, 1_000)
    const dropped: Array<string> = []
    for (const i of [1, ...Array.from({ length: 400 }, (_, n) => 100 + n)]) {
      dropped.push(...texts(holdings.offer(key(i), 10, from(2), 0, 1_000).dropped))
    }
    assert.notInclude(dropped, "/v/1")
  })

  it("weighs a record anew that is brought again, within the share of who brought it first", () => {
    // A peer may have 10 records, or as many bytes as ten of them.
    const holdings = new Holdings(self, { records: 160, bytes: 160_000 })
    for (let i = 0; i < 5; i++) assert.isUndefined(holdings.offer(key(i), 100, from(1), 0, 1_000).refused)
    assert.strictEqual(holdings.counts.fill, 5 / 160)
    // By whomever.
    assert.isUndefined(holdings.offer(key(0), 5_500, from(2), 0, 1_000).refused)
    assert.strictEqual(holdings.counts.fill, 10 / 160)
    for (const i of [0, 1]) {
      const { dropped, refused } = holdings.offer(key(i), 6_500, from(2), 0, 1_000)
      assert.deepStrictEqual([refused, dropped.length], ["peer", 0])
    }
    assert.strictEqual(holdings.counts.fill, 10 / 160)
    // Smaller again, there is room for another; and what the store did not take weighs what it did.
    const { undo } = holdings.offer(key(0), 100, from(1), 0, 1_000)
    assert.strictEqual(holdings.counts.fill, 5 / 160)
    undo()
    undo()
    assert.strictEqual(holdings.counts.fill, 10 / 160)
    assert.strictEqual(holdings.offer(key(9), 100, from(1), 0, 1_000).refused, "peer")
    assert.strictEqual(holdings.counts.held, 5)
  })

  it("counts what has expired no more, and what came again only later", () => {
    const holdings = new Holdings(self, { records: 32, peer: 1 / 16 })
    for (const i of [1, 2]) assert.isUndefined(holdings.offer(key(i), 10, from(1), 0, 1_000).refused)
    holdings.offer(key(1), 10, from(7), 500, 1_500)
    assert.isUndefined(holdings.offer(key(3), 10, from(1), 1_000, 2_000).refused)
    assert.strictEqual(holdings.counts.held, 2)
    assert.deepStrictEqual(holdings.counts.refused, { peer: 0, group: 0, node: 0 })
  })

  it("makes room for a store that has less, of those who have most", () => {
    const holdings = new Holdings(self)
    for (let i = 0; i < 6; i++) holdings.offer(key(i), 10, from(1), 0, 1_000)
    holdings.offer(key(9), 10, from(2), 0, 1_000)
    const victim = holdings.makeRoom(key(9), 10, from(2)) ?? assert.fail("nothing gives way")
    assert.match(Bytes.toUtf8(victim), /^\/v\/[0-5]$/)
    // It counts from then on, as it did before.
    assert.strictEqual(holdings.counts.held, 6)
    assert.strictEqual(holdings.counts.fill, 6 / 65_536)
    assert.isUndefined(new Holdings(self).makeRoom(key(9), 10, from(2)))
  })
})
