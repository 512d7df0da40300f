import { assert, describe, it } from "@effect/vitest"
import { render, statistics } from "../../../src/programs/bench/Table.ts"

describe("statistics", () => {
  it("takes the middle value of an odd number of rounds", () => {
    assert.deepStrictEqual(statistics([10, 9, 100]), { median: 10, min: 9, max: 100 })
  })

  it("takes the mean of the two middle values of an even number", () => {
    assert.deepStrictEqual(statistics([4, 1, 3, 100]), { median: 3.5, min: 1, max: 100 })
  })
})

describe("render", () => {
  it("shows each side and the ratios, and a dash where a peer was not measured", () => {
    const text = render(
      [
        {
          name: "upload",
          unit: "MiB/s",
          better: "higher",
          ours: { median: 1234.4, min: 1000, max: 1500 },
          peers: { js: { median: 99.4, min: 0.01234, max: 99.96 } },
          ratios: { js: 12.42 }
        }
      ],
      ["js", "go"]
    )
    const [head, line] = text.split("\n")
    assert.deepStrictEqual(head?.trim().split(/ {2,}/), [
      "unit",
      "better",
      "ours",
      "js",
      "ours to js",
      "go",
      "ours to go"
    ])
    assert.deepStrictEqual(line?.split(/ {2,}/), [
      "upload",
      "MiB/s",
      "higher",
      "1,234 (1,000–1,500)",
      "99.4 (0.0123–100)",
      "12.4x",
      "-",
      "-"
    ])
  })
})
