/**
 * When an IPRS record holds. There are four ways to say so:
 *
 * - `range`: from one time until another, either of which may be open.
 * - `ttl`: for so long after it was made.
 * - `ancestry`: always; it names the records that it comes after, and holds
 *   until there is one that comes after it.
 * - `freshness`: for so long after a value of a beacon was published. The value
 *   cannot be known before, so the record was not made before either.
 *
 * Times are whole milliseconds since 1970, in UTC.
 */
import * as Schema from "effect/Schema"
import { LinkSchema } from "../DagCbor.ts"

/** Records that one may name as its parents. */
export const maxParents = 32

const short = Schema.String.check(Schema.isMaxLength(128))
/** `null` is the beginning or the end of time. */
const Bound = Schema.NullOr(Schema.Natural)

export const Range = Schema.Struct({ type: Schema.Literal("range"), from: Bound, until: Bound })
export const TimeToLive = Schema.Struct({ type: Schema.Literal("ttl"), made: Schema.Natural, ttl: Schema.Natural })
export const Ancestry = Schema.Struct({
  type: Schema.Literal("ancestry"),
  parents: Schema.Array(LinkSchema).check(Schema.isMaxLength(maxParents))
})
export const Freshness = Schema.Struct({
  type: Schema.Literal("freshness"),
  /** Names the beacon. */
  beacon: short,
  /** What the beacon published. */
  proof: Schema.Uint8Array.check(
    Schema.makeFilter((bytes: Uint8Array) => bytes.length <= 1024 || "a proof of at most 1,024 bytes")
  ),
  within: Schema.Natural
})

export const Validity = Schema.Union([Range, TimeToLive, Ancestry, Freshness])
export type Validity = typeof Validity.Type

/**
 * Who publishes values that nobody can know before: a chain of blocks, a
 * service of random numbers, a verifier who handed out a nonce.
 */
export interface Beacon {
  /** When the value was published, in milliseconds; `undefined` when it is none of the beacon's. Plain code, the same everywhere. */
  readonly publishedAt: (proof: Uint8Array) => number | undefined
}

export type Beacons = ReadonlyMap<string, Beacon>

/** From when until when a record holds: `from` belongs to it, `until` does not. */
export interface Window {
  readonly from: number
  readonly until: number
}

/** The window of time in which it holds; says why there is none otherwise. */
export const windowOf = (validity: Validity, beacons: Beacons): Window | string => {
  switch (validity.type) {
    case "range":
      return { from: validity.from ?? Number.NEGATIVE_INFINITY, until: validity.until ?? Number.POSITIVE_INFINITY }
    case "ttl":
      return { from: validity.made, until: validity.made + validity.ttl }
    case "ancestry":
      return { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY }
    case "freshness": {
      const beacon = beacons.get(validity.beacon)
      if (beacon === undefined) return `nothing is known of the beacon ${JSON.stringify(validity.beacon)}`
      const published = beacon.publishedAt(validity.proof)
      return published === undefined
        ? `the beacon ${JSON.stringify(validity.beacon)} has not published the proof`
        : { from: published, until: published + validity.within }
    }
  }
}
