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
import { inverseGamma } from "./Gamma.ts"
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

/** Leading bits of a cell: of the lookups in one cell only the last counts where caution is asked for. */
const cellBits = 5

/** Those of which the upper quartile is taken are this many standard deviations below it, in the middle. */
const quartile = 0.674

/** An estimate is believed up to so many times what is seen around this node. */
const believed = 2

/** Bits of the place of a sample. */
const placeBits = 16

const placeOf = (key: Key.Key): number => (key.words[0] ?? 0) >>> (32 - placeBits)
const cellOf = (place: number): number => place >>> (placeBits - cellBits)

/** Least squares with weights of 1 / i, since the variance of the i-th grows with i. */
const spacingOf = (target: Key.Key, closest: ReadonlyArray<Key.Contact>): number => {
  let sum = 0
  for (const { key } of closest) sum += Key.distance(target, key)
  return sum / ((closest.length * (closest.length + 1)) / 2)
}

/** How much a single fit of `k` points scatters, as a part of it. */
const scatterOf = (k: number): number => Math.sqrt((2 * (2 * k + 1)) / (3 * k * (k + 1)))

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
    const place = placeOf(target)
    this.#samples.delete(place)
    this.#samples.set(place, { spacing: spacingOf(target, closest), at: now })
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
    // More than what is left of it after trimming shows.
    const error = (1.96 * scatterOf(this.#k)) / Math.sqrt(kept.length)
    const of = (spacing: number) => Math.max(1, Math.round(1 / spacing))
    return {
      size: of(mean),
      low: of(mean * (1 + error)),
      high: of(mean * Math.max(0.01, 1 - error)),
      lookups: spacings.length
    }
  }

  /**
   * The size that the peers around a place are held against, to see whether they
   * are a crowd. Whoever wants to hide one has to make the network seem larger
   * than it is, and this is not easily made larger: lookups near the place do not
   * count, and of others one of each cell; of these the sparser ones are taken, so
   * that three of four would have to be led astray; and it is at most twice what
   * this node sees around itself. Made smaller, it raises false alarms.
   *
   * `neighbours` are those of this node's table, if it knows them all;
   * `undefined` when there is nothing to go by.
   */
  cautious(now: number, neighbours: Neighbours | undefined): (target: Key.Key) => number | undefined {
    if (this.#whole !== undefined && now - this.#whole.at < this.#maxAgeMs) {
      const { size } = this.#whole
      return () => size
    }
    const cells = new Map<number, number>()
    for (const [place, { at, spacing }] of this.#samples) {
      if (now - at < this.#maxAgeMs) cells.set(cellOf(place), spacing)
    }
    const around =
      neighbours === undefined || neighbours.closest.length < this.#k
        ? undefined
        : {
            cell: cellOf(placeOf(neighbours.self)),
            size: 1 / spacingOf(neighbours.self, neighbours.closest.slice(0, this.#k))
          }
    const sizeIn = (cell: number): number | undefined => {
      const looked = this.#sparse([...cells].flatMap(([one, spacing]) => (one === cell ? [] : [spacing])))
      // A crowd at a place beside this node may be around it, too: then it counts where there is nothing else.
      if (around === undefined || looked === undefined) return looked ?? around?.size
      return around.cell === cell ? looked : Math.min(looked, believed * around.size)
    }
    const known = new Map<number, number | undefined>()
    return (target) => {
      const cell = cellOf(placeOf(target))
      if (!known.has(cell)) known.set(cell, sizeIn(cell))
      return known.get(cell)
    }
  }

  /** The size by the sparser ones of some lookups; `undefined` if they are too few. */
  #sparse(spacings: ReadonlyArray<number>): number | undefined {
    if (spacings.length < this.#minLookups) return undefined
    const spacing = spacings.toSorted((a, b) => a - b)[Math.floor(0.75 * spacings.length)]
    return spacing === undefined ? undefined : (1 + quartile * scatterOf(this.#k)) / spacing
  }
}

/** This node, and the peers of its table that are closest to it, the closest first. */
export interface Neighbours {
  readonly self: Key.Key
  readonly closest: ReadonlyArray<Key.Contact>
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
