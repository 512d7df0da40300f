/**
 * Many seeds of a scenario, shared out over the cores: each share in a process of
 * its own, which says what came of each seed. What failed is told at the end,
 * with the line that repeats it, and so is what no seed has reached.
 */
import { spawn } from "node:child_process"
import { availableParallelism } from "node:os"
import process from "node:process"
import { createInterface } from "node:readline"
import * as Schema from "effect/Schema"
import { argumentsFor } from "./Process.ts"
import { say } from "./Progress.ts"
import { type Options, print, repeatLine } from "./Run.ts"
import type { Scenario } from "./Scenario.ts"

/** Set for the processes that run a share of the seeds, so that they do not share them out again. */
export const workerVariable = "EFFECT_LIBP2P_SIM_WORKER"

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
      const child = spawn(process.execPath, argumentsFor(args), {
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
