import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chart } from "../../../src/programs/bench/Chart.ts"
import { compare, describe as describeChanges, lost } from "../../../src/programs/bench/Compare.ts"
import { closure } from "../../../src/programs/bench/Installed.ts"
import { Progress } from "../../../src/programs/bench/Progress.ts"
import { read, Report } from "../../../src/programs/bench/Report.ts"
import { ratioOf, statistics, uncertainty } from "../../../src/programs/bench/Statistics.ts"
import { report, row } from "./support.ts"

describe("statistics", () => {
  it("takes the middle value of an odd number of rounds", () => {
    assert.deepStrictEqual(statistics([10, 9, 100]), { median: 10, min: 9, max: 100 })
  })

  it("takes the mean of the two middle values of an even number", () => {
    assert.deepStrictEqual(statistics([4, 1, 3, 100]), { median: 3.5, min: 1, max: 100 })
  })

  it("has ratios above 1 where ours is better, whichever way that is, and always finite", () => {
    assert.strictEqual(ratioOf("higher", 10, 5), 2)
    assert.strictEqual(ratioOf("lower", 5, 10), 2)
    assert.isAbove(ratioOf("lower", -3, 10), 1000)
    assert.isTrue(Number.isFinite(ratioOf("lower", 0, 10)))
    assert.isTrue(Number.isFinite(ratioOf("higher", 10, 0)))
  })

  it("is as uncertain as half of the range", () => {
    assert.strictEqual(uncertainty({ median: 10, min: 8, max: 12 }), 0.2)
    assert.strictEqual(uncertainty({ median: 0, min: 0, max: 1 }), 0)
  })
})

describe("compare", () => {
  const before = report(row("upload", 30, 10), row("ping", 20, 10))

  it("finds a ratio that fell by more than chance, though both sides are faster", () => {
    const now = report(row("upload", 50, 20), row("ping", 40, 20))
    const changes = compare(before, now)
    assert.deepStrictEqual(
      changes.map(({ name, regression }) => [name, regression]),
      [
        ["upload", true],
        ["ping", false]
      ]
    )
    assert.include(
      describeChanges(changes, [], "old.json"),
      "upload: 2.50 times js, was 3.00 (17 % less, tolerance 10 %)"
    )
  })

  it("tolerates what the spread explains, and no spread explains a half", () => {
    assert.isFalse(compare(before, report(row("upload", 25, 10, 0.3)))[0]?.regression)
    assert.isTrue(compare(before, report(row("upload", 14, 10, 5)))[0]?.regression)
  })

  it("compares only what both have, and misses what was asked for", () => {
    const now = report(row("start", 1, 1))
    assert.deepStrictEqual(compare(before, now), [])
    assert.deepStrictEqual(lost(before, now, ["upload", "start"]), ["upload"])
    assert.include(describeChanges([], ["upload"], "old.json"), "upload: could not be measured")
    assert.include(describeChanges([], [], "old.json"), "Nothing to compare")
  })
})

describe("the JSON", () => {
  it("has the shape that others may rely on", () => {
    const text = JSON.stringify(report(row("upload", 30, 10)))
    const parsed: unknown = JSON.parse(text)
    const decoded = Schema.decodeUnknownSync(Report)(parsed)
    assert.deepStrictEqual(decoded.rows[0], {
      name: "upload",
      unit: "MiB/s",
      better: "higher",
      ours: { median: 30, min: 30, max: 30 },
      peers: { js: { median: 10, min: 10, max: 10 } },
      ratios: { js: 3 }
    })
  })

  it.effect("says what is wrong with a file that is none", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "bench-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const file = join(folder, "x.json")
      assert.include((yield* Effect.flip(read(file))).message, "cannot be read")
      writeFileSync(file, "{}")
      assert.include((yield* Effect.flip(read(file))).message, "is not a report")
    }).pipe(Effect.scoped)
  )
})

describe("the chart", () => {
  it("has a bar a ratio, and no character of a name can break it", () => {
    const svg = chart(report(row("upload", 30, 10), { ...row("a<b>&", 1, 8), ratios: { js: 0.125 } }))
    assert.match(svg, /^<svg [^>]*>\n[^]*<\/svg>\n$/)
    assert.include(svg, "a&lt;b&gt;&amp;")
    assert.include(svg, "A &lt;cpu&gt; &amp; more")
    assert.include(svg, ">3x<")
    assert.include(svg, ">0.125x<")
    assert.notInclude(svg, "NaN")
  })

  it("is a chart without rows too", () => {
    assert.notInclude(chart(report()), "NaN")
  })
})

describe("the time left", () => {
  it("is that of the parts to come, as slow as the machine has been", () => {
    assert.strictEqual(Progress.left([10, 10, 20], 0, 0, 0), 40)
    assert.strictEqual(Progress.left([10, 10, 20, 10], 2, 40, 15), 25 + 20)
    assert.strictEqual(Progress.left([10, 10], 1, 10, 100), 0)
  })
})

describe("what an installation brings", () => {
  it("follows dependencies and required peers as Node does", () => {
    const packages = {
      "": {},
      "node_modules/a": { dependencies: { b: "1", c: "1" } },
      "node_modules/a/node_modules/b": { dependencies: { c: "1" } },
      "node_modules/b": {},
      "node_modules/c": { peerDependencies: { d: "1", e: "1" }, peerDependenciesMeta: { e: { optional: true } } },
      "node_modules/d": {},
      "node_modules/e": {}
    }
    assert.deepStrictEqual(
      [...closure(packages, ["a"])],
      ["node_modules/a", "node_modules/a/node_modules/b", "node_modules/c", "node_modules/d"]
    )
  })
})
