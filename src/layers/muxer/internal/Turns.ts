/**
 * Turns: who may write next while the output is contended. Streams wait in a
 * queue; as room appears, those at its front get a turn of a fixed length each.
 * A stream whose turn found the output full again goes before those that wrote.
 */
import { LazySet } from "../../internal/Lazy.ts"
import { turnLength } from "./Limits.ts"
import type { StreamState } from "./StreamState.ts"

export class Turns<S extends StreamState> {
  private readonly passedOver = new LazySet<S>()
  private readonly queue = new LazySet<S>()

  get waiting(): boolean {
    return this.queue.size > 0 || this.passedOver.size > 0
  }

  /** How much of `room` the stream may use. */
  allow(stream: S, room: number): number {
    return this.waiting ? Math.min(room, stream.credit) : room
  }

  /** Counts what the stream wrote; it wanted more if `short`, and then waits for a turn. */
  wrote(stream: S, taken: number, short: boolean): void {
    if (short) this.wait(stream, taken === 0 && stream.credit > 0)
    else stream.credit = Math.max(0, stream.credit - taken)
  }

  wait(stream: S, passedOver: boolean): void {
    stream.credit = 0
    if (stream.queued) return
    stream.queued = true
    if (passedOver) this.passedOver.add(stream)
    else this.queue.add(stream)
  }

  /** The next stream, with a turn of its own. */
  next(): S | undefined {
    const stream = this.passedOver.first ?? this.queue.first
    if (stream === undefined) return undefined
    this.remove(stream)
    stream.credit = turnLength
    return stream
  }

  remove(stream: S): void {
    if (!stream.queued) return
    stream.queued = false
    this.passedOver.delete(stream)
    this.queue.delete(stream)
  }
}
