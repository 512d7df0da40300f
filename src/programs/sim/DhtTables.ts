/**
 * Routing tables as nodes have them that were long in the network, without the
 * days that it takes: of each distance some peers, drawn, and all of the nearest.
 * What it skips is joining; the nodes, and all that they do from then on, are
 * the same.
 */
import * as Key from "../../layers/kad/core/Key.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"

/** So many nodes do not join one by one: their tables are prepared, and what they sign and encrypt costs nothing. */
export const large = 100

interface Placed {
  readonly key: Key.Key
  readonly peer: RoutedPeer
}

/** Peers that wait for a place in a full bucket: more are not sought out. */
const waiting = 3

/** All who answer in a network. */
export class Population {
  readonly #all: Array<Placed> = []
  #sorted = true

  add(peer: RoutedPeer): void {
    this.#all.push({ key: Key.fromBytes(peer.peer.bytes), peer })
    this.#sorted = false
  }

  /** The table of one of them, with `k` peers of each distance, and some that wait for a place. */
  tableOf(self: Key.Key, k: number, random: Prng): ReadonlyArray<RoutedPeer> {
    if (!this.#sorted) this.#all.sort((a, b) => Key.order(a.key, b.key))
    this.#sorted = true
    const table: Array<RoutedPeer> = []
    const take = (places: ReadonlyArray<Placed>): void => {
      for (const { key, peer } of places) if (!Key.equals(key, self)) table.push(peer)
    }
    // Those that share so many bits stand side by side.
    let [from, to] = [0, this.#all.length]
    for (let shared = 0; to - from > k + 1; shared++) {
      const middle = this.#firstHigh(shared, from, to)
      const isHigh = Key.bitAt(self, shared) === 1
      take(drawn(this.#all.slice(...(isHigh ? [from, middle] : [middle, to])), k + waiting, random))
      if (isHigh) from = middle
      else to = middle
    }
    take(this.#all.slice(from, to))
    return table
  }

  /** Where those with this bit begin, in a range that is alike before it. */
  #firstHigh(bit: number, from: number, to: number): number {
    let [low, high] = [from, to]
    while (low < high) {
      const middle = (low + high) >>> 1
      const one = this.#all[middle]
      if (one !== undefined && Key.bitAt(one.key, bit) === 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** So many of a list, or all. */
const drawn = <A>(list: Array<A>, count: number, random: Prng): ReadonlyArray<A> => {
  if (list.length <= count) return list
  for (let i = 0; i < count; i++) {
    const other = i + random.below(list.length - i)
    const [a, b] = [list[i], list[other]]
    if (a === undefined || b === undefined) continue
    list[i] = b
    list[other] = a
  }
  return list.slice(0, count)
}
