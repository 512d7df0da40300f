/** Stall: for how long the remote has taken nothing of what waits to be sent. */

/** A check that comes later than this, in ms, finds a process that was stopped, not a remote that takes nothing. */
const lateMs = 1000

export class Stall {
  private readonly timeoutMs: number
  private since: number | undefined
  private excused = false

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs
  }

  /** It took all. */
  over(): void {
    this.since = undefined
  }

  /** It was offered something, and took `some` of it or nothing. */
  left(some: boolean, nowMs: number): void {
    if (!some && this.since !== undefined) return
    this.since = nowMs
    this.excused = false
  }

  /** When its time is over, in ms. */
  get deadline(): number {
    return this.since === undefined ? Number.POSITIVE_INFINITY : this.since + this.timeoutMs
  }

  isOver(nowMs: number): boolean {
    const late = nowMs - this.deadline
    if (late < 0) return false
    // After a sleep of the machine or a long halt of the process, the remote gets its time once more.
    if (late < lateMs || this.excused) return true
    this.excused = true
    this.since = nowMs
    return false
  }
}
