/** The commands of `effect-libp2p sim`, between the flags and the runs. */
import * as Effect from "effect/Effect"
import process from "node:process"
import { Reported, UsageError } from "../cli/Failure.ts"
import { withRoom } from "./Process.ts"
import { type Options, find, runSeed } from "./Run.ts"
import * as Scale from "./Scale.ts"
import { scenarios } from "./Scenario.ts"
import { runSeeds, workerVariable } from "./Seeds.ts"
import * as Show from "./Show.ts"
import * as Lan from "./Lan.ts"

export interface Flags extends Omit<Options, "seeds" | "faults"> {
  readonly seeds: string | undefined
  readonly faults: string | undefined
}

const usage = (detail: string) => Effect.fail(new UsageError({ detail }))
const maxNodes = 60_000
/** Heap that is kept ready for a node, in MiB: about twice what one has that others talk with. */
const nodeMiB = 5

const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

/** A failure of reading files, in one sentence. */
const reading = <A>(run: () => Promise<A>): Effect.Effect<A, UsageError> =>
  Effect.tryPromise({
    try: run,
    catch: (error) => new UsageError({ detail: error instanceof Error ? error.message : String(error) })
  })

export const run = Effect.fnUntraced(function* (flags: Flags) {
  const scenario = find(flags.scenario)
  if (scenario === undefined) {
    return yield* usage(
      `--scenario: there is no scenario ${flags.scenario}; there are ${scenarios.map(({ name }) => name).join(", ")}`
    )
  }
  const [least, most] = scenario.lan === undefined ? [2, maxNodes] : [Lan.minNodes[scenario.lan], Lan.maxNodes]
  if (flags.nodes !== undefined && (flags.nodes < least || flags.nodes > most)) {
    return yield* usage(`--nodes: ${flags.nodes} nodes cannot be run; from ${least} to ${most} can`)
  }
  const seeds = flags.seeds === undefined ? undefined : /^(\d+)\.\.(\d+)$/.exec(flags.seeds)
  if (seeds === null) return yield* usage(`--seeds: ${flags.seeds} is no range such as 1..500`)
  const faults =
    flags.faults === undefined ? undefined : flags.faults === "none" ? [] : flags.faults.split(",").map(Number)
  if (faults?.some((index) => !Number.isInteger(index) || index < 0) === true) {
    return yield* usage(`--faults: ${flags.faults} is no list of numbers such as 3,7,9, nor none`)
  }
  const range = seeds === undefined ? undefined : ([Number(seeds[1]), Number(seeds[2])] as const)
  const options: Options = { ...flags, seeds: range, faults }
  const sharesOut = range !== undefined && process.env[workerVariable] === undefined
  const elsewhere = sharesOut ? undefined : withRoom(nodeMiB * (options.nodes ?? scenario.nodes))
  let ok = true
  if (elsewhere !== undefined) {
    ok = (yield* elsewhere) === 0
  } else if (range === undefined) {
    ok = (yield* Effect.promise(() => runSeed(options, scenario, flags.seed))).ok
  } else if (sharesOut) {
    ok = yield* Effect.promise(() => runSeeds(options, scenario, range[0], range[1]))
  } else {
    for (let seed = range[0]; seed <= range[1]; seed++) {
      const result = yield* Effect.promise(() => runSeed(options, scenario, seed))
      ok = result.ok && ok
    }
  }
  if (!ok) return yield* new Reported()
})

export const show = (file: string, filter: Show.Filter) =>
  Effect.flatMap(
    reading(() => Show.show(file, filter, print)),
    (shown) => (shown === 0 ? usage(`no event of ${file} passes these filters`) : Effect.void)
  )

export const diff = (left: string, right: string) =>
  Effect.flatMap(
    reading(() => Show.compare(left, right, print)),
    (same) => (same ? Effect.void : Effect.fail(new Reported()))
  )

export interface ScaleFlags extends Omit<Scale.Options, "sizes"> {
  readonly sizes: string
}

/** Measures the DHT with so many nodes each, and writes down what it found. */
export const scale = Effect.fnUntraced(function* (flags: ScaleFlags) {
  const sizes = [...new Set(flags.sizes.split(",").map(Number))].toSorted((a, b) => a - b)
  const wrong = sizes.find((nodes) => !Number.isInteger(nodes) || nodes < Scale.least || nodes > maxNodes)
  if (wrong !== undefined) {
    return yield* usage(
      `--sizes: ${flags.sizes} is no list such as 100,1000,10000 of numbers from ${Scale.least} to ${maxNodes}`
    )
  }
  const options: Scale.Options = { ...flags, sizes }
  const { ok, rows } = yield* Effect.promise(() => Scale.run(options))
  if (rows.length > 0) yield* reading(() => Scale.write(options, rows))
  if (!ok) return yield* new Reported()
})
