/**
 * Measures this library against other stacks, side by side; bench/README.md
 * says how and why.
 *
 *   npm run bench                        everything
 *   npm run bench -- upload streams      these
 *   npm run bench -- --quick             everything in less than two minutes, roughly
 *   npm run bench -- --out bench.json    also as JSON
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, loadavg, platform, release, totalmem } from "node:os"
import { dirname, resolve } from "node:path"
import process from "node:process"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import * as Benchmark from "./Benchmark.ts"
import { connections } from "./Connections.ts"
import { footprint } from "./Footprint.ts"
import * as Peers from "./Peers.ts"
import { streams } from "./Streams.ts"
import { render, type Row } from "./Table.ts"
import { transfers } from "./Transfers.ts"

const benchmarks: ReadonlyArray<Benchmark.Benchmark> = [...transfers, ...connections, ...streams, ...footprint]

const full: Benchmark.Effort = { rounds: 5, seconds: 3, warmupSeconds: 3, idleConnections: 500 }
const quick: Benchmark.Effort = { rounds: 2, seconds: 0.7, warmupSeconds: 0.5, idleConnections: 300 }

const usage = `Usage: npm run bench -- [NAME...] [--quick] [--rounds N] [--peer STACK] [--out FILE]

${benchmarks.map(({ about, name, unit }) => `  ${name.padEnd(16)}${unit.padEnd(7)}${about}`).join("\n")}
`

const progress = (text: string) => void process.stderr.write(`${text}\n`)

const machine = () => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${release()}`,
  node: process.version,
  ours: import.meta.url.endsWith(".ts") ? "TypeScript sources, types stripped by Node" : "built JavaScript",
  loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100
})

interface Options {
  readonly chosen: ReadonlyArray<Benchmark.Benchmark>
  readonly others: ReadonlyArray<Peers.Stack>
  readonly effort: Benchmark.Effort
  readonly out: string | undefined
}

/** One that fails does not take the others with it. */
const program = Effect.fnUntraced(function* ({ chosen, effort, others, out }: Options) {
  const about = machine()
  yield* Effect.forEach(others, Peers.install, { discard: true })
  const rows: Array<Row> = []
  const failures: Array<string> = []
  for (const benchmark of chosen) {
    yield* Benchmark.run(benchmark, others, effort, progress).pipe(
      Effect.match({
        onSuccess: (row) => void rows.push(row),
        onFailure: (error) => {
          failures.push(`${benchmark.name}: ${error.message}`)
          progress(`${benchmark.name} FAILED: ${error.message}`)
        }
      })
    )
  }
  const report = {
    machine: { ...about, loadAfter: Math.round((loadavg()[0] ?? 0) * 100) / 100 },
    effort,
    rows,
    failures
  }
  if (out !== undefined) {
    mkdirSync(dirname(resolve(out)), { recursive: true })
    writeFileSync(out, `${JSON.stringify(report, null, 2)}\n`)
  }
  console.log(
    render(
      rows,
      others.map(({ name }) => name)
    )
  )
  console.log(
    `\nMedian (least–most) of ${effort.rounds} rounds; a ratio is of medians, above 1 ours is better.` +
      `\n${about.cpu}, ${about.cores} cores, Node ${about.node}; ours from ${about.ours}; ` +
      `load ${report.machine.loadBefore} before, ${report.machine.loadAfter} after.`
  )
  if (failures.length > 0) {
    console.log(`\nFailed:\n${failures.map((failure) => `  ${failure}`).join("\n")}`)
    process.exitCode = 1
  }
})

const fail = (text: string) => {
  process.stderr.write(`${text}\n\n${usage}`)
  process.exitCode = 1
}

const parse = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        rounds: { type: "string" },
        peer: { type: "string", multiple: true },
        out: { type: "string" }
      }
    })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

const main = () => {
  const parsed = parse()
  if (typeof parsed === "string") return fail(parsed)
  const { positionals, values } = parsed
  if (values.help) return void process.stdout.write(usage)
  const unknown = positionals.find((name) => !benchmarks.some((benchmark) => benchmark.name === name))
  if (unknown !== undefined) return fail(`There is no benchmark "${unknown}".`)
  const stranger = values.peer?.find((name) => !Peers.others.some((stack) => stack.name === name))
  if (stranger !== undefined) return fail(`There is no peer "${stranger}".`)
  const effort = values.quick ? quick : full
  const rounds = Number(values.rounds ?? effort.rounds)
  if (!Number.isInteger(rounds) || rounds < 1)
    return fail(`--rounds ${values.rounds}: a whole number from 1 is needed.`)
  NodeRuntime.runMain(
    program({
      chosen: positionals.length === 0 ? benchmarks : benchmarks.filter(({ name }) => positionals.includes(name)),
      others: Peers.others.filter(({ name }) => values.peer === undefined || values.peer.includes(name)),
      effort: { ...effort, rounds },
      out: values.out
    })
  )
}

main()
