import { assert, describe, it } from "@effect/vitest"
import { makeHome, run } from "./Program.ts"

describe("effect-libp2p sim", () => {
  it("runs a scenario with several seeds, in processes of its own", { timeout: 120_000 }, async () => {
    const args = ["sim", "--scenario", "chat", "--nodes", "2", "--for", "1s", "--seeds", "1..2"]
    const { code, stderr, stdout } = await run(makeHome(), args)
    assert.strictEqual(code, 0, stderr)
    assert.include(stdout, "chat")
  })
})
