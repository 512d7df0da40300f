/**
 * Black-hole detection: whether a kind of address, IPv6 or UDP, leads anywhere
 * from this network. Many networks drop such packets without a word; dialling
 * them then only costs time. Pure.
 *
 * Of each kind the last outcomes of public addresses are kept. When hardly any
 * was a success, the kind is blocked, but for one dial in so many, as a probe; a
 * success while it is blocked clears the kind.
 */
import type { Facts } from "./Facts.ts"

export interface Options {
  /** Outcomes kept of a kind, and needed before it is judged. Blocked, one dial in as many is let through. */
  readonly window: number
  /** Fewer successes than these in the window block the kind. */
  readonly minSuccesses: number
}

const defaults: Options = { window: 100, minSuccesses: 5 }

type State = "probing" | "allowed" | "blocked"

/** One kind of address. */
export class Detector {
  private readonly options: Options
  /** A ring of outcomes. */
  private readonly outcomes: Array<boolean> = []
  private at = 0
  private successes = 0
  private dials = 0
  private state: State = "probing"

  constructor(options: Options) {
    this.options = options
  }

  get blocked(): boolean {
    return this.state === "blocked"
  }

  /** A dial that knows addresses of this kind begins: how they are to be seen. */
  dial(): State {
    this.dials++
    return this.state === "blocked" && this.dials % this.options.window === 0 ? "probing" : this.state
  }

  /** An address of this kind was reached, or was not. */
  record(success: boolean): void {
    if (this.state === "blocked" && success) {
      // A black hole is there or is not: one success is proof enough.
      this.outcomes.length = 0
      this.at = this.successes = this.dials = 0
      this.state = "probing"
      return
    }
    const { window, minSuccesses } = this.options
    if (this.outcomes[this.at] === true) this.successes--
    if (success) this.successes++
    this.outcomes[this.at] = success
    this.at = (this.at + 1) % window
    this.state = this.outcomes.length < window ? "probing" : this.successes >= minSuccesses ? "allowed" : "blocked"
  }
}

/** The kinds that are watched; also the words of the refusal. */
export type Watched = "UDP" | "IPv6"

const kindsOf = ({ family, reach, relayed, udp }: Facts): ReadonlyArray<Watched> =>
  reach !== "public" || relayed
    ? []
    : [...(udp ? (["UDP"] as const) : []), ...(family === 6 ? (["IPv6"] as const) : [])]

/** Of one node. */
export class BlackHoles {
  private readonly detectors: Readonly<Record<Watched, Detector>>

  constructor(options: Options = defaults) {
    this.detectors = { UDP: new Detector(options), IPv6: new Detector(options) }
  }

  /** True while the kind is blocked. */
  blocked(kind: Watched): boolean {
    return this.detectors[kind].blocked
  }

  /**
   * For one dial: says of each address which kind of it is blocked, if one is.
   * While a kind is probed, its addresses pass whatever other kinds say.
   */
  dial(): (facts: Facts) => Watched | undefined {
    const states = new Map<Watched, State>()
    return (facts) => {
      let blocked: Watched | undefined
      for (const kind of kindsOf(facts)) {
        const state = states.get(kind) ?? this.detectors[kind].dial()
        states.set(kind, state)
        if (state === "probing") return undefined
        if (state === "blocked") blocked ??= kind
      }
      return blocked
    }
  }

  /** The network of the address answered, or did not. */
  record(facts: Facts, success: boolean): void {
    for (const kind of kindsOf(facts)) this.detectors[kind].record(success)
  }
}
