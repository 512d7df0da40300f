/**
 * Peers that did not answer lately, so that lookups do without them for a
 * while: those that still know such a peer go on naming it, and each lookup
 * would wait for it anew. Who is heard of is silent no more.
 *
 * Short, and bounded: a peer that starts again is asked soon, and it is this
 * node alone that decides who is silent.
 */
import type * as Key from "./Key.ts"

/** How long a peer is left alone. */
const lastsMs = 60_000
/** Peers remembered; the one that has been silent for longest is forgotten. */
const maxPeers = 1024

export class Silence {
  /** Since when, those that have been silent for longest first. */
  readonly #since = new Map<string, number>()

  /** A peer did not answer. */
  add({ key }: Key.Contact, now: number): void {
    this.#since.delete(key.id)
    this.#since.set(key.id, now)
    if (this.#since.size > maxPeers) {
      const [oldest] = this.#since.keys()
      if (oldest !== undefined) this.#since.delete(oldest)
    }
  }

  /** A peer was heard of. */
  end({ key }: Key.Contact): void {
    this.#since.delete(key.id)
  }

  has({ key }: Key.Contact, now: number): boolean {
    const since = this.#since.get(key.id)
    if (since === undefined) return false
    if (now - since < lastsMs) return true
    this.#since.delete(key.id)
    return false
  }

  /** Those of the peers that are not silent; all of them, if all are. */
  without(contacts: ReadonlyArray<Key.Contact>, now: number): ReadonlyArray<Key.Contact> {
    if (this.#since.size === 0) return contacts
    const left = contacts.filter((contact) => !this.has(contact, now))
    return left.length > 0 ? left : contacts
  }
}
