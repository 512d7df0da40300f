/** What came of what a fiber has begun, in its order, for that fiber alone: no queue, and no timer for each wait. */
import * as Effect from "effect/Effect"
import type { Deadlines } from "./Deadlines.ts"

export class Outcomes<Outcome> {
  private readonly deadlines: Deadlines
  private readonly waiting: Array<Outcome> = []
  private wake: (() => void) | undefined

  constructor(deadlines: Deadlines) {
    this.deadlines = deadlines
  }

  put(outcome: Outcome): void {
    this.waiting.push(outcome)
    this.wake?.()
  }

  /** The next one; `undefined` if there is none for so long. */
  next(patienceMs: number): Effect.Effect<Outcome | undefined> {
    return Effect.callback((resume) => {
      const there = this.waiting.shift()
      if (there !== undefined) return resume(Effect.succeed(there))
      const done = () => {
        this.wake = undefined
        takeBack()
        resume(Effect.succeed(this.waiting.shift()))
      }
      const takeBack = this.deadlines.after(patienceMs, done)
      this.wake = done
      return Effect.sync(() => {
        this.wake = undefined
        takeBack()
      })
    })
  }
}
