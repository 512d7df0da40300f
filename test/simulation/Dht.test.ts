/** Short forms of the DHT scenarios that `npm run sim` runs with many nodes; see docs/simulation.md. */
import { assert, describe, it } from "@effect/vitest"
import * as Dht from "../../src/programs/sim/Dht.ts"
import { find } from "../../src/programs/sim/Run.ts"

const runOf = (name: string, seed: number, nodes: number, durationMs: number) => {
  const scenario = find(name)
  if (scenario?.dht === undefined) return assert.fail(`there is no ${name}`)
  let figures: Readonly<Record<string, number>> = {}
  const options = { seed, nodes, cheapCrypto: true, link: scenario.link, until: durationMs + 1_800_000 }
  const running = Dht.start(scenario.dht, options, durationMs, (all) => (figures = all))
  for (let next = running.next(); ; next = running.next()) if (next.done === true) return { ...next.value, figures }
}

describe("dht", () => {
  it("finds values, providers and peers, and the same seed is the same run", () => {
    const first = runOf("dht", 1, 6, 30_000)
    assert.isUndefined(first.problem)
    assert.strictEqual(first.figures["lookups"], 120)
    assert.strictEqual(first.figures["found, of 1"], 1)
    assert.strictEqual(runOf("dht", 1, 6, 30_000).hash, first.hash)
  })
})
