/**
 * `effect-libp2p sim scale`: the scenario `dht` with more and more nodes, each
 * size in a process of its own, as a table and as a picture.
 */
import { spawn } from "node:child_process"
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { readFile, writeFile } from "node:fs/promises"
import { cpus } from "node:os"
import process from "node:process"
import { createInterface } from "node:readline"
import * as Schema from "effect/Schema"
import { aligned, markdown, number, replaceBetween } from "../bench/Table.ts"
import { argumentsFor } from "./Process.ts"
import { say } from "./Progress.ts"
import { chart, type Row } from "./ScaleChart.ts"
import { large } from "./DhtTables.ts"

export interface Options {
  /** How many nodes. */
  readonly sizes: ReadonlyArray<number>
  readonly seed: number
  /** Where results are kept, a line each: sizes that have one are not measured again. */
  readonly results: string | undefined
  /** Where the picture goes. */
  readonly svg: string | undefined
  /** The page whose table is replaced. */
  readonly page: string | undefined
}

/** Below this, nodes join one by one, and something else is measured. */
export const least = large

const Figures = Schema.Record(Schema.String, Schema.Finite)

const ResultLine = Schema.fromJsonString(
  Schema.Struct({
    event: Schema.Literal("result"),
    ok: Schema.Boolean,
    seed: Schema.Finite,
    nodes: Schema.Finite,
    wallMs: Schema.Finite,
    peakMiB: Schema.Finite,
    figures: Schema.optionalKey(Figures)
  })
)

const begin = "<!-- scale: written by npm run sim -- scale -->"
const end = "<!-- /scale -->"

/** Heads of the columns, and what is in them. */
const columns: ReadonlyArray<readonly [head: string, cell: (row: Row) => string]> = [
  ["nodes", ({ nodes }) => number(nodes)],
  ["found", ({ figures }) => `${number(100 * (figures["found, of 1"] ?? 0))} %`],
  ["hops", (row) => pair(row, "hops, median", "hops, of 95 %")],
  ["log2(n)", ({ nodes }) => number(Math.log2(nodes))],
  ["messages", (row) => pair(row, "messages a lookup, median", "messages a lookup, of 95 %")],
  ["virtual ms", (row) => figure(row, "virtual ms a lookup, median")],
  ["CPU ms a lookup", (row) => figure(row, "CPU ms a lookup")],
  ["KiB a node, at rest", (row) => figure(row, "KiB a node, before")],
  ["KiB a node, after", (row) => figure(row, "KiB a node, after")],
  ["peak, MiB", ({ peakMiB }) => number(peakMiB)],
  ["whole run, s", ({ wallMs }) => number(wallMs / 1000)]
]

const figure = ({ figures }: Row, name: string): string => number(figures[name] ?? Number.NaN)
const pair = (row: Row, median: string, most: string): string => `${figure(row, median)} (${figure(row, most)})`

const table = (rows: ReadonlyArray<Row>): ReadonlyArray<ReadonlyArray<string>> => [
  columns.map(([head]) => head),
  ...rows.map((row) => columns.map(([, cell]) => cell(row)))
]

const decode = Schema.decodeUnknownOption(ResultLine)

/** What a run says of itself at its end; `undefined` for all else that it says, and for a run that failed. */
const rowOf = (line: string, seed: number): Row | undefined => {
  const result = decode(line)
  if (result._tag === "None" || !result.value.ok || result.value.seed !== seed) return undefined
  const { figures = {}, nodes, peakMiB, wallMs } = result.value
  return { nodes, wallMs, peakMiB, figures }
}

/** One size, in a process of its own, which shows its progress. */
const measure = (nodes: number, { results, seed }: Options): Promise<Row | undefined> =>
  new Promise((resolve) => {
    const args = ["sim", "--json", "--scenario", "dht", "--nodes", String(nodes), "--seed", String(seed)]
    const child = spawn(process.execPath, argumentsFor(args), { stdio: ["ignore", "pipe", "inherit"] })
    let row: Row | undefined
    createInterface(child.stdout).on("line", (line) => {
      const read = rowOf(line, seed)
      if (read === undefined) return
      row = read
      if (results !== undefined) appendFileSync(results, `${line}\n`)
    })
    child.on("close", () => resolve(row))
  })

/** Measures each size, and prints what was found so far after each. */
export const run = async (options: Options): Promise<{ readonly ok: boolean; readonly rows: Array<Row> }> => {
  const { results, seed, sizes } = options
  const lines = results === undefined || !existsSync(results) ? [] : readFileSync(results, "utf8").split("\n")
  const kept = lines.flatMap((line) => rowOf(line, seed) ?? [])
  const rows: Array<Row> = []
  for (const nodes of sizes) {
    say(`${nodes} nodes`)
    const row = kept.findLast((one) => one.nodes === nodes) ?? (await measure(nodes, options))
    if (row === undefined) return { ok: false, rows }
    rows.push(row)
    process.stdout.write(`${aligned(table(rows))}\n\n`)
  }
  return { ok: true, rows }
}

/** Where and with what: what a figure is worth nothing without. */
const circumstances = (seed: number): string => {
  const model = cpus()[0]?.model.trim() ?? "an unknown processor"
  return `${model}, ${cpus().length} cores; Node ${process.versions.node}, seed ${seed}`
}

/** Draws the picture, and puts the table into the page. */
export const write = async ({ page, seed, svg }: Options, rows: ReadonlyArray<Row>): Promise<void> => {
  if (svg !== undefined) await writeFile(svg, chart(rows, circumstances(seed)))
  if (page === undefined) return
  const lines = [markdown(table(rows)), "", `Of hops and messages: the median, and of 95 %. ${circumstances(seed)}.`]
  const text = replaceBetween(await readFile(page, "utf8"), begin, end, lines)
  if (text === undefined) throw new Error(`${page} has no lines "${begin}" and "${end}" to put the table between`)
  await writeFile(page, text)
}
