/**
 * Who is being asked whether it is there, few at once, and who waits for that,
 * those that came first first. Some take their time, and hold up the others:
 * beyond the bound, nobody waits.
 */
import type * as Key from "./Key.ts"

export interface Options {
  /** Peers that are asked at once. */
  readonly atOnce: number
  /** Peers that wait to be asked. */
  readonly waiting: number
}

export class Checks {
  readonly #options: Options
  readonly #asked = new Set<string>()
  readonly #waiting = new Map<string, Key.Contact>()

  constructor(options: Options) {
    this.#options = options
  }

  /** Peers that are asked now. */
  get size(): number {
    return this.#asked.size
  }

  /** How many more may be asked now. */
  get room(): number {
    return this.#options.atOnce - this.#asked.size
  }

  /** True when the peer is to be asked now, and counts as asked from here on; otherwise it waits, if there is room. */
  begin(contact: Key.Contact): boolean {
    const { id } = contact.key
    if (this.#asked.has(id)) return false
    if (this.room <= 0) {
      if (this.#waiting.size < this.#options.waiting) this.#waiting.set(id, contact)
      return false
    }
    this.#waiting.delete(id)
    this.#asked.add(id)
    return true
  }

  /** A peer was asked, whatever came of it; gives who is to be checked next, of those that are `wanted` still. */
  done(contact: Key.Contact, wanted: (next: Key.Contact) => boolean): Key.Contact | undefined {
    this.#asked.delete(contact.key.id)
    for (const [id, next] of this.#waiting) {
      this.#waiting.delete(id)
      if (wanted(next)) return next
    }
    return undefined
  }
}
