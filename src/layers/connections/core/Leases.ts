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
