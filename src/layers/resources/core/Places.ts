/**
 * Places: where inbound connections come from, by address or by subnet. A place
 * counts those that are open and those that are unfinished, and has a bucket of
 * tokens that bounds how fast they come.
 *
 * ```
 * (new) ── take ──> open ── the last one closes ──> cooling ── bucket full ──> forgotten
 *                     ^──────────── take ──────────────┘
 * ```
 *
 * Open places are bounded by the open connections. Cooling ones, whose only use
 * is that their bucket is not full yet, are bounded by a number: when more cool
 * down, the one that has cooled longest is forgotten. A flood from very many
 * addresses can so empty the buckets' memory, which is worth nothing to one who
 * has very many addresses; the limits above still hold.
 */
import { LimitExceeded, type PlaceLimits } from "../../../services/ResourceManager.ts"
import { Meter } from "./Scope.ts"

/** Rounding must not make a full bucket look not quite full. */
const epsilon = 1e-9

/** One address or subnet. */
export class Place {
  readonly name: string
  readonly key: string
  readonly open: Meter
  readonly pending: Meter
  /** `used` is what is missing in the bucket. */
  readonly rate: Meter
  /** Neighbours among those that are cooling. */
  before: Place | undefined
  after: Place | undefined
  cooling = false
  private readonly burst: number
  private filledAt: number

  constructor(name: string, key: string, limits: PlaceLimits, now: number) {
    this.name = name
    this.key = key
    this.open = new Meter("inbound connections", limits.connections)
    this.pending = new Meter("unfinished inbound connections", limits.pending)
    this.rate = new Meter("inbound connections a second", limits.ratePerSecond)
    this.burst = limits.burst
    this.filledAt = now
  }

  /** Refills the bucket for the time that has passed. */
  fill(now: number): void {
    const seconds = Math.max(0, now - this.filledAt) / 1000
    this.filledAt = Math.max(this.filledAt, now)
    this.rate.used = Math.max(0, this.rate.used - seconds * this.rate.limit)
    if (this.rate.used < epsilon) this.rate.used = 0
  }

  /** Why one more does not fit; nothing is taken. */
  refuse(now: number): LimitExceeded | undefined {
    this.fill(now)
    if (this.open.used >= this.open.limit) return this.open.refuse(this.name)
    if (this.pending.used >= this.pending.limit) return this.pending.refuse(this.name)
    if (this.rate.used + 1 <= this.burst + epsilon) return undefined
    this.rate.refused++
    return new LimitExceeded({
      scope: this.name,
      resource: this.rate.resource,
      limit: this.rate.limit,
      current: Math.ceil(this.rate.used)
    })
  }

  meters(): ReadonlyArray<Meter> {
    return [this.open, this.pending, this.rate]
  }
}

/** All addresses, or all subnets. */
export class PlaceTable {
  /** Counts of the places that were forgotten. */
  readonly ended: Place
  private readonly limits: PlaceLimits
  private readonly most: number
  private readonly kind: string
  private readonly known = new Map<string, Place>()
  // Those that are cooling, in a list of their own: the front of a Map from which
  // the oldest is taken again and again is slow to find.
  private oldest: Place | undefined
  private newest: Place | undefined
  private coolingCount = 0

  constructor(kind: string, limits: PlaceLimits, most: number) {
    this.kind = kind
    this.limits = limits
    this.most = most
    this.ended = new Place(`${kind} (ended)`, "", limits, 0)
  }

  get size(): number {
    return this.known.size
  }

  /** The place, or a new one, which the table knows only once something was taken from it. */
  find(key: string, now: number): Place {
    this.sweep(now, 4)
    return this.known.get(key) ?? new Place(`${this.kind} ${key}`, key, this.limits, now)
  }

  /** Takes a connection that {@link Place.refuse} has allowed. */
  take(place: Place): void {
    place.open.take(1)
    place.pending.take(1)
    place.rate.take(1)
    if (place.cooling) this.unlink(place)
    else if (place.open.used === 1) this.known.set(place.key, place)
  }

  /** A connection has ended. */
  give(place: Place, now: number): void {
    place.open.give(1)
    this.settle(place, now)
  }

  /** Forgets a place that has nothing open and whose bucket is full; call it after a refusal too. */
  settle(place: Place, now: number): void {
    if (place.open.used > 0) return
    place.fill(now)
    if (place.rate.used === 0) return this.forget(place)
    // One that is cooling already keeps its turn.
    if (place.cooling) return
    place.cooling = true
    place.before = this.newest
    if (this.newest === undefined) this.oldest = place
    else this.newest.after = place
    this.newest = place
    this.coolingCount++
    if (this.coolingCount > this.most && this.oldest !== undefined) this.forget(this.oldest)
  }

  /** Forgets places that have cooled down, at most `most` of them. */
  sweep(now: number, most = Number.POSITIVE_INFINITY): void {
    for (let left = most; left > 0 && this.oldest !== undefined; left--) {
      this.oldest.fill(now)
      if (this.oldest.rate.used > 0) return
      this.forget(this.oldest)
    }
  }

  places(): Iterable<Place> {
    return this.known.values()
  }

  private unlink(place: Place): void {
    const { after, before } = place
    if (before === undefined) this.oldest = after
    else before.after = after
    if (after === undefined) this.newest = before
    else after.before = before
    place.before = undefined
    place.after = undefined
    place.cooling = false
    this.coolingCount--
  }

  private forget(place: Place): void {
    if (place.cooling) this.unlink(place)
    this.known.delete(place.key)
    const { open, pending, rate } = this.ended
    open.absorb(place.open)
    pending.absorb(place.pending)
    rate.absorb(place.rate)
  }
}
