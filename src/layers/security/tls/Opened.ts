/**
 * What TLS opened and nobody has read yet. TLS gives it record by record, each
 * in memory of its own; the records of a batch are joined here in a buffer that
 * is used again, so that whoever reads is at work once a batch. What is read is
 * lent: it is valid until the next read.
 */
import { Batches } from "../../internal/Batches.ts"
import { Buffers, release } from "../../internal/Buffers.ts"

/** A batch of the socket, and the record before it that was not whole yet. */
const buffers = new Buffers((128 + 16) * 1024, 8)

/** Up to here a record keeps its own memory, so that a connection on which little comes holds little. */
const smallRecord = 4096

export class Opened {
  /** What comes before the buffer. */
  private readonly batches = new Batches()
  private buffer: Uint8Array | undefined
  private used = 0
  /** All of the memory of what was read last. */
  private lent: Uint8Array | undefined

  get isEmpty(): boolean {
    return this.batches.isEmpty && this.used === 0
  }

  /** Takes a record over, with its memory. */
  push(record: Uint8Array): void {
    if (this.buffer !== undefined && this.used + record.length > buffers.size)
      this.batches.push(this.close(this.buffer))
    if (this.buffer === undefined && (record.length < smallRecord || record.length > buffers.size)) {
      return this.batches.push(record)
    }
    this.buffer ??= buffers.take()
    this.buffer.set(record, this.used)
    this.used += record.length
    release(record)
  }

  /** The next batch, which takes the one before it back. */
  take(): Uint8Array | undefined {
    if (this.lent !== undefined) buffers.give(this.lent)
    const batch = this.batches.take() ?? (this.buffer === undefined ? undefined : this.close(this.buffer))
    this.lent = batch === undefined ? undefined : new Uint8Array(batch.buffer)
    return batch
  }

  /** Drops what was not read; what is lent stays as it is. */
  clear(): void {
    this.batches.clear()
    this.buffer = undefined
    this.used = 0
    this.lent = undefined
  }

  /** What was joined in the buffer, to which nothing is added any more. */
  private close(buffer: Uint8Array): Uint8Array {
    const joined = buffer.subarray(0, this.used)
    this.buffer = undefined
    this.used = 0
    return joined
  }
}
