/**
 * Who is in the region around a place whose closest peers are a crowd. Asked for
 * the place, honest peers name the crowd; so other places in the region are
 * looked up, until all of it is known or enough was asked.
 *
 * ```
 * const region = new Region(density)
 * region.found(finished)                        // the lookup that found the crowd
 * for (let part = region.next(); part !== undefined; part = region.next()) {
 *   region.found(lookup(any place in the part), part)
 * }
 * region.chosen(limit, groupOf)                 // whom to tell, and whom to ask
 * ```
 *
 * All of them, if they are few enough. A crowd of thousands costs no more than
 * the limit: whom it leaves room for is chosen by the distance, in the measure in
 * which honest peers are at that distance, and by network. So a crowd that is
 * close takes the places of those that are close, and one that is everywhere has
 * to come from many networks.
 */
import { Coverage, type Part } from "./Coverage.ts"
import type { Density } from "./Density.ts"
import * as Key from "./Key.ts"
import type { Finished } from "./Query.ts"
import { spread } from "./Spread.ts"

/** Lookups to get to know a region. */
const maxLookups = 8
/** Parts so many bits smaller than the region are not looked up: who is in them is few. */
const deepest = 4
/** Of each distance some are chosen, however few honest peers are expected there. */
const leastOfLevel = 2

export class Region {
  readonly #part: Part
  readonly #k: number
  readonly #coverage = new Coverage()
  /** By the text of the place. */
  readonly #known = new Map<string, Key.Contact>()
  /** Being looked up, or looked up to no avail. */
  readonly #tried: Array<Part> = []
  #lookups = 0

  constructor({ k, region }: Density) {
    this.#k = k
    this.#part = region
  }

  /** Peers that are known. */
  get size(): number {
    return this.#known.size
  }

  /** A part to look up, by any place in it; several may be at once. `undefined` when there is none, or it was enough. */
  next(): Part | undefined {
    if (this.#lookups >= maxLookups) return undefined
    const gap = this.#coverage.gap(this.#part, this.#tried)
    if (gap === undefined || gap.length > this.#part.length + deepest) return undefined
    this.#lookups += 1
    this.#tried.push(gap)
    return gap
  }

  /** A lookup has ended: of the place itself, or of one in a part. */
  found(lookup: Finished, part?: Part): void {
    const { closest } = lookup.progress
    for (const contact of [...closest, ...lookup.holders]) {
      if (Key.commonPrefix(this.#part.key, contact.key) >= this.#part.length) this.#known.set(contact.key.id, contact)
    }
    if (!lookup.complete) return
    const last = closest[this.#k - 1]
    if (last !== undefined) this.#coverage.add(lookup.target, last.key)
    else if (lookup.exhausted) this.#coverage.addAll()
    if (part !== undefined) this.#tried.splice(this.#tried.indexOf(part), 1)
  }

  /** Those of the region that are known, at most `limit`. `groupOf`: the network that a peer is in, if it is in one. */
  chosen(limit: number, groupOf: (contact: Key.Contact) => string | undefined): ReadonlyArray<Key.Contact> {
    /** By the bits that they share with the place beyond those of the region. */
    const levels: Array<Array<Key.Contact>> = []
    for (const contact of Key.closest(this.#part.key, this.#known.values(), this.#known.size)) {
      const level = Key.commonPrefix(this.#part.key, contact.key) - this.#part.length
      ;(levels[level] ??= []).push(contact)
    }
    const chosen: Array<Key.Contact> = []
    const rest: Array<Key.Contact> = []
    for (const [level, peers = []] of levels.entries()) {
      const diverse = byGroup(peers, groupOf)
      const share = Math.max(leastOfLevel, Math.ceil(limit / 2 ** (level + 1)))
      chosen.push(...diverse.slice(0, share))
      rest.push(...diverse.slice(share))
    }
    return [...chosen, ...rest].slice(0, limit)
  }
}

/** One of each group first, then the second of each. */
const byGroup = (
  peers: ReadonlyArray<Key.Contact>,
  groupOf: (contact: Key.Contact) => string | undefined
): ReadonlyArray<Key.Contact> => {
  const groups = new Map<string, Array<Key.Contact>>()
  for (const contact of peers) {
    const group = groupOf(contact) ?? contact.key.id
    const members = groups.get(group) ?? []
    groups.set(group, members)
    members.push(contact)
  }
  return spread([...groups.values()], peers.length)
}
