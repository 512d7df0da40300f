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
 * until all peers in it are known; a lone key is looked up itself. Where the
 * closest peers are a crowd, all of a region are to hold what belongs to it.
 */
import { Coverage, type Part } from "./Coverage.ts"
import * as Key from "./Key.ts"
import type { Finished } from "./Query.ts"
import { Shelf } from "./Shelf.ts"
import { spread } from "./Spread.ts"

/** Something with a place. */
export interface Item {
  readonly key: Key.Key
}

/** What to look up: the place of an item, or any place in a part. */
export type Step<A extends Item> =
  | { readonly _tag: "Item"; readonly item: A }
  | { readonly _tag: "Explore"; readonly part: Part }

/** Who is to hold an item that was looked up; all in a region, if there is one. */
export interface Held {
  readonly holders: ReadonlyArray<Key.Contact>
  readonly region?: Part | undefined
}

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
  readonly #isCrowded: (key: Key.Key, closest: ReadonlyArray<Key.Contact>) => boolean
  /** In the order of their places: neighbours follow each other. */
  readonly #items: ReadonlyArray<A>
  readonly #coverage = new Coverage()
  /** Every peer that was found, and those that each path has found. */
  readonly #known = new Shelf()
  readonly #paths: Array<Shelf> = []
  readonly #holders = new Map<string, { readonly contact: Key.Contact; readonly items: Array<A> }>()
  readonly #missed: Array<A> = []
  #at = 0
  #lookups = 0
  /** The last region all of which is to hold what belongs to it. */
  #region: Held | undefined
  /** What is being looked up. */
  #step: Step<A> | undefined
  /** The part that is being explored, and how many lookups it may still cost. */
  #part: Part | undefined
  #left = 0

  /** `isCrowded`: whether the peers closest to a place are too close to be so by chance. */
  constructor(
    items: ReadonlyArray<A>,
    k = 20,
    isCrowded: (key: Key.Key, closest: ReadonlyArray<Key.Contact>) => boolean = () => false
  ) {
    this.#k = Math.max(1, k)
    this.#isCrowded = isCrowded
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
      if (this.#region?.region !== undefined && isIn(this.#region.region, item.key)) {
        this.#settle(item, this.#region.holders)
        continue
      }
      const closest = this.#known.closest(item.key, this.#k)
      const last = closest[this.#k - 1]
      const isKnown = this.#coverage.complete || (last !== undefined && this.#coverage.has(item.key, last.key))
      const isCrowded = isKnown && this.#isCrowded(item.key, closest)
      if (isKnown && !isCrowded) {
        this.#settle(item, this.#spread(item.key))
        continue
      }
      const part = isCrowded ? undefined : this.#gap(item)
      this.#lookups += 1
      this.#step = part === undefined ? { _tag: "Item", item } : { _tag: "Explore", part }
      return this.#step
    }
    return undefined
  }

  /** The lookup that `next` asked for has ended. */
  found(lookup: Finished, held: Held = lookup): void {
    const step = this.#step
    if (step === undefined || !isOf(step, lookup.target)) return
    if (!lookup.complete) return this.failed()
    this.#step = undefined
    const { closest } = lookup.progress
    for (const contact of closest) this.#known.add(contact)
    for (const [i, path] of lookup.paths.entries()) {
      const shelf = (this.#paths[i] ??= new Shelf())
      for (const contact of path) shelf.add(contact)
    }
    const last = closest[this.#k - 1]
    if (last !== undefined) this.#coverage.add(lookup.target, last.key)
    else if (lookup.exhausted) this.#coverage.addAll()
    if (step._tag === "Explore") return
    this.#settle(step.item, held.holders)
    if (held.region !== undefined) this.#region = held
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

  #settle(item: A, holders: ReadonlyArray<Key.Contact>): void {
    this.#at += 1
    for (const contact of holders) {
      const holder = this.#holders.get(contact.key.id)
      if (holder === undefined) this.#holders.set(contact.key.id, { contact, items: [item] })
      else holder.items.push(item)
    }
  }

  /** Of each path in turn the closest that it has found. On one path, the closest. */
  #spread(key: Key.Key): ReadonlyArray<Key.Contact> {
    return spread(
      this.#paths.map((path) => path.closest(key, this.#k)),
      this.#k
    )
  }
}

const isIn = (part: Part, key: Key.Key): boolean => Key.commonPrefix(part.key, key) >= part.length

const isOf = <A extends Item>(step: Step<A>, target: Key.Key): boolean =>
  step._tag === "Item" ? Key.equals(step.item.key, target) : isIn(step.part, target)
