/**
 * The small part of protobuf that libp2p's messages need: reading fields one
 * after the other, skipping the unknown ones, and writing them. The messages
 * are in `messages/`, their `.proto` files in `proto/`. Written by hand since
 * the messages are few and a library costs more to load than all of this; the
 * tests hold it to the code that a library generates from those files.
 *
 * https://protobuf.dev/programming-guides/encoding
 */
import * as Schema from "effect/Schema"
import * as Bytes from "./Bytes.ts"
import * as Varint from "./Varint.ts"

/** Bytes are not the message that they should be. `format` names the message. */
export class DecodeError extends Schema.TaggedError<DecodeError>()("DecodeError", {
  format: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.format}: ${this.detail}`
  }
}

const wireVarint = 0
const wire64 = 1
const wireBytes = 2
const wire32 = 5

/** Bytes of the longest varint that is written. */
const maxVarint = 8
const none: Uint8Array = new Uint8Array(0)

/**
 * Goes through the fields of a message:
 *
 * ```
 * const fields = new Reader("Ping", bytes, 1024)
 * while (fields.next()) {
 *   if (fields.number === 1) payload = fields.bytes()     // others are skipped
 * }
 * if (fields.error !== undefined) return Result.fail(fields.error)
 * ```
 *
 * It never throws. After an error there are no more fields, and what was read
 * is worth nothing. What it gives has memory of its own. Groups, which protobuf
 * gave up, are an error.
 */
export class Reader {
  /** The number of the field, after `next`. */
  number = 0
  error: DecodeError | undefined
  readonly #format: string
  readonly #input: Uint8Array
  #offset = 0
  #wire = wireVarint
  /** Where the value of the field starts and ends; for bytes, after their length. */
  #start = 0
  #end = 0

  /** @param maxSize more bytes than this are an error */
  constructor(format: string, bytes: Uint8Array, maxSize: number) {
    this.#format = format
    this.#input = bytes
    if (bytes.length > maxSize) this.fail(`${bytes.length} bytes, over the limit of ${maxSize}`)
  }

  /** Makes the reading fail, unless it has already. */
  fail(detail: string): void {
    this.error ??= new DecodeError({ format: this.#format, detail })
  }

  /** Goes to the next field; false at the end, and after an error. */
  next(): boolean {
    if (this.error !== undefined || this.#offset === this.#input.length) return false
    const at = this.#offset
    const tag = this.#varint()
    this.number = Math.floor(tag / 8)
    this.#wire = tag % 8
    if (tag < 0 || this.number === 0 || this.number >= 2 ** 29) return this.#malformed("no field", at)
    this.#start = this.#offset
    switch (this.#wire) {
      case wireVarint:
        if (this.#varint() < 0) return this.#malformed("a malformed varint", this.#start)
        this.#end = this.#offset
        break
      case wire64:
        this.#end = this.#start + 8
        break
      case wire32:
        this.#end = this.#start + 4
        break
      case wireBytes: {
        const length = this.#varint()
        if (length < 0) return this.#malformed("a malformed length", this.#start)
        this.#start = this.#offset
        this.#end = this.#start + length
        break
      }
      default:
        return this.#malformed(`a field of the unknown wire type ${this.#wire}`, at)
    }
    if (this.#end > this.#input.length) return this.#malformed(`field ${this.number}, cut short,`, at)
    this.#offset = this.#end
    return true
  }

  /** The bytes of the field. */
  bytes(): Uint8Array {
    if (this.#wire === wireBytes) return this.#input.slice(this.#start, this.#end)
    return this.#take(wireBytes).slice()
  }

  /** The text of the field; malformed UTF-8 becomes U+FFFD. */
  string(): string {
    return Bytes.toUtf8(this.#take(wireBytes))
  }

  /** The unsigned number of the field, of 64 bits. */
  uint64(): bigint {
    let value = 0n
    let shift = 0n
    for (const byte of this.#take(wireVarint)) {
      value |= BigInt(byte & 0x7f) << shift
      shift += 7n
    }
    return BigInt.asUintN(64, value)
  }

  /** Reads the field as a message inside this one; its error becomes the error of this one. */
  message(read: (fields: Reader) => void): void {
    const inner = new Reader(this.#format, this.#take(wireBytes), this.#input.length)
    read(inner)
    this.error ??= inner.error
  }

  #take(wire: number): Uint8Array {
    if (this.#wire === wire) return this.#input.subarray(this.#start, this.#end)
    this.fail(`field ${this.number} has the wire type ${this.#wire} instead of ${wire}`)
    return this.#input.subarray(0, 0)
  }

  #malformed(what: string, at: number): false {
    this.fail(`${what} at byte ${at}`)
    return false
  }

  /** A varint of at most ten bytes, minimal or not, as a number (inexact above 2^53); -1 if it is malformed. */
  #varint(): number {
    let value = 0
    let scale = 1
    for (let size = 1; size <= 10; size++) {
      const byte = this.#input[this.#offset]
      if (byte === undefined || (size === 10 && byte > 1)) return -1
      this.#offset++
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    return -1
  }
}

/** Room for a first message, which grows; the room of the writer before, whose message was copied out of it. */
const usualRoom = 1024
let spare: Uint8Array | undefined
/** A larger room is not kept for the next. */
const mostSpared = 65_536

/** Writes fields one after the other into one room. Write them in the order of their numbers. */
export class Writer {
  #room: Uint8Array
  #used = 0

  constructor() {
    this.#room = spare ?? new Uint8Array(usualRoom)
    spare = undefined
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + wireBytes)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#room.set(value, this.#used)
    this.#used += value.length
    return this
  }

  string(field: number, value: string): this {
    return this.bytes(field, Bytes.fromUtf8(value))
  }

  /** `value` is taken modulo 2^64. */
  uint64(field: number, value: bigint): this {
    this.#varint(field * 8 + wireVarint)
    let rest = BigInt.asUintN(64, value)
    for (; rest >= 0x80n; rest >>= 7n) this.#byte(Number(rest & 0x7fn) | 0x80)
    this.#byte(Number(rest))
    return this
  }

  /** Writes a message inside this one. */
  message(field: number, write: (inner: Writer) => void): this {
    this.#varint(field * 8 + wireBytes)
    // Most are short: its length takes one byte, and where it takes more the message moves.
    const start = this.#used + 1
    this.#byte(0)
    write(this)
    const size = this.#used - start
    const more = Varint.encodingLength(size) - 1
    this.#reserve(more)
    if (more > 0) this.#room.copyWithin(start + more, start, this.#used)
    this.#used += more
    Varint.encodeInto(size, this.#room, start - 1)
    return this
  }

  /** The message. The writer is of no use any more. */
  finish(): Uint8Array {
    const room = this.#room
    const message = room.slice(0, this.#used)
    if (room.length <= mostSpared) spare = room
    this.#room = none
    this.#used = 0
    return message
  }

  #varint(value: number): void {
    this.#reserve(maxVarint)
    this.#used = Varint.encodeInto(value, this.#room, this.#used)
  }

  #byte(value: number): void {
    this.#reserve(1)
    this.#room[this.#used] = value
    this.#used += 1
  }

  #reserve(size: number): void {
    const needed = this.#used + size
    if (needed <= this.#room.length) return
    const larger = new Uint8Array(Math.max(usualRoom, needed, 2 * this.#room.length))
    larger.set(this.#room.subarray(0, this.#used))
    this.#room = larger
  }
}
