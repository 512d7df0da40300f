/**
 * `effect-libp2p sim`: runs a scenario with one seed, shows where it is, and when
 * it fails leaves a trace and the line that repeats it. Many seeds are in Seeds.ts.
 */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs"
import { dirname, join } from "node:path"
import process from "node:process"
import { setImmediate } from "node:timers/promises"
import { type ScheduledFault, shrink } from "../../layers/simulation/Faults.ts"
import { type SimulationReport, start } from "../../layers/simulation/Simulate.ts"
import { formatEvent, type TraceEvent } from "../../layers/simulation/Trace.ts"
import * as Dht from "./Dht.ts"
import * as Lan from "./Lan.ts"
import { make as makeProgress, minutes, say, type Shown } from "./Progress.ts"
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
  /** The most that the process had at any time. */
  readonly peakMiB: number
  readonly faults: number
  /** How connections are secured, and whether by the real keys and ciphers, or by cheap ones that protect nothing. */
  readonly security: "noise" | "plaintext"
  readonly crypto: "real" | "cheap"
  /** How often each `sometimes` was reached. */
  readonly reached: Readonly<Record<string, number>>
  /** What the scenario measured, by name. */
  readonly figures?: Figures | undefined
  readonly problem?: string | undefined
}

export const print = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** Many nodes are had by what no node outside should do. */
export const protection = ({ dht, lan }: Scenario, nodes: number): Pick<Result, "crypto" | "security"> => ({
  security: dht === undefined ? "noise" : Dht.securityOf(dht, nodes),
  crypto: lan !== undefined || (dht !== undefined && Dht.hasCheapCrypto(nodes)) ? "cheap" : "real"
})

/** The same in words; empty where all is as it is outside. */
const shortcuts = (scenario: Scenario, nodes: number): string => {
  const { crypto, security } = protection(scenario, nodes)
  return [...(security === "plaintext" ? [security] : []), ...(crypto === "cheap" ? ["cheap crypto"] : [])].join(", ")
}

export const find = (name: string): Scenario | undefined => scenarios.find((scenario) => scenario.name === name)

/** The line that repeats a run. */
export const repeatLine = (
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
  progress: Shown["show"] | undefined,
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
    scenario.lan !== undefined
      ? Lan.start(scenario.lan, { ...common, until: durationMs + 3 * 3_600_000 }, durationMs, measured)
      : scenario.dht === undefined
        ? start(
            { ...common, layer: layerFor(scenario) },
            program(scenario, durationMs, schedule, hostile, progress === undefined ? undefined : say)
          )
        : Dht.start(scenario.dht, common, durationMs, measured)
  for (let next = running.next(); ; next = running.next()) {
    if (next.done === true) return next.value
    progress?.(next.value)
    // A run is synchronous; signals are heard in between.
    await setImmediate()
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
    show?: Shown["show"],
    sink?: (event: TraceEvent) => void,
    measured?: (figures: Figures) => void
  ) => runOnce(scenario, nodes, seed, durationMs, options.shuffle, faults, show, sink, measured)

  const shortened = shortcuts(scenario, nodes)
  const label = shortened === "" ? "" : `${shortened}; `
  const progress = makeProgress(durationMs, label)
  let figures: Figures | undefined
  let report = await go(schedule, progress.show, undefined, (all) => (figures = all))
  progress.clear()
  const wallMs = progress.wallMs()
  let problem = report.problem
  if (options.checkDeterminism) {
    const again = makeProgress(durationMs, `second run: ${label}`)
    const second = await go(schedule, again.show)
    again.clear()
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
    peakMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    faults: schedule.length,
    ...protection(scenario, nodes),
    reached: Object.fromEntries(report.reached),
    ...(figures === undefined ? {} : { figures }),
    ...(problem === undefined ? {} : { problem })
  }
  if (problem !== undefined || options.trace) {
    const file = join(options.traces, `${scenario.name}-${nodes}-${seed}.trace`)
    const writing = makeProgress(durationMs, "writing the trace: ")
    report = await writeTrace(file, (sink) => go(schedule, writing.show, sink))
    writing.clear()
    say(`trace: ${file}  (read it with: npm run sim -- show ${file})`)
  }
  if (problem !== undefined) {
    say(`\nFAILED  ${scenario.name}, seed ${seed}: ${problem}`)
    say(`again:  ${repeatLine(options, scenario, nodes, seed, options.faults)}`)
    if (report.problem !== undefined && schedule.length > 1) {
      say("looking for the faults that it needs ...")
      const fails = async (faults: ReadonlyArray<ScheduledFault>) => {
        const trying = makeProgress(durationMs, `with ${faults.length} faults: `)
        const tried = await go(faults, trying.show)
        trying.clear()
        return tried.problem !== undefined
      }
      const fewest = await shrink(schedule, fails, 30)
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
    summary(result, report, shortened)
  }
  if (options.json) print(result)
  return result
}

const summary = (result: Result, report: SimulationReport, shortened: string): void => {
  const reached = [...report.reached].map(([name, count]) => `${name} ${count}`).join(", ")
  const faults = [...report.faults].map(([name, count]) => `${name} ${count}`).join(", ")
  process.stdout.write(
    [
      `${result.scenario}: ok, seed ${result.seed}, ${result.nodes} nodes`,
      `  virtual time  ${minutes(result.virtualMs)} in ${(result.wallMs / 1000).toFixed(1)} s`,
      `  security      ${shortened === "" ? "as outside" : `${shortened}: they protect nothing, and cost less than outside`}`,
      `  events        ${result.events}, ${result.eventsPerSecond} a second`,
      `  memory        ${result.peakMiB} MiB at the most, ${Math.round((result.peakMiB * 1024) / result.nodes)} KiB a node`,
      `  faults        ${faults === "" ? "none" : faults}`,
      `  reached       ${reached === "" ? "nothing in particular" : reached}`,
      ...Object.entries(result.figures ?? {}).map(([name, figure]) => `  ${name}: ${figure}`),
      `  trace         ${result.hash}`,
      ""
    ].join("\n")
  )
}
