import { assert, describe, it } from "@effect/vitest"
import { describe as inWords, draw, everything, kinds, shrink } from "../../../src/layers/simulation/Faults.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"

const options = { weights: everything, nodes: 10, durationMs: 600_000, everyMs: 2000, lastsMs: 20_000 }

describe("drawing faults", () => {
  it("follows from the generator, and from nothing else", () => {
    assert.deepStrictEqual(draw(new Prng("a"), options), draw(new Prng("a"), options))
    assert.notDeepEqual(draw(new Prng("a"), options), draw(new Prng("b"), options))
  })

  it("every kind is drawn, each within the time, and undone by its end", () => {
    const faults = draw(new Prng("a"), options)
    assert.deepStrictEqual([...new Set(faults.map(({ kind }) => kind))].toSorted(), [...kinds].toSorted())
    for (const { at, kind, lasts, nodes } of faults) {
      assert.isAtMost(at + lasts, options.durationMs + 1)
      assert.isAtLeast(new Set(nodes).size, 2, kind)
    }
  })

  it("only what has a weight is drawn; nothing for nobody", () => {
    const faults = draw(new Prng("a"), { ...options, weights: { reset: 1 } })
    assert.isTrue(faults.length > 100 && faults.every(({ kind }) => kind === "reset"))
    assert.deepStrictEqual(draw(new Prng("a"), { ...options, weights: {} }), [])
    assert.deepStrictEqual(draw(new Prng("a"), { ...options, nodes: 0 }), [])
  })

  it("is told in words", () => {
    assert.strictEqual(
      inWords({ at: 0, kind: "crash", nodes: [3, 4], lasts: 20, strength: 0.5, disk: "torn" }),
      "n3, disk torn, for 20 ms"
    )
  })
})

describe("shrinking a schedule", () => {
  it("finds the few that a failure needs, wherever they are", async () => {
    const faults = draw(new Prng("a"), options).slice(0, 100)
    const needed = [...faults.slice(17, 18), ...faults.slice(80, 81)]
    let runs = 0
    const fewest = await shrink(faults, (some) => {
      runs++
      return needed.every((fault) => some.includes(fault))
    })
    assert.deepStrictEqual(fewest, needed)
    assert.isAtMost(runs, 60)
  })

  it("keeps to its budget", async () => {
    let runs = 0
    await shrink(
      draw(new Prng("a"), options),
      () => {
        runs++
        return false
      },
      10
    )
    assert.strictEqual(runs, 10)
  })
})
