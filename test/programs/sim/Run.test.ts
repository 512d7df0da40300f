import { assert, describe, it } from "@effect/vitest"
import * as Run from "../../../src/programs/sim/Run.ts"

describe("a run", () => {
  it.each([
    ["chat", 1000, "noise", "real"],
    ["dht", 50, "noise", "real"],
    ["dht", 1000, "noise", "cheap"],
    ["dht", 10_000, "plaintext", "cheap"],
    ["dht-churn", 10_000, "noise", "cheap"],
    ["lan", 10, "noise", "cheap"]
  ] as const)("of %s with %i nodes says how they are secured", (name, nodes, security, crypto) => {
    const scenario = Run.find(name) ?? assert.fail(name)
    assert.deepStrictEqual(Run.protection(scenario, nodes), { security, crypto })
  })
})
