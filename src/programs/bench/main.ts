/**
 * Measures this library against other stacks, side by side; bench/README.md
 * says how and why.
 *
 *   npm run bench                        everything, in less than 15 minutes
 *   npm run bench -- upload streams      these
 *   npm run bench -- dht                 those of the DHT, in ten minutes
 *   npm run bench -- lan                 those of the local network, in ten minutes
 *   npm run bench -- --quick             everything in two minutes, roughly
 *   npm run bench -- --out bench.json    also as JSON
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg, platform, release, totalmem } from "node:os"
import { dirname, join, resolve } from "node:path"
import process from "node:process"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Arguments from "./Arguments.ts"
import * as Benchmark from "./Benchmark.ts"
import { chart } from "./Chart.ts"
import * as Compare from "./Compare.ts"
import { connections } from "./Connections.ts"
import { dht } from "./Dht.ts"
import { footprint } from "./Footprint.ts"
import { lan } from "./Lan.ts"
import * as Peers from "./Peers.ts"
import { Progress } from "./Progress.ts"
import * as Report from "./Report.ts"
import { streams } from "./Streams.ts"
import * as Table from "./Table.ts"
import { transfers } from "./Transfers.ts"

/** What is measured when nothing is named. */
const usual: ReadonlyArray<Benchmark.Benchmark> = [...transfers, ...connections, ...streams, ...footprint]

/** What one name stands for: whole networks take too long to be among the usual. */
const families: ReadonlyMap<string, ReadonlyArray<Benchmark.Benchmark>> = new Map([
  ["dht", dht],
  ["lan", lan]
])

const benchmarks: ReadonlyArray<Benchmark.Benchmark> = [...usual, ...dht, ...lan]

/** The names of the benchmarks that are asked for. */
const askedFor = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.length === 0
    ? usual.map(({ name }) => name)
    : names.flatMap((name) => families.get(name)?.map((member) => member.name) ?? [name])

/** So that the usual ones take less than 15 minutes: with more peers the rounds are shorter. */
const full = (peers: number): Benchmark.Effort => ({
  rounds: 5,
  seconds: peers > 1 ? 0.9 : 1.6,
  warmupSeconds: 1,
  idle: 1000,
  idleRounds: 3,
  nodes: 50,
  settleSeconds: 10,
  limits: true
})

const quick: Benchmark.Effort = {
  rounds: 3,
  seconds: 0.3,
  warmupSeconds: 0.2,
  idle: 200,
  idleRounds: 1,
  nodes: 24,
  settleSeconds: 2,
  limits: false
}

const load = () => Math.round((loadavg()[0] ?? 0) * 100) / 100

const Version = Schema.fromJsonString(Schema.Struct({ version: Schema.String }))
const versionIn = (text: string): string => {
  const decoded = Schema.decodeUnknownResult(Version)(text)
  return decoded._tag === "Success" ? decoded.success.version : "unknown"
}

const output = (program: string, args: ReadonlyArray<string>): string =>
  spawnSync(program, args, { cwd: Peers.repository, encoding: "utf8" }).stdout ?? ""

const versions = (others: ReadonlyArray<Peers.Stack>): Readonly<Record<string, string>> => {
  const packageOf = (path: string) => versionIn(readFileSync(join(Peers.repository, path), "utf8"))
  const commit = output("git", ["rev-parse", "--short", "HEAD"]).trim()
  const own = packageOf("package.json")
  return {
    "effect-libp2p": commit === "" ? own : `${own} (${commit})`,
    effect: packageOf("node_modules/effect/package.json"),
    node: process.versions.node,
    ...Object.fromEntries(
      others.map(({ command: [program], name }) => [
        `${name}-libp2p`,
        name === "js"
          ? packageOf("bench/js/node_modules/libp2p/package.json")
          : versionIn(output(program, ["--version-info"]))
      ])
    )
  }
}

/** Those that can be made ready, and why the others cannot. */
const ready = Effect.fnUntraced(function* (wanted: ReadonlyArray<Peers.Stack>) {
  const skipped: Record<string, string> = {}
  const others = yield* Effect.filter(wanted, (stack) =>
    Peers.install(stack).pipe(
      Effect.as(true),
      Effect.catch((error) => {
        skipped[stack.name] = error.detail
        return Effect.succeed(false)
      })
    )
  )
  return { others, skipped }
})

/** One that fails does not take the others with it. */
const measure = Effect.fnUntraced(function* (options: Arguments.Options) {
  const names = askedFor(options.names)
  const chosen = benchmarks.filter(({ name }) => names.includes(name))
  const wanted = Peers.others.filter(({ name }) => options.peers.includes(name))
  yield* Peers.install(Peers.ours)
  const { others, skipped } = yield* ready(wanted)
  const base = options.quick ? quick : full(others.length)
  const effort = { ...base, rounds: options.rounds ?? base.rounds }
  const loadBefore = load()
  const started = performance.now()
  const progress = new Progress(chosen.map((benchmark) => Benchmark.estimate(benchmark, others, effort)))
  const rows: Array<Report.Row> = []
  const failures: Array<string> = []
  const failed = (text: string) => {
    failures.push(text)
    progress.say(`FAILED ${text}`)
  }
  for (const [index, benchmark] of chosen.entries()) {
    progress.begin(index)
    yield* Benchmark.run(benchmark, others, effort, progress.say, failed).pipe(
      Effect.match({
        onSuccess: (row) => void rows.push(row),
        onFailure: (error) => failed(`${benchmark.name}: ${error.message}`)
      })
    )
  }
  const report: Report.Report = {
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${release()}`,
      loadBefore,
      loadAfter: load()
    },
    date: new Date().toISOString().slice(0, 10),
    minutes: Math.round((performance.now() - started) / 6000) / 10,
    versions: versions(others),
    effort,
    rows,
    skipped,
    failures
  }
  return report
})

const write = (file: string, text: string) =>
  Effect.try({
    try: () => {
      mkdirSync(dirname(resolve(file)), { recursive: true })
      writeFileSync(file, text)
    },
    catch: (error) => new Report.ReportError({ file, detail: `cannot be written: ${String(error)}` })
  })

const writeReadme = Effect.fnUntraced(function* (report: Report.Report) {
  const file = join(Peers.repository, "README.md")
  const text = Table.replaceBlock(readFileSync(file, "utf8"), report)
  if (text === undefined) return yield* new Report.ReportError({ file, detail: "has no block of the benchmarks" })
  yield* write(file, text)
})

const program = Effect.fnUntraced(function* (options: Arguments.Options) {
  // First, so that a wrong name does not cost a quarter of an hour.
  const before = options.compare === undefined ? undefined : yield* Report.read(options.compare)
  const report = options.from === undefined ? yield* measure(options) : yield* Report.read(options.from)
  if (options.out !== undefined) yield* write(options.out, `${JSON.stringify(report, null, 2)}\n`)
  if (options.svg !== undefined) yield* write(options.svg, chart(report))
  if (options.readme) yield* writeReadme(report)
  console.log(`${Table.render(report.rows)}\n\n${Table.circumstances(report)}`)
  if (report.failures.length > 0) {
    console.log(`\nFailed:\n${report.failures.map((failure) => `  ${failure}`).join("\n")}`)
    process.exitCode = 1
  }
  if (before !== undefined) {
    const asked = options.from === undefined ? askedFor(options.names) : options.names
    const changes = Compare.compare(before, report)
    const missing = Compare.lost(before, report, asked)
    console.log(`\n${Compare.describe(changes, missing, options.compare ?? "")}`)
    if (missing.length > 0 || changes.some(({ regression }) => regression)) process.exitCode = 1
  }
})

const main = () => {
  const parsed = Arguments.parse(
    process.argv.slice(2),
    [...benchmarks.map(({ name }) => name), ...families.keys()],
    Peers.others.map(({ name }) => name)
  )
  if (parsed._tag === "Help") return void process.stdout.write(Arguments.usage(benchmarks))
  if (parsed._tag === "Wrong") {
    process.stderr.write(`${parsed.detail}\nnpm run bench -- --help says what can be given.\n`)
    process.exitCode = 2
    return
  }
  const fail = (error: { readonly message: string }) =>
    Effect.sync(() => {
      process.stderr.write(`${error.message}\n`)
      process.exitCode = 1
    })
  NodeRuntime.runMain(program(parsed.options).pipe(Effect.catch(fail)))
}

main()
