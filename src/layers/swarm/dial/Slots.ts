/**
 * A bounded number of things at once, handed out in the order in which they were
 * asked for. Plain: a wish is granted by a call, which must not call back in.
 */
export class Slots {
  private readonly limit: number
  private used = 0
  private readonly wishes = new Set<() => void>()

  constructor(limit: number) {
    this.limit = limit
  }

  /** Slots taken now. */
  get taken(): number {
    return this.used
  }

  /** Takes a slot if one is free. While anybody waits, none is. */
  take(): boolean {
    if (this.used >= this.limit) return false
    this.used++
    return true
  }

  /** When `take` gave none: `granted` is called once, later, when a slot is the asker's. The result takes the wish back. */
  ask(granted: () => void): () => void {
    const wish = () => granted()
    this.wishes.add(wish)
    return () => {
      this.wishes.delete(wish)
    }
  }

  /** Gives a slot back. */
  release(): void {
    this.used--
    for (const wish of this.wishes) {
      if (this.used >= this.limit) return
      this.wishes.delete(wish)
      this.used++
      wish()
    }
  }
}
