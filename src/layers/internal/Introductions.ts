/**
 * Whom a question with several answers has told of: each peer once. One that
 * is known without addresses is of no use yet, since who is asked later may
 * know where it is: it waits, and is told of as it is when all were asked. Pure.
 */
import type { RoutedPeer } from "../../services/PeerRouting.ts"

export class Introductions {
  readonly #capacity: number
  readonly #told = new Set<string>()
  readonly #unplaced = new Map<string, RoutedPeer>()

  /** At most `capacity` peers are told of, and at most so many wait. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** True when the peer is to be told of now. */
  isNew(routed: RoutedPeer): boolean {
    const id = routed.peer.toString()
    if (this.#told.has(id) || this.#told.size >= this.#capacity) return false
    if (routed.addresses.length === 0) {
      if (this.#unplaced.size < this.#capacity && !this.#unplaced.has(id)) this.#unplaced.set(id, routed)
      return false
    }
    this.#unplaced.delete(id)
    this.#told.add(id)
    return true
  }

  /** Nobody else is asked: those of whom nobody knew where they are. They count as told. */
  takeRest(): ReadonlyArray<RoutedPeer> {
    const rest = [...this.#unplaced.values()].slice(0, this.#capacity - this.#told.size)
    for (const { peer } of rest) this.#told.add(peer.toString())
    this.#unplaced.clear()
    return rest
  }
}
