/**
 * When what this node provides is to be announced again. The key space is cut
 * into regions, and each has its time in a cycle that is shorter than records
 * live; the keys of a region are announced together, by a sweep, and the work is
 * spread evenly over the cycle. A key that is new is due at once, and falls in
 * with its region from then on.
 *
 * Which region comes when depends on this node's own place, so that all nodes
 * together do not come to the same peers at the same time.
 */
import * as Bytes from "../../../data/Bytes.ts"
import * as Key from "./Key.ts"

export interface Options {
  /** This node. */
  readonly self: Key.Key
  /** Each key is announced about so often. Default 22 hours. */
  readonly cycleMs?: number | undefined
  /** What was due and was not reported as announced is due again after this, and after twice as long each further time. Default 10 minutes. */
  readonly retryMs?: number | undefined
  /** Keys in all. Default 1,000,000. */
  readonly maxKeys?: number | undefined
  /** Holders of a key. Default 20. */
  readonly k?: number | undefined
}

/** What is announced: the bytes of the key, and its place. */
export interface Provided {
  readonly bytes: Uint8Array
  readonly key: Key.Key
}

interface Entry extends Provided {
  dueAt: number
  /** How often it was given out since it was last reported as announced. */
  tries: number
}

/** Peers of a region, as multiples of `k`: the fewer, the more of a sweep is spent on the edges of its region. */
const regionSize = 4

/** Bits of a region while the size of the network is not known, and the most that there are. */
const unknownBits = 5
const maxBits = 16

/** The longest that a key which could not be announced is left alone, as a part of the cycle. */
const longestPause = 1 / 8

/** True when so many of the peers that are to hold a key were told that it counts as announced: half of them. */
export const isEnough = (told: number, holders: number): boolean => told > 0 && 2 * told >= holders

/** A key that was announced so short a time ago, as a part of the cycle, is left to the next. */
const tooSoon = 1 / 12

/** Keys of a region that is announced that are due so soon, as a part of the cycle, go with the others. */
const together = 1 / 64

export class Reprovide {
  readonly #self: Key.Key
  readonly #cycleMs: number
  readonly #retryMs: number
  readonly #maxKeys: number
  readonly #k: number
  readonly #entries = new Map<string, Entry>()
  /** The one due first, while it is known. */
  #first: Entry | undefined

  constructor(options: Options) {
    this.#self = options.self
    this.#cycleMs = options.cycleMs ?? 22 * 3_600_000
    this.#retryMs = options.retryMs ?? 600_000
    this.#maxKeys = options.maxKeys ?? 1_000_000
    this.#k = options.k ?? 20
  }

  get size(): number {
    return this.#entries.size
  }

  /** What is provided, in the order in which it was added. */
  get keys(): ReadonlyArray<Uint8Array> {
    return [...this.#entries.values()].map(({ bytes }) => bytes)
  }

  has(bytes: Uint8Array): boolean {
    return this.#entries.has(Bytes.toHex(bytes))
  }

  /** Provides a key from now on: it is due at once, unless it is provided already. False when there are too many. */
  add(bytes: Uint8Array, now: number): boolean {
    const id = Bytes.toHex(bytes)
    if (this.#entries.has(id)) return true
    if (this.#entries.size >= this.#maxKeys) return false
    const entry = { bytes, key: Key.fromBytes(bytes), dueAt: now, tries: 0 }
    this.#entries.set(id, entry)
    if (this.#first !== undefined && now < this.#first.dueAt) this.#first = entry
    return true
  }

  /**
   * Provides a key that was provided before this node started: it is due when it
   * would have been after it was announced then, at once if that is past.
   */
  restore(bytes: Uint8Array, announcedAt: number | undefined, now: number): boolean {
    if (this.has(bytes)) return true
    if (!this.add(bytes, now)) return false
    const entry = this.#entries.get(Bytes.toHex(bytes))
    this.#first = undefined
    if (entry === undefined || announcedAt === undefined) return true
    // A clock that was set back is no reason to wait for longer.
    entry.dueAt = this.#turn(entry.key, unknownBits, Math.min(announcedAt, now))
    return true
  }

  /** Provides a key no more. True if it was provided. */
  remove(bytes: Uint8Array): boolean {
    this.#first = undefined
    return this.#entries.delete(Bytes.toHex(bytes))
  }

  /** When the next key is due; `undefined` without keys. */
  get dueAt(): number | undefined {
    return this.#next()?.dueAt
  }

  /**
   * The keys to announce now, all of one region, at most `limit`; none when
   * none are due. Report by {@link provided} those that were announced; the
   * others come again after a while, which grows.
   */
  due(now: number, networkSize: number | undefined, limit = 10_000): ReadonlyArray<Provided> {
    const first = this.#next()
    if (first === undefined || first.dueAt > now) return []
    const bits = this.#bits(networkSize)
    const chosen: Array<Entry> = []
    for (const entry of this.#entries.values()) {
      if (chosen.length >= limit) break
      if (entry.dueAt > (entry.tries > 0 ? now : now + this.#cycleMs * together)) continue
      if (Key.commonPrefix(entry.key, first.key) >= bits) chosen.push(entry)
    }
    this.#first = undefined
    for (const entry of chosen) {
      entry.dueAt = now + Math.min(this.#retryMs * 2 ** entry.tries, this.#cycleMs * longestPause)
      entry.tries += 1
    }
    return chosen
  }

  /** These were announced: they are due again when it is the turn of their region. */
  provided(items: Iterable<Provided>, now: number, networkSize: number | undefined): void {
    const bits = this.#bits(networkSize)
    this.#first = undefined
    for (const { bytes, key } of items) {
      const entry = this.#entries.get(Bytes.toHex(bytes))
      if (entry === undefined) continue
      entry.dueAt = this.#turn(key, bits, now)
      entry.tries = 0
    }
  }

  // ---- inside ---------------------------------------------------------------

  #next(): Entry | undefined {
    if (this.#first !== undefined) return this.#first
    for (const entry of this.#entries.values()) {
      if (this.#first === undefined || entry.dueAt < this.#first.dueAt) this.#first = entry
    }
    return this.#first
  }

  /** Leading bits that the keys of a region share. */
  #bits(networkSize: number | undefined): number {
    if (networkSize === undefined) return unknownBits
    return Math.max(0, Math.min(maxBits, Math.floor(Math.log2(networkSize / (this.#k * regionSize)))))
  }

  /** The next time of the region that is not too soon. */
  #turn(key: Key.Key, bits: number, now: number): number {
    // The regions in the order of their distance from this node, from 0 to 1.
    const offset = Math.floor(Key.distance(key, this.#self) * 2 ** bits) / 2 ** bits
    const cycle = this.#cycleMs
    const earliest = now + cycle * tooSoon
    return (Math.ceil(earliest / cycle - offset) + offset) * cycle
  }
}
