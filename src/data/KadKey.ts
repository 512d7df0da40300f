/**
 * Places in the key space of Kademlia: 256 bits, the SHA-256 of a peer id or of
 * a key. The distance of two is their XOR, read as a number.
 *
 * A place is kept as eight words, the most significant first, so that most
 * comparisons look at one of them, and none allocates.
 *
 * Specification: kad-dht/README.md, "Distance".
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Bytes from "./Bytes.ts"
import type { PeerId } from "./PeerId.ts"

/** Bits of a place. */
export const bits = 256

/** Words of a place. */
export const wordCount = bits / 32

/** Room for the halves of the words of one place: an array is spread many times as fast as a typed one. */
const halves: Array<number> = Array.from({ length: 2 * wordCount }, () => 0)

/** A place in the key space. Immutable. */
export class Key {
  /** Eight words, the most significant first. Do not change them. */
  readonly words: Uint32Array
  /** The same place has the same text: for a `Map`, not for people. See {@link toHex}. */
  readonly id: string

  /** @internal Use `fromBytes`, `fromDigest` and the like. */
  constructor(words: Uint32Array) {
    this.words = words
    for (let i = 0; i < wordCount; i++) {
      const word = words[i] ?? 0
      halves[2 * i] = word >>> 16
      halves[2 * i + 1] = word & 0xffff
    }
    this.id = String.fromCharCode(...halves)
  }

  toString(): string {
    return toHex(this)
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Key(${toHex(this)})`
  }
}

/** A peer and its place in the key space. */
export interface Contact {
  readonly peer: PeerId
  readonly key: Key
}

/** The place whose 32 bytes are these; bytes that are missing are zero, further ones are left out. */
export const fromDigest = (digest: Uint8Array): Key => {
  const words = new Uint32Array(wordCount)
  for (let i = 0; i < wordCount; i++) {
    const at = 4 * i
    words[i] =
      ((digest[at] ?? 0) << 24) | ((digest[at + 1] ?? 0) << 16) | ((digest[at + 2] ?? 0) << 8) | (digest[at + 3] ?? 0)
  }
  return new Key(words)
}

/** The place of a key, or of the bytes of a peer id: that of their SHA-256. */
export const fromBytes = (bytes: Uint8Array): Key => fromDigest(sha256(bytes))

const contacts = new WeakMap<PeerId, Contact>()

/** A peer with its place. It costs a hash the first time that this peer id, as an object, is asked for. */
export const contact = (peer: PeerId): Contact => {
  const known = contacts.get(peer)
  if (known !== undefined) return known
  const made = { peer, key: fromBytes(peer.bytes) }
  contacts.set(peer, made)
  return made
}

/** The 32 bytes of a place. */
export const toBytes = (key: Key): Uint8Array => {
  const bytes = new Uint8Array(bits / 8)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < wordCount; i++) view.setUint32(4 * i, key.words[i] ?? 0)
  return bytes
}

export const toHex = (key: Key): string => Bytes.toHex(toBytes(key))

export const equals = (a: Key, b: Key): boolean => a === b || a.id === b.id

/** Negative when `a` is closer to the target than `b`, positive when it is further away, 0 for one place. */
export const compare = (target: Key, a: Key, b: Key): number => {
  for (let i = 0; i < wordCount; i++) {
    const word = target.words[i] ?? 0
    const x = ((a.words[i] ?? 0) ^ word) >>> 0
    const y = ((b.words[i] ?? 0) ^ word) >>> 0
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** Order in the key space itself, as of the bytes. */
export const order = (a: Key, b: Key): number => {
  for (let i = 0; i < wordCount; i++) {
    const x = a.words[i] ?? 0
    const y = b.words[i] ?? 0
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** How many leading bits two places share; {@link bits} for the same place. */
export const commonPrefix = (a: Key, b: Key): number => {
  for (let i = 0; i < wordCount; i++) {
    const difference = (a.words[i] ?? 0) ^ (b.words[i] ?? 0)
    if (difference !== 0) return 32 * i + Math.clz32(difference)
  }
  return bits
}

/** The distance as a part of the whole space, from 0 to 1: the first 53 bits that matter. */
export const distance = (a: Key, b: Key): number => {
  let sum = 0
  let unit = 1
  for (let i = 0; i < wordCount; i++) {
    unit /= 4294967296
    sum += (((a.words[i] ?? 0) ^ (b.words[i] ?? 0)) >>> 0) * unit
  }
  return sum
}

/** The bit at a place from the left, 0 or 1. */
export const bitAt = (key: Key, index: number): 0 | 1 =>
  (((key.words[index >>> 5] ?? 0) >>> (31 - (index & 31))) & 1) === 1 ? 1 : 0

/** Those of a list that are closest to the target, the closest first. */
export const closest = <A extends { readonly key: Key }>(target: Key, list: Iterable<A>, count: number): Array<A> => {
  const found: Array<A> = []
  for (const one of list) {
    const last = found[count - 1]
    if (last !== undefined && compare(target, one.key, last.key) >= 0) continue
    found.splice(position(target, found, one.key), 0, one)
    if (found.length > count) found.pop()
  }
  return found
}

/** Where a key belongs in a list that is sorted by the distance to the target: after those that are as close. */
export const position = (target: Key, sorted: ReadonlyArray<{ readonly key: Key }>, key: Key): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const one = sorted[middle]
    if (one !== undefined && compare(target, one.key, key) <= 0) low = middle + 1
    else high = middle
  }
  return low
}

/** The place with one bit turned over. */
export const flip = (key: Key, index: number): Key => {
  const words = Uint32Array.from(key.words)
  const at = index >>> 5
  words[at] = (words[at] ?? 0) ^ (1 << (31 - (index & 31)))
  return new Key(words)
}
