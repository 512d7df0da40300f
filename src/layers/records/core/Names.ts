/**
 * Keys as names: one character a byte, so that they serve in a `Map` and their
 * order is the order of the bytes.
 */

/** Bytes that become characters in one call; each is an argument of it. */
const atOnce = 4096

export const nameOf = (key: Uint8Array): string => {
  let name = ""
  for (let i = 0; i < key.length; i += atOnce) {
    name += Reflect.apply(String.fromCharCode, undefined, key.subarray(i, i + atOnce))
  }
  return name
}

/**
 * Names in their order. What is added or removed is put in its place when the
 * order is asked for, or when it has become too much.
 */
export class Names {
  /** In order, with those removed since. */
  #sorted: Array<string> = []
  readonly #added = new Set<string>()
  readonly #removed = new Set<string>()

  /** A name that is not there. */
  add(name: string): void {
    if (!this.#removed.delete(name)) this.#added.add(name)
  }

  /** A name that is there. */
  remove(name: string): void {
    if (this.#added.delete(name)) return
    this.#removed.add(name)
    if (this.#removed.size > 64 + this.#sorted.length / 2) this.#settle()
  }

  /** Those that begin with `prefix`, in order. */
  beginningWith(prefix: string): ReadonlyArray<string> {
    this.#settle()
    const sorted = this.#sorted
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sorted[middle] ?? "") < prefix) low = middle + 1
      else high = middle
    }
    let end = low
    while (sorted[end]?.startsWith(prefix) === true) end++
    return sorted.slice(low, end)
  }

  #settle(): void {
    if (this.#added.size === 0 && this.#removed.size === 0) return
    const kept = this.#removed.size === 0 ? this.#sorted : this.#sorted.filter((name) => !this.#removed.has(name))
    // The engine merges two runs that are in order; it does not sort them anew.
    this.#sorted = [...kept, ...[...this.#added].toSorted(byCode)]
    if (this.#added.size > 0) this.#sorted.sort(byCode)
    this.#added.clear()
    this.#removed.clear()
  }
}

const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
