/** What has arrived and waits to be taken: connections for `accept`, datagrams for `receive`. Bounded. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"

export class Inbox<A> {
  readonly backlog: number
  /** Waits until there is something to take or the inbox is closed. Carries nothing, so an interruption loses nothing. */
  readonly arrived: Effect.Effect<void>
  private items: Array<A> = []
  private wakers = new Set<() => void>()
  private readonly schedule: (task: () => void) => void
  private isClosed = false
  private scheduled = false

  /** `schedule` says how waiters are woken: at once where the event comes from the system, else through the scheduler. */
  constructor(backlog: number, schedule: (task: () => void) => void) {
    this.backlog = Math.max(1, backlog)
    this.schedule = schedule
    this.arrived = Effect.callback<void>((resume) => {
      if (this.items.length > 0 || this.isClosed) return resume(Effect.void)
      const waker = () => resume(Effect.void)
      this.wakers.add(waker)
      return Effect.sync(() => {
        this.wakers.delete(waker)
      })
    })
  }

  get closed(): boolean {
    return this.isClosed
  }

  /** False, and nothing done, when it is full or closed. */
  put(item: A): boolean {
    if (this.isClosed || this.items.length >= this.backlog) return false
    this.items.push(item)
    this.wake()
    return true
  }

  take(): A | undefined {
    return this.items.shift()
  }

  /** Takes nothing more; gives what was waiting. */
  close(): ReadonlyArray<A> {
    this.isClosed = true
    this.wake()
    return this.items.splice(0)
  }

  private wake(): void {
    if (this.scheduled || this.wakers.size === 0) return
    this.scheduled = true
    this.schedule(this.wakeAll)
  }

  private readonly wakeAll = (): void => {
    this.scheduled = false
    const wakers = this.wakers
    this.wakers = new Set()
    for (const waker of wakers) waker()
  }
}

/**
 * Waits for something and takes it; it belongs to the scope of who takes it, whose closing runs `release`. What was taken
 * is never lost to an interruption. Fails with `closed` once the inbox is closed and empty.
 */
export const takeScoped = <A, E>(
  inbox: Inbox<A>,
  release: (item: A) => Effect.Effect<void>,
  closed: Effect.Effect<never, E>
): Effect.Effect<A, E, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      for (;;) {
        const item = inbox.take()
        if (item !== undefined) {
          yield* Scope.addFinalizer(scope, release(item))
          return item
        }
        if (inbox.closed) return yield* closed
        yield* restore(inbox.arrived)
      }
    })
  )
