/**
 * Where the peers of one lookup may be. Where this node has met a peer itself
 * comes first; then the word of each who names it, some of it: one liar cannot
 * hide a peer behind false addresses, since those that others tell of are tried
 * beside them.
 */
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"

/** Addresses of a peer that one other is believed. */
const maxOfOne = 8
/** Addresses of a peer, from all. A dial tries no more. */
const maxOfAll = 32

export class Places {
  readonly #met: (peer: PeerId) => ReadonlyArray<Multiaddr>
  /** By the text of the peer id. */
  readonly #told = new Map<string, Array<Multiaddr>>()

  /** `met`: where a peer was last met. */
  constructor(met: (peer: PeerId) => ReadonlyArray<Multiaddr>) {
    this.#met = met
  }

  /** Somebody says where a peer is. True when that was not known. */
  told({ addresses, peer }: RoutedPeer): boolean {
    const id = peer.toString()
    const known = this.#told.get(id)
    if (known === undefined) {
      this.#told.set(id, addresses.slice(0, maxOfOne))
      return true
    }
    let isNew = false
    for (const address of addresses.slice(0, maxOfOne)) {
      if (known.length >= maxOfAll || includes(known, address)) continue
      known.push(address)
      isNew = true
    }
    return isNew
  }

  of(peer: PeerId): ReadonlyArray<Multiaddr> {
    const met = this.#met(peer)
    const told = this.#told.get(peer.toString()) ?? []
    return met.length === 0 ? told : [...met, ...told.filter((address) => !includes(met, address))]
  }
}

const includes = (all: ReadonlyArray<Multiaddr>, address: Multiaddr): boolean =>
  all.some((one) => one === address || one.toString() === address.toString())
