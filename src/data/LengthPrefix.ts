/**
 * Messages on a byte stream, each after its length as a varint, as most libp2p
 * protocols send them. Pure: {@link Decoder} cuts batches into messages.
 */
import * as Bytes from "./Bytes.ts"
import * as Varint from "./Varint.ts"

/** The longest message accepted unless a protocol says otherwise: 4 MiB. */
export const defaultMaxSize = 4 * 1024 * 1024

/** The remote announced a message over the limit, or a length that is no length. */
export interface LengthRefused {
  readonly _tag: "LengthRefused"
  readonly detail: string
}

/** A message with its length in front, ready to be written. */
export const encode = (message: Uint8Array): Uint8Array => Bytes.concat([Varint.encode(message.length), message])

/** Cuts bytes into messages. It never holds more than one message of `maxSize` and one batch. */
export class Decoder {
  private readonly maxSize: number
  private pieces: Array<Uint8Array> = []
  private held = 0

  constructor(maxSize: number = defaultMaxSize) {
    this.maxSize = maxSize
  }

  /** Adds a batch that the decoder may keep. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.pieces.push(bytes)
    this.held += bytes.length
  }

  /** The next message; `undefined` when it has not arrived whole. */
  next(): Uint8Array | undefined | LengthRefused {
    const length = Varint.decode(this.front(Math.min(this.held, Varint.maxSize)), 0)
    if (length._tag === "Incomplete") return undefined
    if (length._tag === "Invalid") return { _tag: "LengthRefused", detail: `a length that is ${length.reason}` }
    if (length.value > this.maxSize) {
      return {
        _tag: "LengthRefused",
        detail: `a message of ${length.value} bytes, over the limit of ${this.maxSize}`
      }
    }
    const whole = length.size + length.value
    if (this.held < whole) return undefined
    const message = this.front(whole).subarray(length.size, whole)
    const [first, ...others] = this.pieces
    if (first !== undefined) this.pieces = first.length === whole ? others : [first.subarray(whole), ...others]
    this.held -= whole
    return message
  }

  /** True in the middle of a message. */
  get partial(): boolean {
    return this.held > 0
  }

  /** Joins pieces until the first holds `size` bytes. */
  private front(size: number): Uint8Array {
    const first = this.pieces[0]
    if (first === undefined) return new Uint8Array(0)
    if (first.length >= size) return first
    const joined = Bytes.concat(this.pieces)
    this.pieces = [joined]
    return joined
  }
}
