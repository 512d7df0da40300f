/**
 * What a benchmark is, and how one is run: ours and theirs in turns, so that
 * what else the machine does falls on all.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Row } from "./Report.ts"
import * as Peers from "./Peers.ts"
import { type PeerError, type Security, type Stack } from "./Peers.ts"
import { ratioOf, statistics } from "./Statistics.ts"

/** How much to measure. */
export interface Effort {
  readonly rounds: number
  /** Length of a round of the benchmarks that go on for a time. */
  readonly seconds: number
  /** Before the first round, so that compilers have seen the code. */
  readonly warmupSeconds: number
  /** Connections and streams of the benchmarks of memory. */
  readonly idle: number
  /** Rounds of those, which are long. */
  readonly idleRounds: number
  /** Nodes of a DHT. */
  readonly nodes: number
  /** How long they are left alone when they have joined. */
  readonly settleSeconds: number
  /** Whether to measure the limits of the machine too. */
  readonly limits: boolean
}

export interface Prepared {
  /** Measures once, in the unit of the benchmark. */
  readonly round: Effect.Effect<number, PeerError, Scope.Scope>
}

export interface Benchmark {
  readonly name: string
  readonly unit: string
  readonly better: "higher" | "lower"
  /** One line for people. */
  readonly about: string
  /** What else is measured in the same turns, for context. */
  readonly limits?: ReadonlyArray<Stack>
  /** The stacks that it can be measured with. Default: all. */
  readonly peers?: ReadonlyArray<string>
  /** Default: those of the effort. */
  readonly rounds?: (effort: Effort) => number
  /** What a side takes, in seconds, on a machine that does nothing else. */
  readonly cost: (effort: Effort) => { readonly start: number; readonly round: number }
  /** Starts and warms up the peers of a stack. */
  readonly prepare: (stack: Stack, effort: Effort) => Effect.Effect<Prepared, PeerError, Scope.Scope>
  /** A limit that is not measured by a stack. */
  readonly known?: Effect.Effect<Readonly<Record<string, number>>>
}

/** What a peer answers when it has done something for a time. */
export const Done = Schema.Struct({ count: Schema.Finite, seconds: Schema.Finite })

export interface RateFacts extends Pick<Benchmark, "name" | "unit" | "about" | "limits"> {
  readonly security?: Security
  /** How many times as long as others it is warmed up. Default 1. */
  readonly warmup?: number
}

/** Starts a listener and a dialer of a stack. */
export const pair = (stack: Stack, security?: Security) =>
  Effect.all([Peers.run(stack, "listen", security), Peers.run(stack, "dial", security)], { concurrency: "unbounded" })

/** A benchmark of a rate: how often a dialer does something in a second, divided by `per`. */
export const rate = (
  facts: RateFacts,
  command: Omit<Peers.Command, "address" | "seconds" | "count">,
  per = 1
): Benchmark => ({
  ...facts,
  better: "higher",
  cost: ({ seconds, warmupSeconds }) => ({ start: 1 + warmupSeconds * (facts.warmup ?? 1), round: seconds }),
  prepare: (stack, { seconds, warmupSeconds }) =>
    Effect.gen(function* () {
      const [{ address }, dialer] = yield* pair(stack, facts.security)
      yield* dialer.ask({ ...command, address, seconds: warmupSeconds * (facts.warmup ?? 1) }, Done)
      const round = dialer.ask({ ...command, address, seconds }, Done)
      return { round: Effect.map(round, (done) => done.count / done.seconds / per) }
    })
})

export const roundsOf = (benchmark: Benchmark, effort: Effort): number => benchmark.rounds?.(effort) ?? effort.rounds

interface Side {
  readonly stack: Stack
  readonly limit: boolean
}

/** Who takes part. */
export const sidesOf = (benchmark: Benchmark, others: ReadonlyArray<Stack>, effort: Effort): ReadonlyArray<Side> => [
  { stack: Peers.ours, limit: false },
  ...others.filter(({ name }) => benchmark.peers?.includes(name) ?? true).map((stack) => ({ stack, limit: false })),
  ...(effort.limits ? (benchmark.limits ?? []) : []).map((stack) => ({ stack, limit: true }))
]

/** How long a benchmark takes, in seconds, on a machine that does nothing else. */
export const estimate = (benchmark: Benchmark, others: ReadonlyArray<Stack>, effort: Effort): number => {
  const { round, start } = benchmark.cost(effort)
  return sidesOf(benchmark, others, effort).length * (start + round * roundsOf(benchmark, effort))
}

/**
 * Runs one benchmark with this library and the other stacks, in turns. A peer that fails is left out and told of in
 * `failed`; ours is not.
 */
export const run = (
  benchmark: Benchmark,
  others: ReadonlyArray<Stack>,
  effort: Effort,
  progress: (text: string) => void,
  failed: (text: string) => void
): Effect.Effect<Row, PeerError> =>
  Effect.gen(function* () {
    const { better, name, unit } = benchmark
    const rounds = roundsOf(benchmark, effort)
    const sides: Array<Side & Prepared & { readonly values: Array<number> }> = []
    const measured = <A, R>(stack: Stack, effect: Effect.Effect<A, PeerError, R>) =>
      stack === Peers.ours
        ? Effect.map(effect, (value): A | undefined => value)
        : effect.pipe(
            Effect.catch((error) =>
              Effect.sync((): A | undefined => {
                failed(`${name}, ${stack.name}: ${error.message}`)
                return undefined
              })
            )
          )
    for (const side of sidesOf(benchmark, others, effort)) {
      progress(`${name}: starting ${side.stack.name}`)
      const prepared = yield* measured(side.stack, benchmark.prepare(side.stack, effort))
      if (prepared !== undefined) sides.push({ ...side, ...prepared, values: [] })
    }
    const out = new Set<Stack>()
    for (let number = 1; number <= rounds; number++) {
      for (const { round, stack, values } of sides) {
        if (out.has(stack)) continue
        const value = yield* measured(stack, Effect.scoped(round))
        if (value === undefined) out.add(stack)
        else values.push(value)
        progress(`${name}: round ${number} of ${rounds}, ${stack.name} ${value?.toPrecision(3) ?? "failed"} ${unit}`)
      }
    }
    const results = sides
      .filter(({ stack }) => !out.has(stack))
      .map((side) => ({ ...side, ...statistics(side.values) }))
    const ours = statistics(sides.find(({ stack }) => stack === Peers.ours)?.values ?? [])
    const peers = results.filter(({ limit, stack }) => !limit && stack !== Peers.ours)
    const nothing: Readonly<Record<string, number>> = {}
    const known = effort.limits && benchmark.known !== undefined ? yield* benchmark.known : nothing
    const limits = Object.fromEntries([
      ...results.filter(({ limit }) => limit).map((side) => [side.stack.name, statistics(side.values)] as const),
      ...Object.entries(known).map(([key, value]) => [key, statistics([value])] as const)
    ])
    return {
      name,
      unit,
      better,
      ours,
      peers: Object.fromEntries(peers.map(({ max, median, min, stack }) => [stack.name, { median, min, max }])),
      ratios: Object.fromEntries(peers.map(({ median, stack }) => [stack.name, ratioOf(better, ours.median, median)])),
      ...(Object.keys(limits).length === 0 ? {} : { limits })
    }
  }).pipe(Effect.scoped)
