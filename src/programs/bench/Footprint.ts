/** What a node costs while it does nothing. */
import { Effect, Schema } from "effect"
import type { Benchmark } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

const Memory = Schema.Struct({ bytes: Schema.Finite })
const kibibyte = 1024
/** Made before the first measurement, so that what is loaded and compiled once is not counted. */
const firstConnections = 100

const idleMemory: Benchmark = {
  name: "idle-memory",
  unit: "KiB",
  better: "lower",
  about: "growth of the listener's resident memory for each idle connection, after garbage collection",
  prepare: (stack, { idleConnections }) =>
    Effect.succeed({
      round: Effect.gen(function* () {
        const listener = yield* Peers.run(stack, "listen")
        const dialer = yield* Peers.run(stack, "dial")
        const hold = (count: number) => dialer.ask({ run: "hold", address: listener.address, count }, Schema.Struct({}))
        yield* hold(firstConnections)
        const before = yield* listener.ask({ run: "memory" }, Memory)
        yield* hold(idleConnections)
        const after = yield* listener.ask({ run: "memory" }, Memory)
        return (after.bytes - before.bytes) / idleConnections / kibibyte
      })
    })
}

const start: Benchmark = {
  name: "start",
  unit: "ms",
  better: "lower",
  about: "from the start of the process to a minimal node that listens",
  prepare: (stack) => Effect.succeed({ round: Effect.map(Peers.run(stack, "listen"), ({ readyMs }) => readyMs) })
}

export const footprint = [idleMemory, start]
