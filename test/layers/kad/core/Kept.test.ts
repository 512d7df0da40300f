import { assert, describe, it } from "@effect/vitest"
import { type Entry, Kept } from "../../../../src/layers/kad/core/Kept.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

const key = (i: number) => Uint8Array.of(i)

describe("Kept", () => {
  it("tells storage of all that changed, once it is stored no more, and again what could not be stored", () => {
    for (let seed = 0; seed < 20; seed++) {
      const prng = new Prng(`kept ${seed}`)
      const kept = new Kept()
      const disk = new Map<string, Entry>()
      const nameOf = ({ key, realm }: Entry) => `${realm} ${key.join()}`
      for (let step = 0; step < 200; step++) {
        const realm = prng.chance(0.5) ? "wan" : "lan"
        if (prng.chance(0.3)) kept.delete(realm, key(prng.below(6)))
        else kept.set(realm, key(prng.below(6)), prng.chance(0.2) ? undefined : prng.below(4))
        if (prng.chance(0.6)) continue
        const changes = kept.takeChanges()
        assert.isFalse(kept.hasChanges)
        if (prng.chance(0.4)) {
          kept.undo(changes)
          assert.strictEqual(kept.hasChanges, changes.size > 0)
          continue
        }
        for (const { after, before } of changes.values()) {
          if (after !== undefined) disk.set(nameOf(after), after)
          else if (before !== undefined) disk.delete(nameOf(before))
        }
        const byName = (a: Entry, b: Entry) => (nameOf(a) < nameOf(b) ? -1 : 1)
        assert.deepStrictEqual(
          [...kept.of("wan"), ...kept.of("lan")].toSorted(byName),
          [...disk.values()].toSorted(byName)
        )
      }
    }
  })
})
