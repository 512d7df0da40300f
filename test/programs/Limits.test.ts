import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Limits from "../../src/layers/resources/Limits.ts"
import * as LimitsTable from "../../src/programs/cli/LimitsTable.ts"
import type { Usage } from "../../src/services/ResourceManager.ts"

const machine = { memory: 8 * 1024 ** 3, files: 1024 }
const limits = (changes: Limits.LimitChanges = {}) => Result.getOrThrow(Limits.resolve(machine, changes))

const plain = LimitsTable.colours({ isTTY: false }, {})
const row = (scope: string, resource: string, current: number, limit: number, refused = 0): Usage => ({
  scope,
  resource,
  limit,
  current,
  peak: current,
  refused
})

describe("the table of limits", () => {
  it("numbers for people", () => {
    assert.deepStrictEqual([0, 999, 1000, 1_234_567, 0.5].map(LimitsTable.count), [
      "0",
      "999",
      "1,000",
      "1,234,567",
      "0.5"
    ])
    assert.deepStrictEqual([0, 1023, 1024, 1536, 64 * 1024 ** 2, 5.88 * 1024 ** 3].map(LimitsTable.bytes), [
      "0 B",
      "1023 B",
      "1 KiB",
      "1.5 KiB",
      "64 MiB",
      "5.9 GiB"
    ])
  })

  it("names every scope, and those that have limits of their own", () => {
    const text = LimitsTable.ofMachine(machine, limits({ protocols: { "/mine/1.0.0": { streams: 7 } }, exempt: [] }))
    assert.match(text, /^Limits of a node on this machine: 8 GiB of memory, 1,024 open files\.\n/)
    assert.match(text, /\nprotocol \/mine\/1\.0\.0 +7 /)
    assert.include(text, "not counted by place: none")
    const columns = text.split("\n").filter((line) => /^(the whole|each peer) /.test(line))
    assert.strictEqual(new Set(columns.map((line) => line.length)).size, 1, "columns do not line up")
  })

  it("the use of a node: what is full comes first and is said in words", () => {
    const text = LimitsTable.ofNode(
      "12D3KooWme",
      "127.0.0.1:9464",
      [
        row("system", "connections", 5, 100),
        row("peer (ended)", "streams", 0, 100, 1200),
        row("protocol /a", "streams", 85, 100),
        row("peer 12D3KooWEN1dru7FyiZ5qHyAPMSnJ7xWp1SgjokQadJG832YZZiQ", "memory", 1024 ** 2, 1024 ** 2, 3)
      ],
      plain
    )
    const lines = text.split("\n")
    assert.strictEqual(lines[1], "1 full, 1 nearly full. 1,203 refused since the start.")
    assert.deepStrictEqual(
      lines.slice(4).map((line) => line.replaceAll(/ {2,}/g, " | ")),
      [
        "system | connections | 5 | 100 | 5% | 5 | 0",
        "peer 12D3KooW…2YZZiQ | memory | 1 MiB | 1 MiB | 100% | 1 MiB | 3 | full",
        "protocol /a | streams | 85 | 100 | 85% | 85 | 0 | nearly full",
        "peer, those that ended | streams | 0 | 100 | 0% | 0 | 1,200 | has refused"
      ]
    )
  })

  it("is short whatever the number of peers", () => {
    const many = Array.from({ length: 5000 }, (_, index) => row(`connection ${index}`, "streams", 1, 100))
    const text = LimitsTable.ofNode("p", "h", many, plain)
    assert.isBelow(text.split("\n").length, 60)
    assert.include(text, "… and 4,960 more")
  })

  it("colours only on a terminal that wants them", () => {
    const full = [row("system", "connections", 100, 100)]
    const of = (isTTY: boolean, env: Record<string, string>) =>
      LimitsTable.ofNode("p", "h", full, LimitsTable.colours({ isTTY }, env)).includes("\u001b[31m")
    assert.deepStrictEqual(
      [of(true, {}), of(false, {}), of(true, { NO_COLOR: "1" }), of(true, { TERM: "dumb" })],
      [true, false, false, false]
    )
  })
})
