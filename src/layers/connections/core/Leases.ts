/** Leases on peers: a peer is held while anyone holds it. */
export class Leases {
  private readonly counts = new Map<string, number>()

  /** True when it is the first on this peer. */
  take(peer: string): boolean {
    const count = this.counts.get(peer) ?? 0
    this.counts.set(peer, count + 1)
    return count === 0
  }

  /** True when it was the last on this peer. */
  give(peer: string): boolean {
    const count = this.counts.get(peer) ?? 0
    if (count > 1) this.counts.set(peer, count - 1)
    else this.counts.delete(peer)
    return count === 1
  }

  has(peer: string): boolean {
    return this.counts.has(peer)
  }

  peers(): ReadonlyArray<string> {
    return [...this.counts.keys()]
  }
}

export interface Pauses {
  readonly firstMs: number
  readonly longestMs: number
}

/**
 * How long to wait after this many failures in a row (1 or more): doubled each
 * time, up to the longest, and then between half of it and all of it, so that
 * those who lost the same peer do not all come back at once. `random` is in
 * `[0, 1)`.
 */
export const pauseMs = (failures: number, { firstMs, longestMs }: Pauses, random: number): number => {
  const whole = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 40))
  return whole / 2 + (whole / 2) * random
}
