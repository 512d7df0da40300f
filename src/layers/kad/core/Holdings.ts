/**
 * Which records a store holds for which peers, so that none of them, and no
 * network of them, takes all of it: see Shares. This node's own records are in
 * nobody's share, and give way to nothing.
 *
 * A record is in the share of the peer that brought it first, as long as it is
 * held: who brings it again cannot take it over, and have it dropped with what
 * is its own. Brought again larger, it needs room in that share, and nothing
 * gives way to it. Records that are in the store already when the node starts are in
 * no share.
 */
import * as Bytes from "../../../data/Bytes.ts"
import * as Key from "./Key.ts"
import { type Scope, Shares } from "./Shares.ts"

export interface Limits {
  /** Records of others. Default 65,536. */
  readonly records?: number | undefined
  /** Keys and values of others' records, in bytes. Default 256 MiB. */
  readonly bytes?: number | undefined
  /** The part of either that the peers of one network may take. Default 1/4. */
  readonly group?: number | undefined
  /** The part that one peer may take. Default 1/16. */
  readonly peer?: number | undefined
}

/** Who brings a record: the peer, and the network that it is in. */
export interface Bringer {
  readonly peer: string
  readonly group: string
}

export interface Counts {
  /** Records of others, and what they weigh, as a part of all that may be held. */
  readonly held: number
  readonly fill: number
  /** Records that were not taken, by whose share was full. */
  readonly refused: Readonly<Record<Scope, number>>
  /** Records that were dropped to make room. */
  readonly dropped: number
}

export interface Decision {
  /** Whose share was full, if it is not taken. */
  readonly refused: Scope | undefined
  /** Keys of records that are to be dropped. */
  readonly dropped: ReadonlyArray<Uint8Array>
  /** Takes it back that a record which is held has become larger or smaller: the store did not take it. */
  readonly undo: () => void
}

interface Held {
  readonly key: Uint8Array
  expiresAt: number
}

const nothing = (): void => {}
const taken: Decision = { refused: undefined, dropped: [], undo: nothing }

/** Own records that are known as such; of more, those put longest ago are like others'. */
const maxOwn = 65_536

export class Holdings {
  readonly #self: Key.Key
  /** Bytes of one unit of weight: so many units are as many records, and as many bytes, as may be held. */
  readonly #unit: number
  readonly #shares: Shares
  /** By the hexadecimal of the key, those that came first, first. */
  readonly #held = new Map<string, Held>()
  /** Until when. */
  readonly #own = new Map<string, number>()
  readonly #refused = { peer: 0, group: 0, node: 0 }
  #dropped = 0

  /** `self` is the place of this node: what is near to it is kept rather than what is not. */
  constructor(self: Key.Key, limits: Limits = {}) {
    this.#self = self
    const records = limits.records ?? 65_536
    this.#unit = Math.max(1, (limits.bytes ?? 256 * 1024 * 1024) / records)
    this.#shares = new Shares({
      total: records,
      group: Math.max(1, Math.floor(records * (limits.group ?? 1 / 4))),
      peer: Math.max(1, Math.floor(records * (limits.peer ?? 1 / 16)))
    })
  }

  get counts(): Counts {
    return {
      held: this.#held.size,
      fill: this.#shares.total / this.#shares.limits.total,
      refused: { ...this.#refused },
      dropped: this.#dropped
    }
  }

  /** True when it is known whose the record of a key is. */
  knows(key: Uint8Array): boolean {
    const id = Bytes.toHex(key)
    return this.#held.has(id) || this.#own.has(id)
  }

  /** This node puts a record of its own. */
  own(key: Uint8Array, expiresAt: number): void {
    const id = Bytes.toHex(key)
    this.#shares.remove(id)
    this.#held.delete(id)
    this.#own.delete(id)
    this.#own.set(id, expiresAt)
    const [oldest] = this.#own.keys()
    if (this.#own.size > maxOwn && oldest !== undefined) this.#own.delete(oldest)
  }

  /** A record is brought that is valid. Whoever brings it again, it stays where it is. */
  offer(key: Uint8Array, size: number, from: Bringer, now: number, expiresAt: number): Decision {
    this.#expire(now)
    const id = Bytes.toHex(key)
    if ((this.#own.get(id) ?? now) > now) return taken
    const held = this.#held.get(id)
    if (held !== undefined) return this.#again(id, held.key, this.#weightOf(size), expiresAt)
    const { dropped, refused } = this.#shares.admit(this.#claim(id, key, size, from))
    if (refused === undefined) this.#held.set(id, { key: Bytes.copy(key), expiresAt })
    else this.#refused[refused] += 1
    return { refused, dropped: dropped.flatMap((one) => this.#drop(one) ?? []), undo: nothing }
  }

  /**
   * The store has no room for a record that was taken; gives the key of what is
   * to be dropped for it. `undefined`: nothing is, and it is refused.
   */
  makeRoom(key: Uint8Array, size: number, from: Bringer): Uint8Array | undefined {
    const id = Bytes.toHex(key)
    const claim = this.#claim(id, key, size, this.#shares.get(id) ?? from)
    this.#shares.remove(id)
    const victim = this.#shares.yieldTo(claim)
    if (victim === undefined) {
      this.#held.delete(id)
      this.#refused.node += 1
      return undefined
    }
    // There was room for it before, and there is more now.
    if (this.#held.has(id)) this.#shares.admit(claim)
    return this.#drop(victim)
  }

  /** The record is not held. */
  forget(key: Uint8Array): void {
    const id = Bytes.toHex(key)
    this.#shares.remove(id)
    this.#held.delete(id)
    this.#own.delete(id)
  }

  // ---- inside ---------------------------------------------------------------

  #weightOf(size: number): number {
    return Math.max(1, Math.ceil(size / this.#unit))
  }

  #claim(id: string, key: Uint8Array, size: number, { group, peer }: Bringer) {
    const closeness = Key.commonPrefix(this.#self, Key.fromBytes(key))
    return { id, peer, group, weight: this.#weightOf(size), closeness }
  }

  /** A record that is held is brought again. */
  #again(id: string, key: Uint8Array, weight: number, expiresAt: number): Decision {
    const before = this.#shares.get(id)?.weight
    const refused = this.#shares.reweigh(id, weight)
    if (refused !== undefined) {
      this.#refused[refused] += 1
      return { refused, dropped: [], undo: nothing }
    }
    this.#held.delete(id)
    this.#held.set(id, { key, expiresAt })
    const undo = () => {
      // Another may have brought it since.
      if (before !== undefined && this.#shares.get(id)?.weight === weight) this.#shares.reweigh(id, before, true)
    }
    return { refused: undefined, dropped: [], undo }
  }

  #drop(id: string): Uint8Array | undefined {
    const key = this.#held.get(id)?.key
    this.#held.delete(id)
    this.#dropped += 1
    return key
  }

  /** The store drops what has expired by itself. */
  #expire(now: number): void {
    for (const [id, { expiresAt }] of this.#held) {
      if (expiresAt > now) break
      this.#held.delete(id)
      this.#shares.remove(id)
    }
    for (const [id, expiresAt] of this.#own) {
      if (expiresAt > now) break
      this.#own.delete(id)
    }
  }
}
