/**
 * Deadlines: many waits that must end, on one fiber that sleeps until the first
 * of them is due. Nearly every wait ends in time, so that all a deadline costs
 * is to be noted and to be taken back: no timer, no fiber, no race.
 *
 * The sleeper belongs to the scope that they were made in. It is not woken when
 * the deadline that it sleeps for is taken back: it finds nothing due, and sleeps
 * on until the next one or ends.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { Expiries } from "./Expiries.ts"

interface Entry {
  readonly expiresAt: number
  /** Gone once it was called or taken back. */
  late: (() => void) | undefined
}

/** Entries that were taken back and wait for their time, above which they are dropped if they are the most. */
const maxIdle = 256

export class Deadlines {
  private readonly clock: Clock.Clock
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private readonly entries = new Expiries<Entry>()
  /** Entries that were taken back. */
  private idle = 0
  private sleeper: Fiber.Fiber<void> | undefined
  private wakesAt = Number.POSITIVE_INFINITY

  /** Use {@link make}. */
  constructor(clock: Clock.Clock, fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.clock = clock
    this.fork = fork
  }

  /** Calls `late` after so many milliseconds, in a fiber of its own, unless what it gives is called before. */
  after(ms: number, late: () => void): () => void {
    const entry: Entry = { expiresAt: this.now() + ms, late }
    this.entries.add(entry)
    if (entry.expiresAt < this.wakesAt) this.restart(entry.expiresAt)
    return () => {
      if (entry.late === undefined) return
      entry.late = undefined
      if (++this.idle <= maxIdle || this.idle * 2 <= this.entries.size) return
      this.entries.keep((other) => other.late !== undefined)
      this.idle = 0
    }
  }

  /**
   * Runs `effect` in a fiber of its own, for so many milliseconds at most: then it is interrupted, and `orElse` comes
   * once it has ended. One that ends without waiting sets no deadline.
   */
  within<A, E, R, B, E2, R2>(
    effect: Effect.Effect<A, E, R>,
    ms: number,
    orElse: () => Effect.Effect<B, E2, R2>
  ): Effect.Effect<A | B, E | E2, R | R2> {
    if (Exit.isExit(effect)) return effect
    return Effect.contextWith((context: Context.Context<R>) =>
      Effect.callback<A | B, E | E2, R2>((resume) => {
        // Here, where no turn ends: there is no moment in which nobody would end it.
        const fiber = Effect.runForkWith(context)(effect)
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return resume(exit)
        let isLate = false
        const takeBack = this.after(ms, () => {
          isLate = true
          fiber.interruptUnsafe()
        })
        fiber.addObserver((ended) => {
          takeBack()
          resume(isLate && Exit.isFailure(ended) ? orElse() : ended)
        })
        return Fiber.interrupt(fiber)
      })
    )
  }

  /** Ends the sleeper. Whoever sets a deadline all the same, later, has one of their own. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.wakesAt = Number.POSITIVE_INFINITY
      return this.sleeper === undefined ? Effect.void : Fiber.interrupt(this.sleeper)
    })
  }

  private now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  private restart(at: number): void {
    this.sleeper?.interruptUnsafe()
    this.wakesAt = at
    this.sleeper = this.fork(this.sleep)
  }

  private readonly sleep: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(Effect.sleep(Math.max(1, Math.ceil(this.wakesAt - this.now()))), () => {
      // Until all that is due was done, no other sleeper is started.
      this.wakesAt = Number.NEGATIVE_INFINITY
      const now = this.now()
      for (let entry = this.entries.takeDue(now); entry !== undefined; entry = this.entries.takeDue(now)) {
        const { late } = entry
        entry.late = undefined
        if (late === undefined) this.idle -= 1
        // A defect in one of them is not one of the others.
        else this.fork(Effect.ignoreCause(Effect.sync(late), { log: "Error" }))
      }
      this.wakesAt = this.entries.next
      return this.wakesAt === Number.POSITIVE_INFINITY ? Effect.void : this.sleep
    })
  )
}

/** Deadlines until the scope closes. */
export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function* () {
  const deadlines = new Deadlines(yield* Clock.Clock, Effect.runForkWith(yield* Effect.context()))
  yield* Effect.addFinalizer(() => deadlines.end)
  return deadlines
})
