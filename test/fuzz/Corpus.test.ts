/** The corpus of the fuzzer, and a few thousand fresh mutations of it. The long runs are `npm run fuzz`. */
import { assert, describe, it } from "@effect/vitest"
import { Prng } from "../../src/layers/simulation/Prng.ts"
import { corpusOf } from "./Corpus.ts"
import { mutate } from "./Mutate.ts"
import { targets } from "./Targets.ts"

describe("fuzzed decoders", () => {
  for (const target of targets) {
    it(`decodes ${target.name}`, () => {
      const pool = [...target.seeds, ...corpusOf(target.name)]
      const outcomes = new Set(pool.map(target.run))
      const random = new Prng(`corpus ${target.name}`)
      for (let i = 0; i < 1000; i++) {
        const from = pool[random.below(pool.length)] ?? new Uint8Array(0)
        outcomes.add(target.run(mutate(random, target.grammar, from, pool[0] ?? from)))
      }
      // A target that says the same to everything tests nothing.
      assert.isAbove(outcomes.size, 2)
    })
  }
})
