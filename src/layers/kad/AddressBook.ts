/**
 * Where the peers of a DHT are, as they were last reached or told of: the peer
 * store forgets hearsay within the hour, the routing table keeps peers for days.
 * Those that are of use stay; the one not of use for longest goes first.
 */
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"

export class AddressBook {
  readonly #limit: number
  /** By the text of the peer id, those of no use for longest first. */
  readonly #known = new Map<string, ReadonlyArray<Multiaddr>>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Takes the addresses in place of those that are known; none say nothing new. */
  learn(peer: PeerId, addresses: ReadonlyArray<Multiaddr>): void {
    const id = peer.toString()
    const known = addresses.length > 0 ? addresses : this.#known.get(id)
    if (known === undefined) return
    this.#known.delete(id)
    this.#known.set(id, known)
    if (this.#known.size > this.#limit) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
  }

  of(peer: PeerId): ReadonlyArray<Multiaddr> {
    return this.#known.get(peer.toString()) ?? []
  }

  forget(peer: PeerId): void {
    this.#known.delete(peer.toString())
  }
}
