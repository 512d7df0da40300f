/**
 * How fast each peer may ask. Each has a number of requests that may come at
 * once, and a rate at which they come back. Who asks faster is not refused but
 * waits: on its stream nothing else is answered meanwhile, so that it is held
 * back by its own windows. Pure: told the time, it says how long.
 */
export interface Rate {
  /** Requests that may come at once. */
  readonly burst: number
  /** In the long run. */
  readonly perSecond: number
}

/** Peers remembered. One that is forgotten begins anew, with its burst. */
const maxPeers = 4096

export class Rates {
  readonly #everyMs: number
  readonly #allowanceMs: number
  /** When each peer's requests are paid for, the longest unheard first. */
  readonly #paid = new Map<string, number>()

  constructor({ burst, perSecond }: Rate) {
    this.#everyMs = 1000 / perSecond
    this.#allowanceMs = burst * this.#everyMs
  }

  /** Counts one request of the peer; gives the milliseconds that it is to wait. */
  take(peer: string, nowMs: number): number {
    const paid = Math.max(this.#paid.get(peer) ?? 0, nowMs) + this.#everyMs
    this.#paid.delete(peer)
    this.#paid.set(peer, paid)
    if (this.#paid.size > maxPeers) {
      const [oldest] = this.#paid.keys()
      if (oldest !== undefined) this.#paid.delete(oldest)
    }
    return Math.max(0, paid - nowMs - this.#allowanceMs)
  }
}
