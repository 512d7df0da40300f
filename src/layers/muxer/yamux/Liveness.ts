/** Liveness: pings, the round-trip time they measure, and when a silent remote counts as gone. */
import type { Limits } from "./Limits.ts"

/** A check that comes later than this, in ms, finds a process that was stopped, not a remote that is silent. */
const lateMs = 1000

export class Liveness {
  /** The round trip in ms, smoothed; `undefined` until one was measured. */
  rttMs: number | undefined
  /** The latest round trip, in ms. */
  latestMs = 0
  /** Answers to pings so far. */
  pongs = 0

  private readonly intervalMs: number
  private readonly timeoutMs: number
  private receivedAt: number
  private askedAt: number | undefined
  private excused = false
  private pingId = 0
  private pingSentAt: number | undefined
  private measuredAt = 0

  constructor(limits: Limits, nowMs: number) {
    this.intervalMs = limits.keepAliveIntervalMs
    this.timeoutMs = limits.keepAliveTimeoutMs
    this.receivedAt = nowMs
  }

  /** Something arrived: the remote lives. */
  heard(nowMs: number): void {
    this.receivedAt = nowMs
    this.askedAt = undefined
    this.excused = false
  }

  /** When `check` is due, in ms. */
  get deadline(): number {
    return this.askedAt === undefined ? this.receivedAt + this.intervalMs : this.askedAt + this.timeoutMs
  }

  /** What is due: to ask the remote whether it lives, or to give it up. */
  check(nowMs: number): "nothing" | "ask" | "gone" {
    if (nowMs < this.deadline) return "nothing"
    if (this.askedAt !== undefined) {
      // After a sleep of the machine or a long halt of the process, the answer may wait unread: once, it is asked again.
      if (this.excused || nowMs - this.deadline < lateMs) return "gone"
      this.excused = true
    }
    this.askedAt = nowMs
    return "ask"
  }

  /** The value of a ping to send now; `undefined` while one is under way that may still be answered. */
  ping(nowMs: number): number | undefined {
    if (this.pingSentAt !== undefined && nowMs - this.pingSentAt < this.timeoutMs) return undefined
    this.pingId = (this.pingId + 1) >>> 0
    this.pingSentAt = nowMs
    return this.pingId
  }

  /** True when the round trip should be measured (again) before it is relied on. */
  isStale(nowMs: number): boolean {
    return this.rttMs === undefined || nowMs - this.measuredAt > this.intervalMs
  }

  pong(value: number, nowMs: number): void {
    if (this.pingSentAt === undefined || value !== this.pingId) return
    const sample = Math.max(0, nowMs - this.pingSentAt)
    this.pingSentAt = undefined
    this.pongs += 1
    this.latestMs = sample
    this.rttMs = this.rttMs === undefined ? sample : (this.rttMs + sample) / 2
    this.measuredAt = nowMs
  }
}
