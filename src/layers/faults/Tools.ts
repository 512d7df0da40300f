/** What the decorators share: time, chance, wake-ups, and what the faults mean in numbers. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import { FaultControls, type FaultLink, type Faults } from "../../services/FaultControls.ts"

export interface FaultOptions {
  /** Bytes that each direction of a connection may hold back; more waits at the sender. Default 1 MiB. */
  readonly capacityBytes?: number | undefined
  /** How long a closing scope waits for bytes held back before `closeWrite`, in milliseconds. Default 5,000. */
  readonly lingerMs?: number | undefined
  /** After how long a new connection into a black hole times out, in milliseconds. Default 127,000, as on Linux. */
  readonly connectTimeoutMs?: number | undefined
}

export interface Tools {
  readonly controls: FaultControls["Service"]
  readonly random: Random.Random
  readonly dispatcher: Scheduler.SchedulerDispatcher
  readonly capacity: number
  readonly lingerMs: number
  readonly connectTimeoutMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Starts a fiber that belongs to nobody but the caller. */
  readonly context: Context.Context<never>
}

export const makeTools = (options: FaultOptions): Effect.Effect<Tools, never, FaultControls> =>
  Effect.gen(function* () {
    const controls = yield* FaultControls
    const random = yield* Random.Random
    const clock = yield* Clock.Clock
    const scheduler = yield* Scheduler.Scheduler
    return {
      controls,
      random,
      dispatcher: scheduler.makeDispatcher(),
      capacity: Math.max(1, options.capacityBytes ?? 1024 * 1024),
      lingerMs: options.lingerMs ?? 5000,
      connectTimeoutMs: options.connectTimeoutMs ?? 127_000,
      now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
      context: yield* Effect.context()
    }
  })

export const chance = (tools: Tools, probability: number | undefined): boolean =>
  probability !== undefined && probability > 0 && tools.random.nextDoubleUnsafe() < probability

/** How late the next bytes are, in milliseconds. */
export const sampleDelay = (tools: Tools, { delayMs }: Faults): number => {
  if (delayMs === undefined) return 0
  if (typeof delayMs === "number") return delayMs
  const draw = tools.random.nextDoubleUnsafe()
  if ("min" in delayMs) return delayMs.min + draw * Math.max(0, delayMs.max - delayMs.min)
  return delayMs.base - delayMs.tail * Math.log(1 - draw)
}

/** With the probability of the fault, flips a bit; the bytes must be the caller's own. */
export const maybeCorrupt = (tools: Tools, faults: Faults, bytes: Uint8Array): void => {
  if (bytes.length === 0 || !chance(tools, faults.corrupt)) return
  const bit = Math.floor(tools.random.nextDoubleUnsafe() * bytes.length * 8)
  const at = bit >>> 3
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
  tools.controls.count("corrupted")
}

/** Something changed: look again. Wakes from the scheduler's queue, never inline. */
export class Signal {
  private turn = 0
  private waiters = new Set<() => void>()
  private scheduled = false
  private readonly dispatcher: Scheduler.SchedulerDispatcher

  constructor(dispatcher: Scheduler.SchedulerDispatcher) {
    this.dispatcher = dispatcher
  }

  /** To be read before looking, and handed to `after`: so no change in between is missed. */
  get seen(): number {
    return this.turn
  }

  notify(): void {
    this.turn++
    if (this.scheduled || this.waiters.size === 0) return
    this.scheduled = true
    this.dispatcher.scheduleTask(this.wake, 0)
  }

  after(seen: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.turn !== seen) return resume(Effect.void)
      const waiter = () => resume(Effect.void)
      this.waiters.add(waiter)
      return Effect.sync(() => {
        this.waiters.delete(waiter)
      })
    })
  }

  private readonly wake = (): void => {
    this.scheduled = false
    const { waiters } = this
    this.waiters = new Set()
    for (const waiter of waiters) waiter()
  }
}

/** What stands before a new connection; done when it may be tried. */
export const beforeConnect = <E>(
  tools: Tools,
  host: string,
  refused: () => E,
  timedOut: () => E
): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    const faults = tools.controls.of(host)
    if (faults.refuse === true) {
      tools.controls.count("refused")
      return Effect.fail(refused())
    }
    if (faults.blackHole !== true) {
      const delay = sampleDelay(tools, faults) + sampleDelay(tools, faults)
      return delay > 0 ? Effect.sleep(Math.ceil(delay)) : Effect.void
    }
    const healed = new Signal(tools.dispatcher)
    const link: FaultLink = { host, cut: () => {}, changed: (now) => now.blackHole !== true && healed.notify() }
    return Effect.acquireUseRelease(
      Effect.sync(() => tools.controls.attach(link)),
      () => Effect.timeoutOption(healed.after(healed.seen), tools.connectTimeoutMs),
      (detach) => Effect.sync(detach)
    ).pipe(
      Effect.flatMap((waited) => {
        if (waited._tag === "Some") return beforeConnect(tools, host, refused, timedOut)
        tools.controls.count("refused")
        return Effect.fail(timedOut())
      })
    )
  })
