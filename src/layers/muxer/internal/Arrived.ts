/**
 * Arrived: the bytes of all streams of a connection that came and were not read.
 * Every change of an inbox goes through here, so that the sum is always known.
 */
import { LazySet } from "../../internal/Lazy.ts"
import type { StreamState } from "./StreamState.ts"

export class Arrived<S extends StreamState> {
  /** The sum over the inboxes of all streams, in bytes. */
  total = 0
  /** Batches are lent: what is to be kept of them has to be copied. */
  lent = false
  /** Streams that are done, and whose bytes were not all read. */
  private readonly leftover = new LazySet<S>()
  /** Streams that data of the last batch waits on, as views of it. */
  private loose: Array<S> = []

  push(stream: S, bytes: Uint8Array): void {
    this.total += bytes.length
    if (stream.inbox.push(bytes)) this.loose.push(stream)
  }

  shift(stream: S): Uint8Array | undefined {
    const bytes = stream.inbox.shift(this.lent)
    if (bytes === undefined) return undefined
    this.total -= bytes.length
    if (stream.done && stream.inbox.size === 0) this.leftover.delete(stream)
    return bytes
  }

  /** Drops what was not read, and says how much that was. */
  drop(stream: S): number {
    const dropped = stream.inbox.size
    this.total -= dropped
    stream.inbox.clear()
    this.leftover.delete(stream)
    return dropped
  }

  /** Nothing more comes on the stream; what came may still be read. */
  finish(stream: S): void {
    if (stream.inbox.size > 0) this.leftover.add(stream)
  }

  /** Copies what would keep a whole batch in memory for a few bytes that nobody has read yet, or would outlast a lent one. */
  settle(): void {
    if (this.loose.length === 0) return
    for (const stream of this.loose) stream.inbox.settle(this.lent)
    this.loose = []
  }

  /** Those that hold bytes, of `open` and of those that are done, the largest first. */
  holders(open: Iterable<S>): ReadonlyArray<S> {
    const holders = [...this.leftover]
    for (const stream of open) if (stream.inbox.size > 0) holders.push(stream)
    return holders.toSorted((a, b) => b.inbox.size - a.inbox.size)
  }
}
