/**
 * Finds the closest peers to each of many keys with few lookups. One lookup
 * tells all peers around a key, so that those of its neighbours are often known
 * already: see Coverage. Only who cannot be answered for exactly is looked up.
 *
 * ```
 * const sweep = new Sweep(items)
 * for (let step = sweep.next(); step !== undefined; step = sweep.next()) {
 *   // the place of the item, or any place in the part
 *   sweep.found(lookup(step))                    // or sweep.failed()
 * }
 * sweep.holders                                  // who is to hold what
 * ```
 *
 * Where several keys are near, the part of the space around them is explored
 * until all peers in it are known; a lone key is looked up itself.
 */
import { Coverage, type Part } from "./Coverage.ts"
import * as Key from "./Key.ts"
import type { Finished } from "./Query.ts"

/** Something with a place. */
export interface Item {
  readonly key: Key.Key
}

/** What to look up: the place of an item, or any place in a part. */
export type Step<A extends Item> =
  | { readonly _tag: "Item"; readonly item: A }
  | { readonly _tag: "Explore"; readonly part: Part }

/** What a peer is to hold. */
export interface Holder<A extends Item> {
  readonly contact: Key.Contact
  readonly items: ReadonlyArray<A>
}

/** With so many more keys in a part, it is worth to get to know all of it. */
const worthExploring = 3

/** Lookups to get to know a part, before its keys are looked up one by one; never more than it has keys. */
const maxExploring = 8

export class Sweep<A extends Item> {
  readonly #k: number
  /** In the order of their places: neighbours follow each other. */
  readonly #items: ReadonlyArray<A>
  readonly #coverage = new Coverage()
  /** Every peer that was found, in the order of their places. */
  readonly #known: Array<Key.Contact> = []
  readonly #holders = new Map<string, { readonly contact: Key.Contact; readonly items: Array<A> }>()
  readonly #missed: Array<A> = []
  #at = 0
  #lookups = 0
  /** What is being looked up. */
  #step: Step<A> | undefined
  /** The part that is being explored, and how many lookups it may still cost. */
  #part: Part | undefined
  #left = 0

  constructor(items: ReadonlyArray<A>, k = 20) {
    this.#k = Math.max(1, k)
    this.#items = items.toSorted((a, b) => Key.order(a.key, b.key))
  }

  /** Lookups that were asked for so far. */
  get lookups(): number {
    return this.#lookups
  }

  /** Who is to hold what, as far as it is known. */
  get holders(): ReadonlyArray<Holder<A>> {
    return [...this.#holders.values()]
  }

  /** Items that no lookup came to an end for. */
  get missed(): ReadonlyArray<A> {
    return this.#missed
  }

  /** What to look up next; `undefined` when all is settled. What is known is settled on the way. */
  next(): Step<A> | undefined {
    this.#step = undefined
    for (let item = this.#items[this.#at]; item !== undefined; item = this.#items[this.#at]) {
      const closest = this.#closest(item.key)
      const last = closest[this.#k - 1]
      if (this.#coverage.complete || (last !== undefined && this.#coverage.has(item.key, last.key))) {
        this.#settle(item, closest)
        continue
      }
      const part = this.#gap(item)
      this.#lookups += 1
      this.#step = part === undefined ? { _tag: "Item", item } : { _tag: "Explore", part }
      return this.#step
    }
    return undefined
  }

  /** The lookup that `next` asked for has ended. */
  found(lookup: Finished): void {
    const step = this.#step
    if (step === undefined || !isOf(step, lookup.target)) return
    if (!lookup.complete) return this.failed()
    this.#step = undefined
    const { closest } = lookup.progress
    for (const contact of closest) this.#learn(contact)
    const last = closest[this.#k - 1]
    if (last !== undefined) this.#coverage.add(lookup.target, last.key)
    else if (lookup.exhausted) this.#coverage.addAll()
    if (step._tag === "Explore") return
    this.#settle(step.item, closest)
    if (last !== undefined) this.#explore({ key: step.item.key, length: Key.commonPrefix(step.item.key, last.key) })
  }

  /** The lookup that `next` asked for came to nothing. */
  failed(): void {
    const step = this.#step
    this.#step = undefined
    this.#part = undefined
    if (step?._tag !== "Item") return
    this.#missed.push(step.item)
    this.#at += 1
  }

  // ---- inside ---------------------------------------------------------------

  /** Gets to know a part, if there are enough items in it. It holds `k` peers, so that none outside are closer. */
  #explore(part: Part): void {
    let further = 0
    while (further < maxExploring) {
      const item = this.#items[this.#at + further]
      if (item === undefined || !isIn(part, item.key)) break
      further += 1
    }
    this.#part = further < worthExploring ? undefined : part
    this.#left = further
  }

  /** What to explore, while the item is in the part that is being explored. */
  #gap(item: A): Part | undefined {
    if (this.#part === undefined || this.#left === 0 || !isIn(this.#part, item.key)) return undefined
    this.#left -= 1
    return this.#coverage.gap(this.#part)
  }

  #settle(item: A, closest: ReadonlyArray<Key.Contact>): void {
    this.#at += 1
    for (const contact of closest.slice(0, this.#k)) {
      const holder = this.#holders.get(contact.key.id)
      if (holder === undefined) this.#holders.set(contact.key.id, { contact, items: [item] })
      else holder.items.push(item)
    }
  }

  #learn(contact: Key.Contact): void {
    const at = this.#position(contact.key)
    const there = this.#known[at]
    if (there === undefined || !Key.equals(there.key, contact.key)) this.#known.splice(at, 0, contact)
  }

  /** Where the first known peer is whose place is not before the key. */
  #position(key: Key.Key): number {
    let low = 0
    let high = this.#known.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const one = this.#known[middle]
      if (one !== undefined && Key.order(one.key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The closest of the known peers: they are among those that share the most bits, and these stand side by side. */
  #closest(key: Key.Key): ReadonlyArray<Key.Contact> {
    const at = this.#position(key)
    const shares = (index: number): number => {
      const one = this.#known[index]
      return one === undefined ? -1 : Key.commonPrefix(one.key, key)
    }
    let from = at
    let to = at
    let shared = Key.bits
    while (to - from < this.#k && (from > 0 || to < this.#known.length)) {
      shared = Math.max(shares(from - 1), shares(to))
      while (shares(from - 1) >= shared) from -= 1
      while (shares(to) >= shared) to += 1
    }
    return Key.closest(key, this.#known.slice(from, to), this.#k)
  }
}

const isIn = (part: Part, key: Key.Key): boolean => Key.commonPrefix(part.key, key) >= part.length

const isOf = <A extends Item>(step: Step<A>, target: Key.Key): boolean =>
  step._tag === "Item" ? Key.equals(step.item.key, target) : isIn(step.part, target)
