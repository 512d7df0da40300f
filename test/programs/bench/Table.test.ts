import { assert, describe, it } from "@effect/vitest"
import { render, replaceBlock } from "../../../src/programs/bench/Table.ts"
import { report, row } from "./support.ts"

describe("render", () => {
  it("shows each side and the ratios, and a dash where a peer was not measured", () => {
    const text = render([
      {
        name: "upload",
        unit: "MiB/s",
        better: "higher",
        ours: { median: 1234.4, min: 1000, max: 1500 },
        peers: { js: { median: 99.4, min: 0.01234, max: 99.96 } },
        ratios: { js: 12.42 },
        limits: { "raw TCP": { median: 2468.8, min: 2468.8, max: 2468.8 } }
      },
      { ...row("ping", 10, 5), peers: { go: { median: 5, min: 5, max: 5 } }, ratios: { go: 2 } }
    ])
    const lines = text.split("\n").map((line) => line.trim().split(/ {2,}/))
    assert.deepStrictEqual(lines, [
      ["unit", "better", "ours", "js", "ours to js", "go", "ours to go"],
      ["upload", "MiB/s", "higher", "1,234 (1,000–1,500)", "99.4 (0.0123–100)", "12.4x", "-", "-"],
      ["ping", "MiB/s", "higher", "10", "-", "-", "5", "2x"],
      [""],
      ["unit", "for context", "reaches", "ours to it"],
      ["upload", "MiB/s", "raw TCP", "2,469", "0.5x"]
    ])
  })
})

describe("replaceBlock", () => {
  const page = "# A\n\n<!-- bench: written by npm run bench -- --readme -->\nold\n<!-- /bench -->\n\n## B\n"

  it("puts the table where the old one was, and leaves the rest", () => {
    const once = replaceBlock(page, report(row("upload", 3, 1)))
    assert.match(
      once ?? "",
      /^# A\n\n<!-- bench[^\n]*\n\n\| {3}[^]*\| upload \|[^]*go was not measured[^]*\n<!-- \/bench -->\n\n## B\n$/
    )
    assert.notInclude(once ?? "", "old")
    assert.strictEqual(replaceBlock(once ?? "", report(row("upload", 3, 1))), once)
  })

  it("does not write where there is no block", () => {
    assert.isUndefined(replaceBlock("# A\n", report()))
  })
})
