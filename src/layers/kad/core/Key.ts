/**
 * Places in the key space as the cores take them: those of the data, and places
 * by chance, which lookups and refreshes ask for.
 */
import { commonPrefix, flip, fromBytes, Key, wordCount } from "../../../data/KadKey.ts"

export * from "../../../data/KadKey.ts"

/** Numbers from 0, included, to 1, excluded. */
export type Chance = () => number

/** A place anywhere. */
export const random = (chance: Chance): Key => withPrefix(undefined, 0, chance)

/** A place whose first `length` bits are those of `prefix`, and the others by chance. */
export const withPrefix = (prefix: Key | undefined, length: number, chance: Chance): Key => {
  const words = new Uint32Array(wordCount)
  for (let i = 0; i < wordCount; i++) {
    const drawn = Math.floor(chance() * 4294967296)
    const kept = Math.min(32, Math.max(0, length - 32 * i))
    const mask = kept === 0 ? 0 : (0xffffffff << (32 - kept)) >>> 0
    words[i] = ((prefix?.words[i] ?? 0) & mask) | (drawn & ~mask)
  }
  return new Key(words)
}

/** A place by chance that shares exactly `shared` leading bits with `own`: one of that bucket. From 0 to 255. */
export const inBucket = (own: Key, shared: number, chance: Chance): Key =>
  withPrefix(flip(own, shared), shared + 1, chance)

/** Bytes, and the place that they hash to. */
export interface Preimage {
  readonly bytes: Uint8Array
  readonly key: Key
}

/**
 * The bytes of a peer id whose place shares the first `length` bits with
 * `prefix`, since a remote is asked by what is hashed, not by the hash. It is
 * nobody's: a SHA-256 multihash by chance.
 *
 * Found by trying, about 2^length times at 1 to 3 µs; `undefined` when `tries`
 * did not find one.
 */
export const preimage = (prefix: Key, length: number, chance: Chance, tries = 65_536): Preimage | undefined => {
  const bytes = new Uint8Array(34)
  bytes[0] = 0x12
  bytes[1] = 32
  for (let i = 2; i < bytes.length; i++) bytes[i] = Math.floor(chance() * 256)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < tries; i++) {
    view.setUint32(2, (view.getUint32(2) + 1) >>> 0)
    const key = fromBytes(bytes)
    if (commonPrefix(prefix, key) >= length) return { bytes, key }
  }
  return undefined
}

/**
 * As {@link preimage}, in a bucket of `own`: it shares exactly `shared` bits.
 * Deep buckets are better refreshed by asking for `own` itself.
 */
export const preimageInBucket = (own: Key, shared: number, chance: Chance, tries?: number): Preimage | undefined =>
  preimage(flip(own, shared), shared + 1, chance, tries)
