/**
 * Whether more peers are close to a place than chance puts there. An id costs
 * nothing: who makes enough of them can be all of the closest to a key, take
 * what is put there, and keep it from who looks for it.
 *
 * Of N peers at places by chance, the distance of the i-th closest to any place,
 * times N, has a Gamma distribution of shape i. To be all of the `k` closest, a
 * crowd must be closer than the closest honest peer, and that is closer by far
 * than the k-th closest should be. Then the honest peers who would hold what
 * belongs to the place are further away: in the region that as many peers are
 * expected in.
 *
 * After Sridhar and others, "Content Censorship in the InterPlanetary File
 * System" (2024), who compare the lengths of common prefixes; distances say more
 * where `k` is small.
 */
import type { Part } from "./Coverage.ts"
import { inverseGamma } from "./Gamma.ts"
import * as Key from "./Key.ts"

/** How often chance is taken for a crowd, if the size of the network were known exactly. */
const falseAlarms = 0.01

/** Distances that are too close, times the size of the network. */
export interface Limits {
  readonly k: number
  /** Of the `k`-th closest, and of the one in the middle: half a crowd leaves few to hold what is put. */
  readonly last: number
  readonly middle: number
}

/** The limits where a lookup finds `k` peers. */
export const limits = (k: number): Limits => ({
  k,
  last: inverseGamma(k, falseAlarms / 2),
  middle: inverseGamma(Math.ceil(k / 2), falseAlarms / 2)
})

/** What is expected around one place. */
export class Density {
  readonly target: Key.Key
  readonly k: number
  /** Peers of the network, of which the expectation is made. */
  readonly size: number
  readonly #limits: Limits

  constructor(target: Key.Key, size: number, all: Limits) {
    this.target = target
    this.size = size
    this.k = all.k
    this.#limits = all
  }

  /** True when peers, the closest first, are too close to be so by chance. Fewer than `k` say nothing. */
  isCrowded(nearest: ReadonlyArray<Key.Contact>): boolean {
    if (nearest.length < this.k) return false
    const { last, middle } = this.#limits
    return this.#isCloser(nearest[this.k - 1], last) || this.#isCloser(nearest[Math.ceil(this.k / 2) - 1], middle)
  }

  /** The part of the key space around the place that `k` peers are expected in, up to twice as many. */
  get region(): Part {
    return { key: this.target, length: Math.max(0, Math.floor(Math.log2(this.size / this.k))) }
  }

  #isCloser(one: Key.Contact | undefined, limit: number): boolean {
    return one !== undefined && this.size * Key.distance(this.target, one.key) < limit
  }
}
