/** Short forms of the scenarios that `npm run sim` runs for long; see docs/simulation.md. */
import { assert, describe, it } from "@effect/vitest"
import { start } from "../../src/layers/simulation/Simulate.ts"
import { find } from "../../src/programs/sim/Run.ts"
import { hostileOf, layerFor, program, scheduleOf } from "../../src/programs/sim/Scenario.ts"

const runOf = (name: string, seed: number, nodes: number, durationMs: number) => {
  const scenario = find(name)
  if (scenario === undefined) return assert.fail(`there is no ${name}`)
  const hostile = hostileOf(scenario, seed, nodes)
  const schedule = scheduleOf(scenario, seed, nodes - hostile, durationMs)
  const running = start(
    { seed, nodes: nodes - hostile, layer: layerFor(scenario), link: scenario.link, until: durationMs + 1_800_000 },
    program(scenario, durationMs, schedule, hostile)
  )
  for (let next = running.next(); ; next = running.next()) if (next.done === true) return next.value
}

describe("swarm-storm", () => {
  it("holds its bounds among hostile peers, and the same seed is the same run", () => {
    const first = runOf("swarm-storm", 3, 6, 15_000)
    assert.isUndefined(first.problem)
    assert.isAbove(first.reached.get("all is given back") ?? 0, 0)
    assert.isAbove([...first.reached.keys()].filter((name) => name.startsWith("attack: ")).length, 5)
    assert.isAbove([...first.reached.keys()].filter((name) => name.startsWith("limit: ")).length, 0)
    assert.strictEqual(runOf("swarm-storm", 3, 6, 15_000).hash, first.hash)
  })
})

describe("churn", () => {
  it("leaves nothing behind of those who came and went", () => {
    const report = runOf("churn", 1, 3, 10 * 60_000)
    assert.isUndefined(report.problem)
    const gone = (how: string) => report.reached.get(`a visitor ${how}`) ?? 0
    assert.isAbove(gone("goes without a word") + gone("leaves"), 0)
    assert.isAbove(report.reached.get("all is given back") ?? 0, 0)
  })
})
