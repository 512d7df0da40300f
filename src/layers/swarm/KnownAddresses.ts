/** The peer store as the swarm uses it. One that fails fails no dial and no connection: it is told of once, until it works again. */
import { Effect } from "effect"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { PeerAddress, PeerStore, PeerStoreError } from "../../services/PeerStore.ts"

export interface KnownAddresses {
  /** None while the store fails. */
  readonly of: (peer: PeerId) => Effect.Effect<ReadonlyArray<PeerAddress>>
  /** A connection was made by this address. */
  readonly proven: (peer: PeerId, address: Multiaddr) => Effect.Effect<void>
}

export const make = (store: Pick<PeerStore["Service"], "get" | "addAddresses">): KnownAddresses => {
  let failing = false
  const works = Effect.sync(() => {
    failing = false
  })
  const without = (error: PeerStoreError) =>
    Effect.suspend(() => {
      if (failing) return Effect.logDebug("the peer store still fails", error)
      failing = true
      return Effect.logWarning("the swarm goes on without the peer store", error)
    })
  return {
    of: (peer) =>
      store.get(peer).pipe(
        Effect.tap(works),
        Effect.catch((error) => Effect.as(without(error), undefined)),
        Effect.map((info) => info?.addresses ?? [])
      ),
    proven: (peer, address) =>
      store.addAddresses(peer, [address], "proven").pipe(Effect.andThen(works), Effect.catch(without))
  }
}
