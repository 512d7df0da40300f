import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { Population } from "../../../src/programs/sim/DhtTables.ts"
import { contacts } from "../../layers/kad/core/model.ts"

describe("prepared tables", () => {
  it("hold k of each distance and some that wait, all of the nearest, nobody twice and not the node itself", () => {
    const k = 5
    for (const count of [1, 5, 60, 500]) {
      const prng = new Prng(`tables of ${count}`)
      const all = contacts(prng, count)
      const population = new Population()
      for (const { peer } of all) population.add({ peer, addresses: [] })
      for (const self of all.slice(0, 20)) {
        const table = population.tableOf(self.key, k, prng).map(({ peer }) => Key.contact(peer))
        const shared = (one: Key.Contact) => Key.commonPrefix(self.key, one.key)
        assert.strictEqual(new Set(table.map(({ key }) => key.id)).size, table.length)
        assert.isFalse(table.some(({ key }) => Key.equals(key, self.key)))
        const deepest = Math.max(0, ...all.filter((one) => one !== self).map(shared))
        for (let bucket = 0; bucket <= deepest; bucket++) {
          const there = all.filter((one) => one !== self && shared(one) === bucket).length
          const held = table.filter((one) => shared(one) === bucket).length
          assert.isAtLeast(held, Math.min(there, k))
          if (there > k + 3) assert.strictEqual(held, k + 3)
        }
      }
    }
  })
})
