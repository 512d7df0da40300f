/**
 * What ends when: a binary heap by time. An item cannot be taken out alone before
 * its time; who adds items knows whether one that is due still counts.
 */

interface Ending {
  readonly expiresAt: number
}

export class Expiries<A extends Ending> {
  #heap: Array<A> = []

  get size(): number {
    return this.#heap.length
  }

  /** An item that never ends is not kept. */
  add(item: A): void {
    if (item.expiresAt === Number.POSITIVE_INFINITY) return
    this.#heap.push(item)
    this.#rise(this.#heap.length - 1)
  }

  /** Takes the item that ended first, if it has ended by `now`. */
  takeDue(now: number): A | undefined {
    const first = this.#heap[0]
    if (first === undefined || first.expiresAt > now) return undefined
    const last = this.#heap.pop()
    if (last !== undefined && last !== first) {
      this.#heap[0] = last
      this.#sink(0)
    }
    return first
  }

  /** When the first item ends. */
  get next(): number {
    return this.#heap[0]?.expiresAt ?? Number.POSITIVE_INFINITY
  }

  /** Drops those that do not count any more. */
  keep(counts: (item: A) => boolean): void {
    this.replace(this.#heap.filter(counts))
  }

  /** Holds these, and no others. */
  replace(items: Iterable<A>): void {
    this.#heap = []
    for (const item of items) this.add(item)
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    return one !== undefined && (other === undefined || one.expiresAt < other.expiresAt)
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (one === undefined || other === undefined) return
    this.#heap[a] = other
    this.#heap[b] = one
  }

  #rise(from: number): void {
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#before(at, parent)) return
      this.#swap(at, parent)
      at = parent
    }
  }

  #sink(from: number): void {
    let at = from
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      const child = this.#before(right, left) ? right : left
      if (!this.#before(child, at)) return
      this.#swap(at, child)
      at = child
    }
  }
}
