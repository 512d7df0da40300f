/**
 * How many peers there are, estimated from how close the closest peers to places
 * by chance are: of N peers, the i-th closest is about i / (N + 1) of the key
 * space away. Fits a line through the origin to the distances of a lookup, each
 * weighted by how sure it is, and takes the mean of the lookups without those
 * that stand out.
 *
 * As go-libp2p-kad-dht/netsize does it; the thresholds are those of its
 * optimistic provide.
 */
import * as Key from "./Key.ts"
import type { Finished } from "./Query.ts"

export interface Options {
  /** Peers that a lookup must have found. Default 20. */
  readonly k?: number | undefined
  /** Lookups that are needed. Default 5. */
  readonly minLookups?: number | undefined
  /** Lookups that are remembered. Default 150. */
  readonly maxLookups?: number | undefined
  /** How long one counts. Default 2 hours. */
  readonly maxAgeMs?: number | undefined
}

export interface Estimate {
  /** Peers in the network, this one included. */
  readonly size: number
  /** Between these with a probability of about 95 %. */
  readonly low: number
  readonly high: number
  /** Lookups that it is made of. */
  readonly lookups: number
}

interface Sample {
  /** Distance between neighbours, as a part of the key space. */
  readonly spacing: number
  readonly at: number
}

/** The part of the lookups that is left out at each end: some are made by liars, some have missed peers. */
const trimmed = 0.1

export class NetworkSize {
  readonly #k: number
  readonly #minLookups: number
  readonly #maxLookups: number
  readonly #maxAgeMs: number
  /** By the first bits of the target: the same peers again are no new evidence. The oldest first. */
  readonly #samples = new Map<number, Sample>()
  /** Peers of the whole network, when a lookup came to its end. */
  #whole: { readonly size: number; readonly at: number } | undefined

  constructor(options: Options = {}) {
    this.#k = options.k ?? 20
    this.#minLookups = options.minLookups ?? 5
    this.#maxLookups = options.maxLookups ?? 150
    this.#maxAgeMs = options.maxAgeMs ?? 7_200_000
  }

  /** A lookup has ended. Only those for the closest peers count: others ended before they knew them. */
  add(lookup: Finished, now: number): void {
    if (!lookup.complete) return
    const { target } = lookup
    const closest = lookup.progress.closest.slice(0, this.#k)
    if (closest.length < this.#k) {
      // With this node, which is in no answer.
      if (lookup.exhausted) this.#whole = { size: closest.length + 1, at: now }
      return
    }
    this.#whole = undefined
    // Least squares with weights of 1 / i, since the variance of the i-th grows with i.
    let sum = 0
    for (const { key } of closest) sum += Key.distance(target, key)
    const spacing = sum / ((this.#k * (this.#k + 1)) / 2)
    const place = (target.words[0] ?? 0) >>> 16
    this.#samples.delete(place)
    this.#samples.set(place, { spacing, at: now })
    const [oldest] = this.#samples.keys()
    if (this.#samples.size > this.#maxLookups && oldest !== undefined) this.#samples.delete(oldest)
  }

  /** The estimate; `undefined` while there is too little to go by. */
  estimate(now: number): Estimate | undefined {
    if (this.#whole !== undefined && now - this.#whole.at < this.#maxAgeMs) {
      const { size } = this.#whole
      return { size, low: size, high: size, lookups: 1 }
    }
    const spacings: Array<number> = []
    for (const { at, spacing } of this.#samples.values()) if (now - at < this.#maxAgeMs) spacings.push(spacing)
    if (spacings.length < this.#minLookups) return undefined
    const cut = Math.floor(spacings.length * trimmed)
    const kept = spacings.toSorted((a, b) => a - b).slice(cut, spacings.length - cut)
    const mean = kept.reduce((sum, one) => sum + one, 0) / kept.length
    // A single fit of k points scatters by this much: more than what is left of it after trimming shows.
    const scatter = Math.sqrt((2 * (2 * this.#k + 1)) / (3 * this.#k * (this.#k + 1)))
    const error = (1.96 * scatter) / Math.sqrt(kept.length)
    const of = (spacing: number) => Math.max(1, Math.round(1 / spacing))
    return {
      size: of(mean),
      low: of(mean * (1 + error)),
      high: of(mean * Math.max(0.01, 1 - error)),
      lookups: spacings.length
    }
  }
}

/** Distances, as parts of the key space, by which to end a lookup early. */
export interface Thresholds {
  /** A peer as close as this is one of the `k` closest in 9 of 10 cases. */
  readonly peer: number
  /** The mean distance of the `k` closest is below this in 9 of 10 cases: `k` peers for which it is are good enough. */
  readonly set: number
}

/** The thresholds for a network of so many peers. */
export const thresholds = (size: number, k = 20): Thresholds => ({
  peer: inverseGamma(k, 0.1) / size,
  set: inverseGamma(Math.floor(k / 2) + 1, 0.9) / size
})

/** Where a Gamma distribution of whole shape reaches a probability: by halving. */
const inverseGamma = (shape: number, probability: number): number => {
  const reached = (x: number): number => {
    let term = Math.exp(-x)
    let rest = term
    for (let i = 1; i < shape; i++) {
      term *= x / i
      rest += term
    }
    return 1 - rest
  }
  let low = 0
  let high = 10 * shape + 50
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (reached(middle) < probability) low = middle
    else high = middle
  }
  return low
}
