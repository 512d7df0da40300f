/**
 * Virtual time: what happens when. Nothing passes between events; the timeline
 * jumps from one to the next.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** An event to come. Cancelling it costs nothing and frees what it held. */
export interface Timer {
  readonly cancel: () => void
}

interface Entry {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A binary heap of events, by time and then by the order of scheduling. */
export class Timeline {
  /** Milliseconds since the start of the simulation; fractions are kept. */
  now = 0
  /** Events that have happened. */
  events = 0
  private heap: Array<Entry> = []
  private order = 0
  private cancelled = 0

  /** Runs `task` after `delayMs`, which may be 0. */
  after(delayMs: number, task: () => void): Timer {
    const entry: Entry = { at: this.now + Math.max(0, delayMs), order: this.order++, run: task }
    this.push(entry)
    return {
      cancel: () => {
        if (entry.run === undefined) return
        entry.run = undefined
        // Timers that are set and cancelled far ahead of their time must not pile up.
        if (++this.cancelled > 1024 && this.cancelled * 2 > this.heap.length) this.sweep()
      }
    }
  }

  /** When the next event is due. */
  get next(): number | undefined {
    this.dropCancelled()
    return this.heap[0]?.at
  }

  get pending(): number {
    return this.heap.length - this.cancelled
  }

  /** Jumps to the next event, if it is due by `until`, and runs it. */
  step(until: number): boolean {
    this.dropCancelled()
    const entry = this.heap[0]
    if (entry === undefined || entry.at > until) return false
    this.pop()
    this.now = entry.at
    const { run } = entry
    entry.run = undefined
    this.events++
    run?.()
    return true
  }

  private dropCancelled(): void {
    for (let top = this.heap[0]; top !== undefined && top.run === undefined; top = this.heap[0]) {
      this.pop()
      this.cancelled--
    }
  }

  private sweep(): void {
    this.heap = this.heap.filter((entry) => entry.run !== undefined)
    this.cancelled = 0
    // A sorted array is a heap.
    this.heap.sort((a, b) => (before(a, b) ? -1 : 1))
  }

  private push(entry: Entry): void {
    const { heap } = this
    let i = heap.length
    heap.push(entry)
    while (i > 0) {
      const up = (i - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || before(parent, entry)) break
      heap[i] = parent
      i = up
    }
    heap[i] = entry
  }

  private pop(): void {
    const { heap } = this
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let i = 0
    for (;;) {
      let down = 2 * i + 1
      let child = heap[down]
      if (child === undefined) break
      const right = heap[down + 1]
      if (right !== undefined && before(right, child)) {
        child = right
        down++
      }
      if (before(last, child)) break
      heap[i] = child
      i = down
    }
    heap[i] = last
  }
}

/** 2026-01-01T00:00:00Z: what wall clocks show when a simulation starts. */
export const epochMs = 1_767_225_600_000

/**
 * The clock of one node. Its wall clock can be wrong by an offset, and both its
 * clocks can run fast or slow.
 */
export class NodeClock implements Clock.Clock {
  private readonly timeline: Timeline
  private readonly schedule: (task: () => void) => void
  private offsetMs = 0
  private rate = 1
  /** What the monotonic clock showed when the rate last changed, and when that was. */
  private base = 0
  private since = 0

  /** `schedule` puts a wake-up into the node's turn. */
  constructor(timeline: Timeline, schedule: (task: () => void) => void) {
    this.timeline = timeline
    this.schedule = schedule
  }

  /** Milliseconds of the node's monotonic clock. */
  get monotonicMs(): number {
    return this.base + (this.timeline.now - this.since) * this.rate
  }

  /** Sets the wall clock wrong by so much more (or less); the monotonic clock does not notice. */
  jump(byMs: number): void {
    this.offsetMs += byMs
  }

  /** Makes both clocks run at this rate; 1 is right. Timers that are set already keep their real time. */
  drift(rate: number): void {
    this.base = this.monotonicMs
    this.since = this.timeline.now
    this.rate = rate
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(epochMs + this.monotonicMs + this.offsetMs)
  }

  currentTimeNanosUnsafe(): bigint {
    return BigInt(Math.round((this.monotonicMs + this.offsetMs) * 1e6)) + BigInt(epochMs) * 1_000_000n
  }

  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.monotonicMs * 1e6))
  }

  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const ms = Duration.toMillis(duration)
    if (ms === Number.POSITIVE_INFINITY) return Effect.never
    return Effect.callback<void>((resume) => {
      // Through the node's turn, so that a paused node does not wake.
      const timer = this.timeline.after(ms / this.rate, () => this.schedule(() => resume(Effect.void)))
      return Effect.sync(timer.cancel)
    })
  }
}
