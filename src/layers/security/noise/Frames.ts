/**
 * Noise messages on a byte stream: a length of two bytes, big-endian, and the
 * message. Cuts batches of any size into messages, with no copy of one that
 * lies whole inside a batch.
 */
import { maxMessage } from "./SymmetricState.ts"

/** Bytes of the length in front of each message. */
export const headerSize = 2

/** Puts the length in front of a message. */
export const frame = (message: Uint8Array): Uint8Array => {
  const framed = new Uint8Array(headerSize + message.length)
  writeLength(framed, message.length)
  framed.set(message, headerSize)
  return framed
}

/** Writes the length of the message that follows at the start of `target`. */
export const writeLength = (target: Uint8Array, length: number): void => {
  target[0] = length >>> 8
  target[1] = length & 0xff
}

/**
 * Holds one partial message at most.
 *
 * ```
 * frames.feed(batch)
 * for (let message = frames.next(); message !== undefined; message = frames.next()) …
 * ```
 */
export class FrameReader {
  private batch: Uint8Array | undefined
  private at = 0
  /** The first byte of a length whose second has not come. */
  private lengthHigh: number | undefined
  /** Length of the message being put together. */
  private length: number | undefined
  private body: Uint8Array | undefined
  private filled = 0

  /** Bytes for {@link next} to cut up. Take all messages before the batch ceases to be valid, and before feeding the next. */
  feed(batch: Uint8Array): void {
    this.batch = batch
    this.at = 0
  }

  /** The next whole message, or `undefined` when the batch is used up. Valid until the next call. */
  next(): Uint8Array | undefined {
    const batch = this.batch
    if (batch === undefined) return undefined
    const length = this.readLength(batch)
    if (length === undefined) return this.used()
    const available = batch.length - this.at
    if (this.filled === 0 && available >= length) {
      const message = batch.subarray(this.at, this.at + length)
      this.at += length
      this.length = undefined
      return message
    }
    if (available === 0) return this.used()
    const body = this.room(length)
    const n = Math.min(length - this.filled, available)
    body.set(batch.subarray(this.at, this.at + n), this.filled)
    this.at += n
    this.filled += n
    if (this.filled < length) return this.used()
    this.filled = 0
    this.length = undefined
    return body.subarray(0, length)
  }

  /** What is left of the batch after the last message taken. Ends reading: for handing over to another reader. */
  rest(): Uint8Array {
    const rest = this.batch?.subarray(this.at) ?? new Uint8Array(0)
    this.batch = undefined
    return rest
  }

  /** Bytes of a message that has come in part. */
  get held(): number {
    return this.filled
  }

  /** True in the middle of a message, where a stream must not end. */
  get partial(): boolean {
    return this.lengthHigh !== undefined || this.length !== undefined
  }

  private readLength(batch: Uint8Array): number | undefined {
    if (this.length !== undefined) return this.length
    if (this.lengthHigh === undefined) {
      const high = batch[this.at]
      if (high === undefined) return undefined
      this.lengthHigh = high
      this.at += 1
    }
    const low = batch[this.at]
    if (low === undefined) return undefined
    this.at += 1
    this.length = this.lengthHigh * 256 + low
    this.lengthHigh = undefined
    return this.length
  }

  private used(): undefined {
    this.batch = undefined
    // Between messages nothing is held, so that an idle connection costs nothing.
    if (!this.partial) this.body = undefined
    return undefined
  }

  /** Memory for the message in parts. While bytes come in a stream, most batches end inside a message, and it is used again. */
  private room(length: number): Uint8Array {
    if (this.body !== undefined && this.body.length >= length) return this.body
    // Room for the largest message if one of some size is on its way: others like it will follow.
    this.body = new Uint8Array(length > 4096 ? maxMessage : length)
    return this.body
  }
}
