/**
 * What a node provides, and when each key was last announced, as it is kept in
 * a file: the entries, and which of them changed. Times are of the clock on the
 * wall, since a node starts again with another one.
 *
 * A change that could not be stored is stored with the next one: the node goes
 * on with what it knows.
 */
import * as Bytes from "../../../data/Bytes.ts"
import { type Change, Journal } from "../../internal/Journal.ts"

export interface Entry {
  /** The DHT that it is announced in. */
  readonly realm: string
  readonly key: Uint8Array
  readonly announcedAt: number | undefined
}

const nameOf = (realm: string, key: Uint8Array): string => `${realm} ${Bytes.toHex(key)}`

export class Kept {
  readonly #entries = new Map<string, Entry>()
  readonly #journal = new Journal<Entry>()

  /** What is provided in a DHT, in the order in which it was added. */
  of(realm: string): ReadonlyArray<Entry> {
    return [...this.#entries.values()].filter((entry) => entry.realm === realm)
  }

  /** The key is provided; it was announced at that time, or is yet to be. */
  set(realm: string, key: Uint8Array, announcedAt: number | undefined): void {
    const name = nameOf(realm, key)
    const before = this.#entries.get(name)
    if (before !== undefined && before.announcedAt === announcedAt) return
    this.#journal.note(name, before)
    this.#entries.set(name, { realm, key: before?.key ?? Bytes.copy(key), announcedAt })
  }

  /** The key is provided no more. */
  delete(realm: string, key: Uint8Array): void {
    const name = nameOf(realm, key)
    const before = this.#entries.get(name)
    if (before === undefined) return
    this.#journal.note(name, before)
    this.#entries.delete(name)
  }

  // ---- storage --------------------------------------------------------------

  get hasChanges(): boolean {
    return !this.#journal.isEmpty
  }

  /** What changed since the last call; the changes count as stored from here on. */
  takeChanges(): ReadonlyMap<string, Change<Entry>> {
    return this.#journal.take(this.#entries)
  }

  /** Changes that were just taken are not stored: they will be with the next. */
  undo(changes: ReadonlyMap<string, Change<Entry>>): void {
    for (const [name, { before }] of changes) this.#journal.note(name, before)
  }

  /** Puts back what was stored. */
  restore(stored: ReadonlyArray<Entry>): void {
    for (const entry of stored) this.#entries.set(nameOf(entry.realm, entry.key), entry)
  }
}
