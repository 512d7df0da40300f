import { assert, describe, it } from "@effect/vitest"
import { chart, type Row } from "../../../src/programs/sim/ScaleChart.ts"

const row = (nodes: number, hops: number): Row => ({
  nodes,
  wallMs: 1000,
  peakMiB: 100,
  figures: {
    "hops, median": hops,
    "hops, of 95 %": hops + 1,
    "messages a lookup, median": 22,
    "messages a lookup, of 95 %": 30,
    "KiB a node, before": 400,
    "KiB a node, after": 900
  }
})

/** The points of all lines, in the order of the lines. */
const linesOf = (svg: string) =>
  [...svg.matchAll(/<polyline points="([^"]*)"/g)].map((match) =>
    (match[1] ?? "").split(" ").map((point) => point.split(",").map(Number))
  )

describe("chart", () => {
  it("has a line for each figure and one for log2(n), a point for each size, further right for more nodes", () => {
    const lines = linesOf(chart([row(100, 2), row(1000, 3), row(10_000, 4)], "here & now"))
    assert.strictEqual(lines.length, 7)
    for (const points of lines) {
      const across = points.map(([x]) => x ?? Number.NaN)
      assert.strictEqual(across.length, 3)
      assert.deepStrictEqual(
        across,
        across.toSorted((a, b) => a - b)
      )
    }
    const [first = Number.NaN, second = Number.NaN, third = Number.NaN] =
      lines[0]?.map(([, down = Number.NaN]) => down) ?? []
    assert.isAbove(first, second)
    assert.closeTo(first - second, second - third, 0.2)
  })

  it("has one size in the middle, says where it was measured, and leaves out what was not", () => {
    const svg = chart([{ ...row(100, 2), figures: {} }], "here & now")
    assert.include(svg, "here &amp; now")
    assert.notInclude(svg, "NaN")
    assert.notInclude(svg, "<circle")
  })
})
