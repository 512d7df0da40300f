/**
 * The records that a store holds: plain code, with the time of each call given
 * in milliseconds, and the rules of the key's namespace.
 *
 * Nothing that has expired is given. It is dropped by later writes, some at
 * each, those that ended first before the others; when there is no room, as
 * many as it takes. So there are no timers, and what has expired is never in
 * the way of what comes.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import {
  type Quota,
  type QuotaBounds,
  RecordInvalid,
  RecordNotFound,
  RecordOutdated,
  RecordStoreLimit,
  type StoredRecord
} from "../../../services/RecordStore.ts"
import type { RecordValidator } from "../../../services/RecordValidators.ts"
import { Expiries } from "../../internal/Expiries.ts"
import { type Change, Journal } from "../../internal/Journal.ts"
import { nameOf, Names } from "./Names.ts"

/** A record as it is held. */
export interface Entry extends StoredRecord {
  readonly expiresAt: number
}

/** The quota with its defaults. */
export const limitsOf = (quota: Quota = {}): QuotaBounds => ({
  records: quota.records ?? 65_536,
  bytes: quota.bytes ?? 256 * 1024 * 1024,
  keyBytes: quota.keyBytes ?? 1024,
  valueBytes: quota.valueBytes ?? 64 * 1024
})

/** Why a record is not taken. */
export type Refusal = RecordInvalid | RecordOutdated | RecordStoreLimit

/** Records that are dropped at each write, if they have expired. */
const sweepSize = 16

const sizeOf = ({ key, value }: Entry): number => key.length + value.length

const over = (resource: RecordStoreLimit["resource"], limit: number, current: number) =>
  Result.fail(new RecordStoreLimit({ resource, limit, current }))

/** In memory of its own: who asked may change it. */
const copyOf = ({ expiresAt, key, value }: Entry): Entry => ({
  key: Bytes.copy(key),
  value: Bytes.copy(value),
  expiresAt
})

export class Table {
  readonly limits: QuotaBounds
  readonly #entries = new Map<string, Entry>()
  readonly #names = new Names()
  readonly #expiries = new Expiries<Entry>()
  readonly #journal: Journal<Entry> | undefined
  #bytes = 0
  /** A longer key is under none, and costs nothing to be made a name of. */
  #maxKey: number

  constructor(limits: QuotaBounds, journalled: boolean) {
    this.limits = limits
    this.#maxKey = limits.keyBytes
    this.#journal = journalled ? new Journal() : undefined
  }

  // ---- asking ---------------------------------------------------------------

  /** Records and bytes held, with those that have expired and are not yet dropped. */
  get held(): { readonly records: number; readonly bytes: number } {
    return { records: this.#entries.size, bytes: this.#bytes }
  }

  /** The record under a key, as long as it has not expired and its rules accept it. */
  get(key: Uint8Array, rules: RecordValidator, now: number): Result.Result<Entry, RecordNotFound> {
    const entry = key.length > this.#maxKey ? undefined : this.#valid(nameOf(key), rules, now)
    return entry === undefined ? Result.fail(new RecordNotFound({ asked: 0 })) : Result.succeed(copyOf(entry))
  }

  /** The names of all keys that begin with `prefix`, in the order of their bytes, as they are now. */
  namesOf(prefix: Uint8Array): ReadonlyArray<string> {
    return prefix.length > this.#maxKey ? [] : this.#names.beginningWith(nameOf(prefix))
  }

  /** The record of a name, if it is still there and its rules, where it has any, accept it. */
  at(name: string, rulesOf: (key: Uint8Array) => RecordValidator | undefined, now: number): Entry | undefined {
    const key = this.#entries.get(name)?.key
    const rules = key === undefined ? undefined : rulesOf(key)
    const entry = rules === undefined ? undefined : this.#valid(name, rules, now)
    return entry === undefined ? undefined : copyOf(entry)
  }

  #valid(name: string, rules: RecordValidator, now: number): Entry | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined || now >= entry.expiresAt) return undefined
    // What was valid when it came may not be now: many records say themselves until when they hold.
    return rules.validate(entry.key, entry.value, now) === undefined ? entry : undefined
  }

  // ---- writing --------------------------------------------------------------

  /**
   * Takes a record if its rules accept it and prefer it to the one that is
   * held, and if there is room. The very same one again only lasts longer.
   */
  put(
    key: Uint8Array,
    value: Uint8Array,
    ttl: number,
    rules: RecordValidator,
    now: number
  ): Result.Result<void, Refusal> {
    const { keyBytes, valueBytes } = this.limits
    if (key.length > keyBytes) return over("key bytes", keyBytes, key.length)
    if (value.length > valueBytes) return over("value bytes", valueBytes, value.length)
    const name = nameOf(key)
    const wrong = rules.validate(key, value, now)
    if (wrong !== undefined) return Result.fail(new RecordInvalid({ detail: wrong }))
    const held = this.#valid(name, rules, now)
    const same = held !== undefined && Bytes.equals(held.value, value)
    if (held !== undefined && !same && rules.select(key, [value, held.value], now) !== 0) {
      return Result.fail(new RecordOutdated())
    }
    this.#sweep(now, sweepSize)
    const room = this.#makeRoom(name, key.length + value.length, now)
    if (Result.isFailure(room)) return room
    const expiresAt = ttl > 0 ? now + ttl : now
    if (!same) this.#set(name, expiresAt > now ? copyOf({ key, value, expiresAt }) : undefined)
    else if (expiresAt > held.expiresAt) this.#set(name, { ...held, expiresAt })
    return Result.void
  }

  delete(key: Uint8Array, now: number): void {
    this.#sweep(now, sweepSize)
    if (key.length <= this.#maxKey) this.#set(nameOf(key), undefined)
  }

  // ---- storage --------------------------------------------------------------

  get hasChanges(): boolean {
    return this.#journal?.isEmpty === false
  }

  /** What changed since the last call; the changes count as stored from here on. */
  takeChanges(): ReadonlyMap<string, Change<Entry>> {
    return this.#journal?.take(this.#entries) ?? new Map()
  }

  /** Makes changes undone that were just taken. */
  undo(changes: ReadonlyMap<string, Change<Entry>>): void {
    for (const [name, { before }] of changes) this.#set(name, before)
    this.#journal?.clear()
  }

  /**
   * Puts back what was stored; what has expired is dropped, as a change. What
   * is over the quota stays: it was acknowledged. Nothing is taken beside it
   * until there is room.
   */
  restore(stored: ReadonlyArray<Entry>, now: number): void {
    for (const entry of stored) {
      this.#set(nameOf(entry.key), entry)
      this.#maxKey = Math.max(this.#maxKey, entry.key.length)
    }
    this.#journal?.clear()
    this.#sweep(now, Number.POSITIVE_INFINITY)
  }

  // ---- inside ---------------------------------------------------------------

  #set(name: string, entry: Entry | undefined): void {
    const before = this.#entries.get(name)
    if (before === entry) return
    this.#journal?.note(name, before)
    this.#bytes += (entry === undefined ? 0 : sizeOf(entry)) - (before === undefined ? 0 : sizeOf(before))
    if (entry === undefined) {
      this.#entries.delete(name)
      this.#names.remove(name)
      return
    }
    this.#entries.set(name, entry)
    if (before === undefined) this.#names.add(name)
    this.#expiries.add(entry)
    // Those that were replaced or deleted before their time are still among them.
    if (this.#expiries.size > 64 + 2 * this.#entries.size) this.#expiries.replace(this.#entries.values())
  }

  /** Drops what has expired: at most `count`, those that ended first. False when there was no more. */
  #sweep(now: number, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const due = this.#expiries.takeDue(now)
      if (due === undefined) return false
      const name = nameOf(due.key)
      if (this.#entries.get(name) === due) this.#set(name, undefined)
    }
    return true
  }

  /** Room for a record of `size` bytes in place of what is under its name. */
  #makeRoom(name: string, size: number, now: number): Result.Result<void, RecordStoreLimit> {
    for (;;) {
      const held = this.#entries.get(name)
      const { bytes, records } = this.limits
      const growth = size - (held === undefined ? 0 : sizeOf(held))
      const tooMany = held === undefined && this.#entries.size >= records
      // What does not make it larger is taken even by a store that holds more than its quota.
      const tooLarge = growth > 0 && this.#bytes + growth > bytes
      if (!tooMany && !tooLarge) return Result.void
      if (!this.#sweep(now, 1)) {
        return tooMany ? over("records", records, this.#entries.size) : over("bytes", bytes, this.#bytes)
      }
    }
  }
}
