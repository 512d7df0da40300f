/** The peers that were met lately, so many and no more. Pure. */
export class Met {
  private readonly capacity: number
  /** The one met longest ago first. */
  private readonly ids = new Set<string>()

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.ids.size
  }

  /** True when it was not met lately. */
  add(id: string): boolean {
    const isNew = !this.ids.delete(id)
    this.ids.add(id)
    if (this.ids.size > this.capacity) {
      for (const oldest of this.ids) {
        this.ids.delete(oldest)
        break
      }
    }
    return isNew
  }
}
