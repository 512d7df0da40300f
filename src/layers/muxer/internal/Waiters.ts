/** Fibers that wait for one condition. They check it again themselves: being woken promises nothing. */
import * as Effect from "effect/Effect"

type Wake = (effect: Effect.Effect<void>) => void

export class Waiters {
  /** Made when somebody waits for the first time: for most conditions of most connections nobody does. */
  private waiting: Set<Wake> | undefined

  get wait(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiting = (this.waiting ??= new Set())
      waiting.add(resume)
      return Effect.sync(() => waiting.delete(resume))
    })
  }

  get size(): number {
    return this.waiting?.size ?? 0
  }

  /** Wakes those who came first, at most `count`. Who waits again meanwhile is not woken again. */
  wake(count = Number.POSITIVE_INFINITY): void {
    const { waiting } = this
    if (waiting === undefined) return
    for (let left = Math.min(count, waiting.size); left > 0; left -= 1) {
      const [resume] = waiting
      if (resume === undefined) return
      waiting.delete(resume)
      resume(Effect.void)
    }
  }
}
