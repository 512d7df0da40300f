/**
 * Which parts of the key space are known: where every peer that there is has
 * been seen. The closest peers to one place, found by a lookup, are all within
 * the distance of the last of them; what several lookups tell adds up, and may
 * tell the closest peers to other places without another lookup.
 *
 * A binary tree: at each depth a bit of the place, down to a part that is known
 * in full.
 */
import * as Key from "./Key.ts"

/** Bits that are looked at. Parts smaller than that hold no second peer. */
const maxDepth = 80

/** A part of the key space: what shares the first `length` bits with `key`. */
export interface Part {
  readonly key: Key.Key
  readonly length: number
}

interface Node {
  full: boolean
  zero: Node | undefined
  one: Node | undefined
}

const leaf = (full: boolean): Node => ({ full, zero: undefined, one: undefined })

export class Coverage {
  #root = leaf(false)

  /** True when all of the key space is known. */
  get complete(): boolean {
    return this.#root.full
  }

  /** All of the key space is known: a lookup came to the end of the network. */
  addAll(): void {
    this.#root = leaf(true)
  }

  /** Every peer as close to `center` as `last`, or closer, is known. */
  add(center: Key.Key, last: Key.Key): void {
    this.#add(this.#root, 0, center, last)
  }

  /** True when every peer as close to `center` as `last`, or closer, is known. */
  has(center: Key.Key, last: Key.Key): boolean {
    let node: Node | undefined = this.#root
    for (let depth = 0; ; depth++) {
      if (node === undefined) return false
      if (node.full) return true
      if (depth === maxDepth) return false
      const here = Key.bitAt(center, depth)
      const there = Key.bitAt(last, depth)
      // All on the side of the center is closer than the last, if that is on the other.
      if (here !== there && child(node, here)?.full !== true) return false
      node = child(node, there)
    }
  }

  /** The largest part that is not known, within a part, and none of the `others`; `undefined` when there is none. */
  gap({ key: prefix, length }: Part, others: ReadonlyArray<Part> = []): Part | undefined {
    const isOther = (key: Key.Key, depth: number): boolean =>
      others.some((one) => one.length === depth && Key.commonPrefix(one.key, key) >= depth)
    let node: Node | undefined = this.#root
    for (let depth = 0; depth < length; depth++) {
      if (node?.full === true) return undefined
      node = node === undefined ? undefined : child(node, Key.bitAt(prefix, depth))
    }
    // Breadth first: the part that is nearest to the top is the largest.
    let row: Array<{ readonly node: Node | undefined; readonly key: Key.Key }> = [{ node, key: prefix }]
    for (let depth = length; row.length > 0 && depth <= maxDepth; depth++) {
      const below: typeof row = []
      for (const { key, node } of row) {
        if (node?.full === true || isOther(key, depth)) continue
        if (node === undefined || (node.zero === undefined && node.one === undefined)) return { key, length: depth }
        const bit = Key.bitAt(key, depth)
        below.push({ node: child(node, bit), key }, { node: child(node, bit === 0 ? 1 : 0), key: Key.flip(key, depth) })
      }
      row = below
    }
    return undefined
  }

  #add(node: Node, depth: number, center: Key.Key, last: Key.Key): void {
    if (node.full) return
    if (depth === maxDepth) {
      node.full = true
      return
    }
    const here = Key.bitAt(center, depth)
    const there = Key.bitAt(last, depth)
    if (here !== there) grow(node, here).full = true
    this.#add(grow(node, there), depth + 1, center, last)
    if (node.zero?.full === true && node.one?.full === true) {
      node.full = true
      node.zero = undefined
      node.one = undefined
    }
  }
}

const child = (node: Node, bit: 0 | 1): Node | undefined => (bit === 0 ? node.zero : node.one)

const grow = (node: Node, bit: 0 | 1): Node => (bit === 0 ? (node.zero ??= leaf(false)) : (node.one ??= leaf(false)))
