import { assert, describe, it } from "@effect/vitest"
import { parse } from "../../../src/programs/bench/Arguments.ts"

const run = (...args: ReadonlyArray<string>) => parse(args, ["upload", "ping"], ["js", "go"])

describe("the arguments", () => {
  it("are names and flags", () => {
    const parsed = run("ping", "--rounds", "7", "--peer", "go", "--out", "x.json")
    if (parsed._tag !== "Run") return assert.fail(parsed._tag)
    assert.deepInclude(parsed.options, { names: ["ping"], peers: ["go"], rounds: 7, out: "x.json", quick: false })
  })

  it("mean all peers, or js alone when it must be quick", () => {
    const peersOf = (...args: ReadonlyArray<string>) => {
      const parsed = run(...args)
      return parsed._tag === "Run" ? parsed.options.peers : parsed._tag
    }
    assert.deepStrictEqual(peersOf(), ["js", "go"])
    assert.deepStrictEqual(peersOf("--quick"), ["js"])
    assert.deepStrictEqual(peersOf("--quick", "--peer", "go"), ["go"])
  })

  it("are refused in words", () => {
    const detail = (...args: ReadonlyArray<string>) => {
      const parsed = run(...args)
      return parsed._tag === "Wrong" ? parsed.detail : parsed._tag
    }
    assert.include(detail("uplaod"), `There is no benchmark "uplaod".`)
    assert.include(detail("--peer", "c"), "there are js, go")
    assert.include(detail("--rounds", "0"), "whole number")
    assert.include(detail("--nonsense"), "--nonsense")
    assert.strictEqual(detail("--help"), "Help")
  })
})
