/** The metrics, the page that describes them, and the dashboard that draws them, held against each other. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Catalogue from "../../../src/layers/observability/Catalogue.ts"

const docs = Path.resolve(import.meta.dirname, "../../../docs")
const page = Fs.readFileSync(Path.join(docs, "observability.md"), "utf8")

const Panel = Schema.Struct({
  id: Schema.Int,
  type: Schema.String,
  title: Schema.String,
  gridPos: Schema.Struct({ h: Schema.Int, w: Schema.Int, x: Schema.Int, y: Schema.Int }),
  targets: Schema.optional(Schema.Array(Schema.Struct({ expr: Schema.String })))
})
const Dashboard = Schema.fromJsonString(
  Schema.Struct({ uid: Schema.String, schemaVersion: Schema.Int, panels: Schema.Array(Panel) })
)
const dashboard = Schema.decodeUnknownSync(Dashboard)(
  Fs.readFileSync(Path.join(docs, "grafana/effect-libp2p.json"), "utf8")
)
const expressions = dashboard.panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr))

const byName = new Map(Catalogue.all.map((definition) => [definition.name, definition]))

/** The metric and labels of each selector of an expression, and the labels that it is summed by. */
const used = (expr: string) => ({
  metrics: [...expr.matchAll(/\b((?:libp2p|process|nodejs)_[a-z0-9_]+)/g)].map((found) => found[1] ?? ""),
  labels: [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap((found) => (found[1] ?? "").split(/,\s*/))
})

const familyOf = (name: string): Catalogue.Definition | undefined => {
  const family = byName.get(name.replace(/_(bucket|sum|count)$/, ""))
  return byName.get(name) ?? (family?.type === "histogram" ? family : undefined)
}

describe("the metrics", () => {
  it("have names by the conventions, each once", () => {
    assert.strictEqual(byName.size, Catalogue.all.length)
    for (const { name, type, help, labels, buckets } of Catalogue.all) {
      assert.match(name, /^[a-z][a-z0-9_]*$/)
      assert.strictEqual(name.endsWith("_total"), type === "counter", name)
      if (type === "histogram") assert.match(name, /_seconds$/)
      assert.strictEqual(buckets.length > 0, type === "histogram")
      assert.deepStrictEqual(
        buckets,
        buckets.toSorted((a, b) => a - b)
      )
      assert.isNotEmpty(help)
      assert.strictEqual(new Set(labels).size, labels.length)
    }
  })

  it("are all described in docs/observability.md, with their type and labels, and no others are", () => {
    const rows = new Map(
      [...page.matchAll(/^\| `([a-z0-9_]+)` +\| (counter|gauge|histogram) +\| ([^|]*)\|/gm)].map(
        ([, name = "", type, labels = ""]) =>
          [name, { type, labels: [...labels.matchAll(/`(\w+)`/g)].map((found) => found[1]) }] as const
      )
    )
    assert.deepStrictEqual(
      rows,
      new Map(Catalogue.all.map(({ name, type, labels }) => [name, { type, labels: [...labels] }] as const))
    )
    for (const [name = ""] of page.matchAll(/\blibp2p_[a-z0-9_]+/g)) assert.isDefined(familyOf(name), name)
  })
})

describe("the dashboard", () => {
  it("draws only metrics that there are, by labels that they have", () => {
    assert.isAbove(expressions.length, 40)
    for (const expr of expressions) {
      const { labels, metrics } = used(expr)
      assert.isNotEmpty(metrics, expr)
      const families = metrics.map((name) => familyOf(name))
      for (const [index, family] of families.entries()) assert.isDefined(family, `${metrics[index]} in ${expr}`)
      for (const label of labels) {
        assert.isTrue(
          label === "le" || families.some((family) => family?.labels.includes(label) === true),
          `${label} in ${expr}`
        )
      }
      // A counter is drawn as a rate, and only a counter.
      for (const found of expr.matchAll(/(rate\()?\b((?:libp2p|process|nodejs)_[a-z0-9_]+)/g)) {
        const type = familyOf(found[2] ?? "")?.type
        assert.strictEqual(found[1] !== undefined, type === "counter" || type === "histogram", expr)
      }
    }
  })

  it("leaves no metric undrawn but those that say when and what", () => {
    const drawn = new Set(expressions.flatMap((expr) => used(expr).metrics.map((name) => familyOf(name)?.name)))
    assert.deepStrictEqual(
      Catalogue.all.filter(({ name }) => !drawn.has(name)).map(({ name }) => name),
      ["process_start_time_seconds"]
    )
  })

  it("can be imported: a current schema, ids given once, panels that do not overlap", () => {
    assert.isAtLeast(dashboard.schemaVersion, 39)
    assert.isNotEmpty(dashboard.uid)
    assert.strictEqual(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    const taken = new Set<string>()
    for (const { gridPos, title } of dashboard.panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.isTrue(x < 24 && !taken.has(`${x},${y}`), title)
          taken.add(`${x},${y}`)
        }
      }
    }
  })
})
