/** The peer store as the swarm uses it. One that fails fails no dial and no connection: it is told of once, until it works again. */
import * as Effect from "effect/Effect"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { type PeerAddress, type PeerStore, tolerant } from "../../services/PeerStore.ts"

export interface KnownAddresses {
  /** None while the store fails. */
  readonly of: (peer: PeerId) => Effect.Effect<ReadonlyArray<PeerAddress>>
  /** A connection was made by this address. Known as soon as it is begun; done when it is stored. */
  readonly proven: (peer: PeerId, address: Multiaddr) => Effect.Effect<void>
}

export const make = (store: Pick<PeerStore["Service"], "get" | "addAddresses">): KnownAddresses => {
  const use = tolerant("the swarm")
  return {
    of: (peer) => Effect.map(use.read(store.get(peer)), (info) => info?.addresses ?? []),
    proven: (peer, address) => use.write(store.addAddresses(peer, [address], "proven"))
  }
}
