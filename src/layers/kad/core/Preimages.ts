/**
 * Bytes that hash to a wanted part of the key space, for who asks for many: a
 * remote is asked by what is hashed, not by the hash. They are found by trying,
 * and what was tried for one part serves all others, so that a thousand parts
 * cost little more than one.
 *
 * ```
 * for (;;) {
 *   const found = preimages.find(prefix, length)
 *   if (found !== undefined) return found
 *   preimages.advance(256)                       // a fraction of a millisecond; let others have their turn
 * }
 * ```
 */
import * as Key from "./Key.ts"

/** Longest prefixes, in bits, at 4 bytes for each of them; all are found after about a million tries. */
const defaultBits = 16

export class Preimages {
  readonly #bits: number
  /** A peer id that is nobody's: a SHA-256 multihash by chance, in whose first digits is counted. */
  readonly #bytes = new Uint8Array(34)
  readonly #view = new DataView(this.#bytes.buffer)
  /** By the first bits of the place: the count that led there; 0 where none did yet. */
  readonly #counts: Uint32Array
  #count = 0

  constructor(chance: Key.Chance, bits = defaultBits) {
    this.#bits = bits
    this.#counts = new Uint32Array(2 ** bits)
    this.#bytes.set([0x12, 32])
    for (let i = 6; i < this.#bytes.length; i++) this.#bytes[i] = Math.floor(chance() * 256)
  }

  /** How many were tried so far. */
  get tried(): number {
    return this.#count
  }

  /** Bytes whose place shares the first `length` bits with `prefix`, if there are any yet; never for more bits than it keeps. */
  find(prefix: Key.Key, length: number): Key.Preimage | undefined {
    if (length > this.#bits) return undefined
    const width = 2 ** (this.#bits - length)
    const from = Math.floor(this.#slot(prefix) / width) * width
    for (let slot = from; slot < from + width; slot++) {
      const count = this.#counts[slot] ?? 0
      if (count === 0) continue
      this.#view.setUint32(2, count)
      const bytes = this.#bytes.slice()
      return { bytes, key: Key.fromBytes(bytes) }
    }
    return undefined
  }

  /** Tries so many more. */
  advance(tries: number): void {
    for (let i = 0; i < tries && this.#count < 0xffffffff; i++) {
      this.#count += 1
      this.#view.setUint32(2, this.#count)
      this.#counts[this.#slot(Key.fromBytes(this.#bytes))] ||= this.#count
    }
  }

  #slot(key: Key.Key): number {
    return this.#bits === 0 ? 0 : (key.words[0] ?? 0) >>> (32 - this.#bits)
  }
}
