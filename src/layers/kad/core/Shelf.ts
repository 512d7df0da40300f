/** Peers in the order of their places, so that those closest to any place are found at once. */
import * as Key from "./Key.ts"

export class Shelf {
  readonly #all: Array<Key.Contact> = []

  add(contact: Key.Contact): void {
    const at = this.#position(contact.key)
    const there = this.#all[at]
    if (there === undefined || !Key.equals(there.key, contact.key)) this.#all.splice(at, 0, contact)
  }

  /** The closest to a place, the closest first: they are among those that share the most bits, and these stand side by side. */
  closest(key: Key.Key, count: number): ReadonlyArray<Key.Contact> {
    const at = this.#position(key)
    const shares = (index: number): number => {
      const one = this.#all[index]
      return one === undefined ? -1 : Key.commonPrefix(one.key, key)
    }
    let from = at
    let to = at
    let shared = Key.bits
    while (to - from < count && (from > 0 || to < this.#all.length)) {
      shared = Math.max(shares(from - 1), shares(to))
      while (shares(from - 1) >= shared) from -= 1
      while (shares(to) >= shared) to += 1
    }
    return Key.closest(key, this.#all.slice(from, to), count)
  }

  /** Where the first peer is whose place is not before the key. */
  #position(key: Key.Key): number {
    let low = 0
    let high = this.#all.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const one = this.#all[middle]
      if (one !== undefined && Key.order(one.key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
