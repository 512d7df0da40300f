/**
 * Announcing before the lookup has come to its end: from the size of the
 * network follows how close the closest peers to a key are, so that a peer can
 * be known as one of them as soon as it is heard of. Those are told at once,
 * and the lookup ends when the closest that are known are as close as they will
 * get. The long end of a lookup, which only proves that nobody is closer, is
 * left out, and so are the slowest of those that are told.
 *
 * ```
 * lookup's step --step--> whom to tell now, and whether to stop
 * lookup's end  --finish--> the rest of the closest
 * what came of telling --settled--> enough | open | short
 * ```
 *
 * As go-libp2p-kad-dht's lookup_optim.go does it, with three differences: the
 * upper end of the estimate is taken, which errs towards the classic way; only
 * those who were reached count, not those who were tried; and while fewer than
 * `k` peers are known, it does not stop.
 */
import type { Density } from "./Density.ts"
import * as Key from "./Key.ts"
import { type Estimate, thresholds, type Thresholds } from "./NetworkSize.ts"

export interface Options {
  readonly target: Key.Key
  readonly estimate: Estimate
  /** Holders of a key. Default 20. */
  readonly k?: number | undefined
  /** What is expected around the key: nobody of a crowd is told. */
  readonly density?: Density | undefined
}

/** The part of the holders that must have been told before who asked is answered. */
const share = 0.75

/** An estimate whose ends are further apart than this, as a factor, is no ground to stop on. */
const maxUncertainty = 2

/** In a network of fewer than so many times `k` peers, a lookup is short, and an estimate of little worth. */
const minSize = 2

/** True when there is an estimate that is certain enough for {@link OptimisticProvide}. */
export const isUsable = (estimate: Estimate | undefined, k = 20): estimate is Estimate =>
  estimate !== undefined && estimate.high <= maxUncertainty * estimate.low && estimate.low >= minSize * k

export class OptimisticProvide {
  readonly #target: Key.Key
  readonly #k: number
  readonly #thresholds: Thresholds
  readonly #density: Density | undefined
  readonly #told = new Map<string, "open" | "told" | "failed">()
  #open = 0
  #reached = 0
  #ended = false
  #crowded = false

  constructor({ density, estimate, k = 20, target }: Options) {
    this.#target = target
    this.#density = density
    this.#k = k
    this.#thresholds = thresholds(estimate.high, k)
  }

  /** Peers that were told and could be. */
  get reached(): number {
    return this.#reached
  }

  /** Peers that are being told. */
  get open(): number {
    return this.#open
  }

  /**
   * How far it is: `enough` were told for who asked to be answered; `open`, some
   * are being told; `short`, all were tried and too few could be told, or they
   * are a crowd: go on in the classic way.
   */
  get state(): "enough" | "open" | "short" {
    if (this.#crowded) return this.#open > 0 ? "open" : "short"
    if (this.#ended && this.#reached >= this.#needed) return "enough"
    return this.#open > 0 || !this.#ended ? "open" : "short"
  }

  /** True when the peer was given out to be told. */
  has({ key }: Key.Contact): boolean {
    return this.#told.has(key.id)
  }

  /**
   * The lookup goes on. `nearest`: those of the peers that it knows that are
   * closest, asked or not, without those that failed, the closest first. Gives
   * whom to tell at once, and whether the lookup has gone far enough.
   */
  step(nearest: ReadonlyArray<Key.Contact>): { readonly tell: ReadonlyArray<Key.Contact>; readonly stop: boolean } {
    if (this.#crowded || this.#density?.isCrowded(nearest) === true) {
      this.#crowded = true
      return { tell: [], stop: true }
    }
    const tell: Array<Key.Contact> = []
    let sum = 0
    for (const contact of nearest.slice(0, this.#k)) {
      const distance = Key.distance(this.#target, contact.key)
      sum += distance
      if (distance <= this.#thresholds.peer && this.#give(contact)) tell.push(contact)
    }
    const stop =
      this.#open + this.#reached >= this.#k || (nearest.length >= this.#k && sum / this.#k < this.#thresholds.set)
    return { tell, stop }
  }

  /** The lookup has ended, by itself or since `step` said so; gives those of the closest that were not told yet. */
  finish(nearest: ReadonlyArray<Key.Contact>): ReadonlyArray<Key.Contact> {
    this.#ended = true
    return this.#crowded ? [] : nearest.slice(0, this.#k).filter((contact) => this.#give(contact))
  }

  /** What came of telling one. */
  settled({ key }: Key.Contact, reached: boolean): void {
    if (this.#told.get(key.id) !== "open") return
    this.#told.set(key.id, reached ? "told" : "failed")
    this.#open -= 1
    if (reached) this.#reached += 1
  }

  // ---- inside ---------------------------------------------------------------

  /** Of a network in which fewer than `k` could be found, all that were count. */
  get #needed(): number {
    return Math.max(1, Math.ceil(share * Math.min(this.#k, this.#told.size)))
  }

  /** False when it was given before, or so many were that something lies about who is there. */
  #give(contact: Key.Contact): boolean {
    if (this.#told.has(contact.key.id) || this.#told.size >= 2 * this.#k) return false
    this.#told.set(contact.key.id, "open")
    this.#open += 1
    return true
  }
}
