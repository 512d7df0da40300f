/** Things with whole weights, and the heaviest of them at hand: each change costs as much as the weight changes by, at most. */
export class Heaviest {
  readonly #weights = new Map<string, number>()
  /** By weight; those that came to it first, first. */
  readonly #byWeight = new Map<number, Set<string>>()
  #most = 0

  get size(): number {
    return this.#weights.size
  }

  of(name: string): number {
    return this.#weights.get(name) ?? 0
  }

  /** Adds to the weight, or takes from it; what weighs nothing is forgotten. */
  add(name: string, weight: number): void {
    const before = this.of(name)
    const after = Math.max(0, before + weight)
    const there = this.#byWeight.get(before)
    there?.delete(name)
    if (there?.size === 0) this.#byWeight.delete(before)
    if (after === 0) this.#weights.delete(name)
    else {
      this.#weights.set(name, after)
      const others = this.#byWeight.get(after) ?? new Set<string>()
      this.#byWeight.set(after, others.add(name))
      this.#most = Math.max(this.#most, after)
    }
    while (this.#most > 0 && !this.#byWeight.has(this.#most)) this.#most -= 1
  }

  /** One of the heaviest. */
  get heaviest(): string | undefined {
    for (const name of this.#byWeight.get(this.#most) ?? []) return name
    return undefined
  }
}
