/** Proofs that a test leaves nothing behind: sockets, listeners, timers, look-ups, fibers, memory. */
import { type Effect as Effects, Effect, type Metric } from "effect"
import * as v8 from "node:v8"
import * as vm from "node:vm"

/** What a node may hold open. Pipes and files belong to the test runner. */
const watched = /^(TCP|UDP|GetAddrInfo|Query|Shutdown|Write|Timeout)/

export type Resources = ReadonlyMap<string, number>

/** Handles, requests and timers of this process that are open now, by kind. */
export const resources = (): Resources => {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) {
    if (watched.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return counts
}

/** What is open beyond `baseline`, such as `TCPSocketWrap (2)`. */
export const beyond = (baseline: Resources): ReadonlyArray<string> =>
  [...resources()].flatMap(([kind, count]) => {
    const more = count - (baseline.get(kind) ?? 0)
    return more > 0 ? [`${kind} (${more})`] : []
  })

/** What is still open beyond `baseline` after `patienceMs`; the system closes handles a little later than asked. */
export const leftBehind = async (baseline: Resources, patienceMs = 3000): Promise<ReadonlyArray<string>> => {
  // A whole turn, so that what ends with this one has ended.
  await new Promise((resolve) => setImmediate(resolve))
  const patience = Date.now() + patienceMs
  for (;;) {
    const left = beyond(baseline)
    if (left.length === 0 || Date.now() > patience) return left
    await new Promise((resolve) => setTimeout(resolve, 10).unref())
  }
}

/** Counts the fibers that are alive: provide it as `Metric.FiberRuntimeMetrics` to what is to be watched. */
export class FiberLedger implements Metric.FiberRuntimeMetricsService {
  alive = 0
  readonly recordFiberStart = (): void => {
    this.alive += 1
  }
  readonly recordFiberEnd = (): void => {
    this.alive -= 1
  }
}

v8.setFlagsFromString("--expose-gc")
const collect: unknown = vm.runInNewContext("gc")

/** Bytes of heap and buffers in use after a collection. */
export const usedBytes: Effects.Effect<number> = Effect.gen(function*() {
  for (let i = 0; i < 3; i++) {
    if (typeof collect === "function") collect()
    yield* Effect.sleep(5)
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
})
