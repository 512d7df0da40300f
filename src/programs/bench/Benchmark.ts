/**
 * What a benchmark is, and how one is run: ours and theirs in turns, so that
 * what else the machine does falls on both.
 */
import { Effect, Schema, type Scope } from "effect"
import type { Peer, PeerError, Stack } from "./Peers.ts"
import * as Peers from "./Peers.ts"
import { type Row, statistics } from "./Table.ts"

/** How much to measure. */
export interface Effort {
  readonly rounds: number
  /** Length of a round of the benchmarks that go on for a time. */
  readonly seconds: number
  /** Before the first round, so that compilers have seen the code. */
  readonly warmupSeconds: number
  /** Connections of `idle-memory`. */
  readonly idleConnections: number
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
  /** Starts and warms up the peers of a stack. */
  readonly prepare: (stack: Stack, effort: Effort) => Effect.Effect<Prepared, PeerError, Scope.Scope>
}

/** What a peer answers when it has done something for a time. */
const Done = Schema.Struct({ count: Schema.Finite, seconds: Schema.Finite })

/** A benchmark of a rate: how often a dialer does something in a second, divided by `per`. */
export const rate = (
  facts: Pick<Benchmark, "name" | "unit" | "about">,
  command: Pick<Peers.Command, "run" | "size" | "concurrency">,
  per = 1
): Benchmark => ({
  ...facts,
  better: "higher",
  prepare: (stack, { seconds, warmupSeconds }) =>
    Effect.gen(function* () {
      const { address } = yield* Peers.run(stack, "listen")
      const dialer: Peer = yield* Peers.run(stack, "dial")
      yield* dialer.ask({ ...command, address, seconds: warmupSeconds }, Done)
      const round = dialer.ask({ ...command, address, seconds }, Done)
      return { round: Effect.map(round, (done) => done.count / done.seconds / per) }
    })
})

const ratioOf = (better: Benchmark["better"], ours: number, theirs: number): number =>
  better === "higher" ? ours / theirs : theirs / ours

/** Runs one benchmark with this library and the other stacks, in turns. */
export const run = (
  benchmark: Benchmark,
  others: ReadonlyArray<Stack>,
  effort: Effort,
  progress: (text: string) => void
): Effect.Effect<Row, PeerError> =>
  Effect.gen(function* () {
    const { better, name, unit } = benchmark
    const sides = yield* Effect.forEach([Peers.ours, ...others], (stack) =>
      Effect.gen(function* () {
        progress(`${name}: starting ${stack.name}`)
        const values: Array<number> = []
        const { round } = yield* benchmark.prepare(stack, effort)
        return { stack, values, measure: round }
      })
    )
    for (let round = 1; round <= effort.rounds; round++) {
      for (const { measure, stack, values } of sides) {
        const value = yield* Effect.scoped(measure)
        values.push(value)
        progress(`${name}: round ${round} of ${effort.rounds}, ${stack.name} ${value.toPrecision(3)} ${unit}`)
      }
    }
    const [own, ...theirs] = sides.map(({ stack, values }) => ({ name: stack.name, ...statistics(values) }))
    const ours = { median: own?.median ?? 0, min: own?.min ?? 0, max: own?.max ?? 0 }
    return {
      name,
      unit,
      better,
      ours,
      peers: Object.fromEntries(theirs.map(({ name, ...values }) => [name, values])),
      ratios: Object.fromEntries(theirs.map((peer) => [peer.name, ratioOf(better, ours.median, peer.median)]))
    }
  }).pipe(Effect.scoped)
