/** One seed is one run. */
import { assert, describe, it } from "@effect/vitest"
import { start } from "../../src/layers/simulation/Simulate.ts"
import { layer } from "../../src/programs/sim/Agent.ts"
import { find } from "../../src/programs/sim/Run.ts"
import { program, scheduleOf } from "../../src/programs/sim/Scenario.ts"

const nodes = 8
const durationMs = 60_000

const storm = (seed: number, shuffle: boolean) => {
  const scenario = find("storm")
  if (scenario === undefined) return assert.fail("there is no storm")
  const running = start(
    { seed, nodes, layer, link: scenario.link, shuffle, until: "1 hour" },
    program(scenario, durationMs, scheduleOf(scenario, seed, nodes, durationMs))
  )
  for (let next = running.next(); ; next = running.next()) if (next.done === true) return next.value
}

describe("determinism", () => {
  it.each([
    ["in order", false],
    ["shuffled", true]
  ] as const)("a storm, %s, is the same each time", (_, shuffle) => {
    const first = storm(7, shuffle)
    const second = storm(7, shuffle)
    assert.isUndefined(first.problem)
    assert.isAbove(first.events, 1000)
    assert.deepEqual(
      [second.hash, second.events, second.virtualMs, [...second.reached]],
      [first.hash, first.events, first.virtualMs, [...first.reached]]
    )
  })

  it("another seed, or another order, is another run", () => {
    const hashes = [storm(7, false), storm(8, false), storm(7, true), storm(8, true)].map(({ hash }) => hash)
    assert.strictEqual(new Set(hashes).size, hashes.length)
  })
})
