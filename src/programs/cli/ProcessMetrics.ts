/** The process in numbers: memory, processor, and how late the event loop is. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import process from "node:process"
import * as Catalogue from "../../layers/observability/Catalogue.ts"
import { Instruments } from "../../layers/observability/Instruments.ts"

/** How often the event loop is looked at; what is measured holds this wait too. */
const resolution = 20

const seconds = (nanos: number): number => (Number.isFinite(nanos) ? Math.max(0, nanos / 1e9 - resolution / 1000) : 0)

/** Gives what reads the numbers into the metric registry; the lag is that since the last reading. */
export const make: Effect.Effect<Effect.Effect<void>, never, Scope.Scope> = Effect.gen(function* () {
  const instruments = new Instruments(yield* Effect.context())
  const lag = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const histogram = monitorEventLoopDelay({ resolution })
      histogram.enable()
      return histogram
    }),
    (histogram) =>
      Effect.sync(() => {
        histogram.disable()
        instruments.removeAll()
      })
  )
  return Effect.sync(() => {
    const memory = process.memoryUsage()
    const { system, user } = process.cpuUsage()
    instruments.set(Catalogue.resident, memory.rss)
    instruments.set(Catalogue.heapTotal, memory.heapTotal)
    instruments.set(Catalogue.heapUsed, memory.heapUsed)
    instruments.set(Catalogue.external, memory.external)
    instruments.set(Catalogue.cpu, (user + system) / 1e6)
    instruments.set(Catalogue.started, performance.timeOrigin / 1000)
    instruments.set(Catalogue.lagMean, seconds(lag.mean))
    instruments.set(Catalogue.lagP99, seconds(lag.percentile(99)))
    instruments.set(Catalogue.lagMax, seconds(lag.max))
    lag.reset()
  })
})
