/**
 * `effect-libp2p sim`: runs scenarios, one seed or many, shows where they are,
 * and for a failing one leaves a trace and the line that repeats it.
 */
import { spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs"
import { availableParallelism } from "node:os"
import { dirname, join } from "node:path"
import process from "node:process"
import { setImmediate } from "node:timers/promises"
import { createInterface } from "node:readline"
import * as Schema from "effect/Schema"
import { type ScheduledFault, shrink } from "../../layers/simulation/Faults.ts"
import { type SimulationReport, start } from "../../layers/simulation/Simulate.ts"
import { formatEvent, type TraceEvent } from "../../layers/simulation/Trace.ts"
import * as Dht from "./Dht.ts"
import * as Lan from "./Lan.ts"
import { hostileOf, layerFor, program, type Scenario, scheduleOf, scenarios } from "./Scenario.ts"

export interface Options {
  readonly scenario: string
  readonly nodes: number | undefined
  readonly seed: number
  /** Inclusive; overrides `seed`. */
  readonly seeds: readonly [number, number] | undefined
  readonly durationMs: number | undefined
  readonly shuffle: boolean
  readonly checkDeterminism: boolean
  /** Only these faults of the schedule, by number. */
  readonly faults: ReadonlyArray<number> | undefined
  readonly json: boolean
  /** Where failing runs leave their traces. */
  readonly traces: string
  /** Write the trace even if the run succeeds. */
  readonly trace: boolean
}

/** What a scenario measured, by name. */
type Figures = Readonly<Record<string, number>>

/** The last line of a run, as scripts read it. */
export interface Result {
  readonly event: "result"
  readonly ok: boolean
  readonly scenario: string
  readonly seed: number
  readonly nodes: number
  readonly hash: string
  readonly virtualMs: number
  readonly wallMs: number
  readonly events: number
  readonly eventsPerSecond: number
  readonly rssMiB: number
  readonly faults: number
  /** How often each `sometimes` was reached. */
  readonly reached: Readonly<Record<string, number>>
  /** What the scenario measured, by name. */
  readonly figures?: Figures | undefined
  readonly problem?: string | undefined
}

/** Set for the processes that run a share of the seeds, so that they do not share them out again. */
export const workerVariable = "EFFECT_LIBP2P_SIM_WORKER"

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const print = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const minutes = (ms: number): string => `${(ms / 60_000).toFixed(1)} min`

export const find = (name: string): Scenario | undefined => scenarios.find((scenario) => scenario.name === name)

/** The line that repeats a run. */
const repeatLine = (
  options: Options,
  scenario: Scenario,
  nodes: number,
  seed: number,
  faults?: ReadonlyArray<number>
): string =>
  [
    `npm run sim -- --scenario ${scenario.name} --nodes ${nodes} --seed ${seed}`,
    ...(options.durationMs === undefined ? [] : [`--for ${options.durationMs / 1000}s`]),
    ...(options.shuffle ? ["--shuffle"] : []),
    ...(faults === undefined ? [] : [`--faults ${faults.length === 0 ? "none" : faults.join(",")}`])
  ].join(" ")

/** One run in this process. */
const runOnce = async (
  scenario: Scenario,
  nodes: number,
  seed: number,
  durationMs: number,
  shuffle: boolean,
  schedule: ReadonlyArray<ScheduledFault>,
  progress: ((virtualMs: number, events: number, faults: number) => void) | undefined,
  sink?: (event: TraceEvent) => void,
  measured?: (figures: Figures) => void
): Promise<SimulationReport> => {
  const hostile = hostileOf(scenario, seed, nodes)
  const common = {
    seed,
    nodes: nodes - hostile,
    link: scenario.link,
    shuffle,
    until: durationMs + 30 * 60_000,
    trace: { sink }
  }
  const running =
    scenario.lan === true
      ? Lan.start({ ...common, until: durationMs + 3 * 3_600_000 }, durationMs, measured)
      : scenario.dht === undefined
        ? start(
            { ...common, layer: layerFor(scenario) },
            program(scenario, durationMs, schedule, hostile, progress === undefined ? undefined : say)
          )
        : Dht.start(scenario.dht, common, durationMs, measured)
  for (let next = running.next(); ; next = running.next()) {
    if (next.done === true) return next.value
    progress?.(next.value.virtualMs, next.value.events, next.value.faultsAlive)
    // A run is synchronous; signals are heard in between.
    await setImmediate()
  }
}

/** A line that is written over, on a terminal; a line now and then elsewhere. */
const makeProgress = (durationMs: number) => {
  const began = performance.now()
  let shown = began
  const terminal = process.stderr.isTTY
  return {
    show: (virtualMs: number, events: number, faults: number) => {
      const now = performance.now()
      if (now - shown < (terminal ? 200 : 5000)) return
      shown = now
      const line = `${minutes(virtualMs)} of ${minutes(durationMs)} virtual, ${events} events, ${Math.round(
        events / ((now - began) / 1000)
      )} a second, ${faults} faults alive`
      process.stderr.write(terminal ? `\r\u001b[2K${line}` : `${line}\n`)
    },
    clear: () => {
      if (terminal) process.stderr.write("\r\u001b[2K")
    },
    wallMs: () => performance.now() - began
  }
}

/** Runs a scenario again with its trace going to a file. It is the same run: the hash says so. */
const writeTrace = async (
  file: string,
  again: (sink: (event: TraceEvent) => void) => Promise<SimulationReport>
): Promise<SimulationReport> => {
  mkdirSync(dirname(file), { recursive: true })
  const handle = openSync(file, "w")
  try {
    return await again((event) => writeSync(handle, `${formatEvent(event)}\n`))
  } finally {
    closeSync(handle)
  }
}

/** Runs one seed and prints what came of it. */
export const runSeed = async (options: Options, scenario: Scenario, seed: number): Promise<Result> => {
  const nodes = options.nodes ?? scenario.nodes
  const durationMs = options.durationMs ?? scenario.minutes * 60_000
  const whole = scheduleOf(scenario, seed, nodes - hostileOf(scenario, seed, nodes), durationMs)
  const schedule = options.faults === undefined ? whole : whole.filter((_, index) => options.faults?.includes(index))
  const go = (
    faults: ReadonlyArray<ScheduledFault>,
    show?: ReturnType<typeof makeProgress>["show"],
    sink?: (event: TraceEvent) => void,
    measured?: (figures: Figures) => void
  ) => runOnce(scenario, nodes, seed, durationMs, options.shuffle, faults, show, sink, measured)

  const progress = makeProgress(durationMs)
  let figures: Figures | undefined
  let report = await go(schedule, progress.show, undefined, (all) => (figures = all))
  progress.clear()
  const wallMs = progress.wallMs()
  let problem = report.problem
  if (options.checkDeterminism) {
    const second = await go(schedule)
    if (!options.json) say(`trace ${report.hash}\ntrace ${second.hash}  (second run)`)
    if (second.hash !== report.hash) problem = `not deterministic: the second run has trace ${second.hash}`
  }
  const result: Result = {
    event: "result",
    ok: problem === undefined,
    scenario: scenario.name,
    seed,
    nodes,
    hash: report.hash,
    virtualMs: Math.round(report.virtualMs),
    wallMs: Math.round(wallMs),
    events: report.events,
    eventsPerSecond: Math.round(report.events / (wallMs / 1000)),
    rssMiB: Math.round(process.memoryUsage.rss() / 1024 / 1024),
    faults: schedule.length,
    reached: Object.fromEntries(report.reached),
    ...(figures === undefined ? {} : { figures }),
    ...(problem === undefined ? {} : { problem })
  }
  if (problem !== undefined || options.trace) {
    const file = join(options.traces, `${scenario.name}-${nodes}-${seed}.trace`)
    report = await writeTrace(file, (sink) => go(schedule, undefined, sink))
    say(`trace: ${file}  (read it with: npm run sim -- show ${file})`)
  }
  if (problem !== undefined) {
    say(`\nFAILED  ${scenario.name}, seed ${seed}: ${problem}`)
    say(`again:  ${repeatLine(options, scenario, nodes, seed, options.faults)}`)
    if (report.problem !== undefined && schedule.length > 1) {
      say("looking for the faults that it needs ...")
      const fewest = await shrink(schedule, async (faults) => (await go(faults)).problem !== undefined, 30)
      say(
        `${fewest.length} of ${schedule.length} faults are enough: ${repeatLine(
          options,
          scenario,
          nodes,
          seed,
          fewest.map((fault) => whole.indexOf(fault))
        )}`
      )
    }
  } else if (!options.json) {
    summary(result, report)
  }
  if (options.json) print(result)
  return result
}

const summary = (result: Result, report: SimulationReport): void => {
  const reached = [...report.reached].map(([name, count]) => `${name} ${count}`).join(", ")
  const faults = [...report.faults].map(([name, count]) => `${name} ${count}`).join(", ")
  process.stdout.write(
    [
      `${result.scenario}: ok, seed ${result.seed}, ${result.nodes} nodes`,
      `  virtual time  ${minutes(result.virtualMs)} in ${(result.wallMs / 1000).toFixed(1)} s`,
      `  events        ${result.events}, ${result.eventsPerSecond} a second`,
      `  memory        ${result.rssMiB} MiB, ${Math.round((result.rssMiB * 1024) / result.nodes)} KiB a node`,
      `  faults        ${faults === "" ? "none" : faults}`,
      `  reached       ${reached === "" ? "nothing in particular" : reached}`,
      ...Object.entries(result.figures ?? {}).map(([name, figure]) => `  ${name}: ${figure}`),
      `  trace         ${result.hash}`,
      ""
    ].join("\n")
  )
}

const ResultLine = Schema.fromJsonString(
  Schema.Struct({
    event: Schema.Literal("result"),
    ok: Schema.Boolean,
    seed: Schema.Finite,
    hash: Schema.String,
    events: Schema.Finite,
    wallMs: Schema.Finite,
    reached: Schema.Record(Schema.String, Schema.Finite),
    problem: Schema.optionalKey(Schema.String)
  })
)

/** Runs many seeds, each core its share, in processes of their own. */
export const runSeeds = async (options: Options, scenario: Scenario, from: number, to: number): Promise<boolean> => {
  const began = performance.now()
  const failed: Array<{ readonly seed: number; readonly problem: string }> = []
  /** In how many runs each thing was reached. */
  const reached = new Map((scenario.expects ?? []).map((name) => [name, 0]))
  let done = 0
  let events = 0
  let next = from
  const nodes = options.nodes ?? scenario.nodes
  const total = to - from + 1
  const decode = Schema.decodeUnknownOption(ResultLine)

  /** A process that runs `share` seeds in a row, so that its start is paid once for all of them. */
  const worker = (first: number, last: number) =>
    new Promise<void>((resolve) => {
      const args = [
        ...process.execArgv,
        process.argv[1] ?? "",
        "sim",
        "--json",
        "--scenario",
        scenario.name,
        "--nodes",
        String(nodes),
        "--seeds",
        `${first}..${last}`,
        "--traces",
        options.traces,
        ...(options.durationMs === undefined ? [] : ["--for", `${options.durationMs / 1000}s`]),
        ...(options.shuffle ? ["--shuffle"] : []),
        ...(options.checkDeterminism ? ["--check-determinism"] : [])
      ]
      const child = spawn(process.execPath, args, {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, [workerVariable]: "1" }
      })
      let errors = ""
      let expected = first
      child.stderr.on("data", (data) => (errors = (errors + String(data)).slice(-4000)))
      createInterface(child.stdout).on("line", (line) => {
        const result = decode(line)
        if (result._tag === "None") return
        const { ok, problem, seed } = result.value
        done++
        expected = seed + 1
        events += result.value.events
        for (const [name, times] of Object.entries(result.value.reached))
          if (times > 0) reached.set(name, (reached.get(name) ?? 0) + 1)
        if (!ok) failed.push({ seed, problem: problem ?? "failed" })
        if (options.json) process.stdout.write(`${line}\n`)
        else if (process.stderr.isTTY)
          process.stderr.write(`\r\u001b[2K${done} of ${total} seeds, ${failed.length} failed`)
        else if (done % 25 === 0) say(`${done} of ${total} seeds, ${failed.length} failed`)
      })
      child.on("close", (code) => {
        for (let seed = expected; seed <= last; seed++) {
          failed.push({ seed, problem: `its process ended with ${code}: ${errors.split("\n").slice(-3).join(" ")}` })
        }
        resolve()
      })
    })

  const share = Math.max(1, Math.min(10, Math.ceil(total / availableParallelism() / 2)))
  const lane = async () => {
    while (next <= to) {
      const first = next
      next = Math.min(next + share, to + 1)
      await worker(first, next - 1)
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), total) }, lane))
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[2K")
  const wallMs = Math.round(performance.now() - began)
  for (const { problem, seed } of failed.toSorted((a, b) => a.seed - b.seed)) {
    say(`FAILED  seed ${seed}: ${problem.split("\n")[0]}\n        ${repeatLine(options, scenario, nodes, seed)}`)
  }
  const missed = [...reached].flatMap(([name, runs]) => (runs === 0 ? [name] : []))
  if (options.json) {
    print({
      event: "results",
      ok: failed.length === 0,
      scenario: scenario.name,
      nodes,
      seeds: total,
      failed: failed.map(({ seed }) => seed),
      events,
      wallMs,
      reached: Object.fromEntries(reached),
      missed
    })
  } else {
    const counts = [...reached].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, runs]) => `  ${runs} ${name}`)
    process.stdout.write(`reached, in so many runs:\n${counts.join("\n")}\n`)
    if (missed.length > 0) say(`never reached: ${missed.join(", ")}`)
    process.stdout.write(
      `${scenario.name}: ${total - failed.length} of ${total} seeds ok, ${events} events in ${(wallMs / 1000).toFixed(1)} s\n`
    )
  }
  return failed.length === 0
}
