/** What a node costs while it does nothing. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Benchmark, pair } from "./Benchmark.ts"
import { installed } from "./Installed.ts"
import * as Peers from "./Peers.ts"

const Memory = Schema.Struct({ bytes: Schema.Finite })
const kibibyte = 1024
/** Made before the first measurement, so that what is loaded and compiled once is not counted. */
const first = 100

/** What each of many idle things adds to the listener's resident memory. */
const idle = (name: string, about: string, run: "hold" | "hold-streams", perSecond: number): Benchmark => ({
  name,
  unit: "KiB",
  better: "lower",
  about: `${about}: what each adds to the listener's resident memory, after garbage collection`,
  rounds: ({ idleRounds }) => idleRounds,
  cost: ({ idle }) => ({ start: 0, round: 2 + (idle + first) / perSecond }),
  prepare: (stack, { idle }) =>
    Effect.succeed({
      round: Effect.gen(function* () {
        const [listener, dialer] = yield* pair(stack)
        const hold = (count: number) => dialer.ask({ run, address: listener.address, count }, Schema.Struct({}))
        yield* hold(first)
        const before = yield* listener.ask({ run: "memory" }, Memory)
        yield* hold(idle)
        const after = yield* listener.ask({ run: "memory" }, Memory)
        return (after.bytes - before.bytes) / idle / kibibyte
      })
    })
})

const start: Benchmark = {
  name: "start",
  unit: "ms",
  better: "lower",
  about: "from the start of the process to a minimal node that listens, imports included",
  cost: () => ({ start: 0, round: 0.7 }),
  prepare: (stack) => Effect.succeed({ round: Effect.map(Peers.run(stack, "listen"), ({ readyMs }) => readyMs) })
}

const rest: Benchmark = {
  name: "memory-at-rest",
  unit: "MiB",
  better: "lower",
  about: "resident memory of a minimal node that listens",
  rounds: ({ idleRounds }) => idleRounds,
  cost: () => ({ start: 0, round: 1 }),
  prepare: (stack) =>
    Effect.succeed({
      round: Effect.gen(function* () {
        const listener = yield* Peers.run(stack, "listen")
        const { bytes } = yield* listener.ask({ run: "memory" }, Memory)
        return bytes / kibibyte / kibibyte
      })
    })
}

export const footprint: ReadonlyArray<Benchmark> = [
  idle("idle-connections", "many idle connections, each from a node of its own; Noise", "hold", 150),
  idle("idle-streams", "many idle streams on one connection", "hold-streams", 1000),
  start,
  rest,
  ...installed
]
