/** What a lookup is given, and what it tells. */
import type * as Key from "./Key.ts"
import type { PatienceOptions } from "./Patience.ts"

type Contact = Key.Contact

export interface Options {
  readonly target: Key.Key
  /** This node, which is never asked. */
  readonly self: Key.Key
  /** Peers to begin with. */
  readonly seeds: ReadonlyArray<Contact>
  /** How many of the closest peers are looked for. Default 20. */
  readonly k?: number | undefined
  /** Requests at once. Default 10. */
  readonly alpha?: number | undefined
  /** How many of the closest must have answered. Default `k`; to find one thing, `beta` is enough. */
  readonly need?: number | undefined
  /** Paths that share no peer. Default 1. */
  readonly paths?: number | undefined
  /** Requests in all. Default 500. */
  readonly maxAsked?: number | undefined
  /** Peers remembered that were not asked, of each path. Default 500. */
  readonly maxHeard?: number | undefined
  readonly patience?: PatienceOptions | undefined
}

/** Why it ended: the closest have answered; nobody is left to ask; it was stopped; too many were asked. */
export type Reason = "closest" | "starved" | "stopped" | "limit"

export interface Step {
  /** To be asked now; they count as asked. */
  readonly ask: ReadonlyArray<Contact>
  /** When to call `next` again even if nothing happened; `undefined` when it has ended. */
  readonly wakeAt: number | undefined
}

export interface Progress {
  readonly asked: number
  readonly answered: number
  readonly failed: number
  /** Asked, and neither answered, failed nor late. */
  readonly inFlight: number
  readonly late: number
  /** The longest chain of peers that answered, in which each was learnt from the one before. */
  readonly hops: number
  /** Peers that answered, the closest first, at most `k`. */
  readonly closest: ReadonlyArray<Contact>
}
