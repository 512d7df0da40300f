/** Proofs that a test leaves nothing behind: sockets, listeners, timers, look-ups, fibers. Loads nothing: every test file does. */
import type { Metric } from "effect"

/** What a node may hold open. Pipes, files and the timers that Node lists belong to the test runner as well. */
const watched = /^(TCP|UDP|GetAddrInfo|Query|Shutdown)/

const timers = new Set<NodeJS.Timeout>()

let watching = false

/** Watches the timers that are made from now on; the runner has its own way to make its. */
export const watchTimers = (): void => {
  // Files of one worker share it.
  if (watching) return
  watching = true
  const { setInterval, setTimeout } = globalThis
  const forgetting = (clear: typeof clearTimeout): typeof clearTimeout =>
    new Proxy(clear, {
      apply: (_, __, [timer]: Parameters<typeof clearTimeout>) => {
        if (typeof timer === "object") timers.delete(timer)
        clear(timer)
      }
    })
  globalThis.setTimeout = new Proxy(setTimeout, {
    apply: (_, __, [run, ...rest]: [(...args: ReadonlyArray<unknown>) => void, number, ...Array<unknown>]) => {
      const timer = setTimeout(
        (...args) => {
          timers.delete(timer)
          run(...args)
        },
        ...rest
      )
      timers.add(timer)
      return timer
    }
  })
  globalThis.setInterval = new Proxy(setInterval, {
    apply: (_, __, args: Parameters<typeof setInterval>) => {
      const timer = setInterval(...args)
      timers.add(timer)
      return timer
    }
  })
  globalThis.clearTimeout = forgetting(globalThis.clearTimeout)
  globalThis.clearInterval = forgetting(globalThis.clearInterval)
}

export type Resources = ReadonlyMap<string, number>

/** Handles, requests and timers of this process that are open now, by kind. */
export const resources = (): Resources => {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) {
    if (watched.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  for (const timer of timers) if (timer.hasRef()) counts.set("timer", (counts.get("timer") ?? 0) + 1)
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
