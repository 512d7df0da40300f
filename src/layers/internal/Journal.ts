/**
 * What the entries of a table were before they changed, until the changes are
 * taken: storage writes them, or has them undone.
 */

/** What became of an entry. Neither side: it came and went within the journal. */
export interface Change<A> {
  readonly before: A | undefined
  readonly after: A | undefined
}

export class Journal<A> {
  readonly #before = new Map<string, A | undefined>()

  get isEmpty(): boolean {
    return this.#before.size === 0
  }

  /** To be called before each change of the entry under `name`. */
  note(name: string, before: A | undefined): void {
    if (!this.#before.has(name)) this.#before.set(name, before)
  }

  /** What changed since the last call, given the entries as they are now; the changes count as stored from here on. */
  take(entries: ReadonlyMap<string, A>): ReadonlyMap<string, Change<A>> {
    const changes = new Map<string, Change<A>>()
    for (const [name, before] of this.#before) {
      const after = entries.get(name)
      if (before !== after) changes.set(name, { before, after })
    }
    this.#before.clear()
    return changes
  }

  clear(): void {
    this.#before.clear()
  }
}
