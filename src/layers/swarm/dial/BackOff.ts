/**
 * Back-off: for how long an address that failed is left alone. Pure: the time, in
 * milliseconds of any one clock, and chance are given.
 */

export interface Options {
  /** After the first failure; each further one doubles it. */
  readonly firstMs: number
  readonly maxMs: number
  /** Addresses remembered; the one that failed longest ago makes room. */
  readonly capacity: number
}

export const defaults: Options = { firstMs: 5_000, maxMs: 5 * 60_000, capacity: 10_000 }

interface Entry {
  readonly failures: number
  readonly until: number
  readonly failedAt: number
}

/** The address of a peer as a key. */
export const keyOf = (peer: string, address: string): string => `${peer} ${address}`

export class BackOff {
  private readonly options: Options
  /** The one that failed longest ago first. */
  private readonly entries = new Map<string, Entry>()

  constructor(options: Options = defaults) {
    this.options = options
  }

  /** Addresses remembered. */
  get size(): number {
    return this.entries.size
  }

  /** For how long it is left alone from now on; 0 if it may be tried. */
  remaining(key: string, now: number): number {
    const entry = this.entries.get(key)
    return entry === undefined ? 0 : Math.max(0, entry.until - now)
  }

  /** It failed. `jitter`, from 0 to 1, shortens the time by up to a quarter, so that those who failed together do not return together. */
  failed(key: string, now: number, jitter: number): void {
    this.forgetOld(now)
    const { firstMs, maxMs, capacity } = this.options
    const before = this.entries.get(key)?.failures ?? 0
    const delay = Math.min(maxMs, firstMs * 2 ** Math.min(before, 30))
    this.entries.delete(key)
    this.entries.set(key, { failures: before + 1, until: now + delay * (1 - jitter / 4), failedAt: now })
    if (this.entries.size > capacity) {
      for (const oldest of this.entries.keys()) {
        this.entries.delete(oldest)
        break
      }
    }
  }

  /** It worked: what was held against it is forgotten. */
  succeeded(key: string): void {
    this.entries.delete(key)
  }

  /** Failures count for twice the longest time. */
  private forgetOld(now: number): void {
    for (const [key, { failedAt }] of this.entries) {
      if (now - failedAt < 2 * this.options.maxMs) return
      this.entries.delete(key)
    }
  }
}
