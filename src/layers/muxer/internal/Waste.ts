/**
 * Waste: what a remote asks for that comes to nothing. Streams that are refused
 * or reset, and frames that carry no data: each may come so often, and no more.
 */
import { Budget } from "./Budget.ts"
import { type Limits, maxRefusalsUnsent } from "./Limits.ts"

export class Waste {
  private readonly limits: Limits
  private readonly streams: Budget
  private readonly frames: Budget
  private refusalsUnsent = 0

  constructor(limits: Limits, nowMs: number) {
    this.limits = limits
    this.streams = new Budget(limits.wastedStreams, limits.wastedStreamsPerSecond, nowMs)
    this.frames = new Budget(limits.emptyFrames, limits.emptyFramesPerSecond, nowMs)
  }

  /** Counts a stream that came to nothing. False when there were too many. */
  stream(nowMs: number): boolean {
    return this.streams.spend(nowMs)
  }

  /** Counts a stream that is refused. What is wrong with that, if anything. */
  refusal(nowMs: number): string | undefined {
    this.refusalsUnsent += 1
    if (this.refusalsUnsent > maxRefusalsUnsent) return "opens streams without reading that they are refused"
    return this.stream(nowMs) ? undefined : this.tooManyStreams
  }

  /** Counts a frame that carries no data. False when there were too many. */
  frame(nowMs: number): boolean {
    return this.frames.spend(nowMs)
  }

  /** So many frames that carry no data are to be expected. */
  earn(frames: number): void {
    this.frames.earn(frames)
  }

  /** The remote has taken all that was sent. */
  sentAll(): void {
    this.refusalsUnsent = 0
  }

  get tooManyStreams(): string {
    const { wastedStreams, wastedStreamsPerSecond } = this.limits
    return `more than ${wastedStreams} streams at once, or ${wastedStreamsPerSecond} a second, that were reset or refused`
  }

  get tooManyFrames(): string {
    const { emptyFrames, emptyFramesPerSecond } = this.limits
    return `more than ${emptyFrames} frames at once, or ${emptyFramesPerSecond} a second, that carry no data and answer nothing`
  }
}
