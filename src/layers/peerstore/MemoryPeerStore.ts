/** A PeerStore in memory, bounded in peers and in addresses a peer; it ends with the node. */
import { Effect, Layer } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { PeerStore } from "../../services/PeerStore.ts"

export interface Options {
  /** Peers remembered; the one learnt of longest ago is forgotten first. Default 10,000. */
  readonly maxPeers?: number | undefined
  /** Addresses remembered of each. Default 32. */
  readonly maxAddresses?: number | undefined
}

export const layer = (options?: Options): Layer.Layer<PeerStore> =>
  Layer.effect(
    PeerStore,
    Effect.sync(() => {
      const maxPeers = options?.maxPeers ?? 10_000
      const maxAddresses = options?.maxAddresses ?? 32
      // Maps keep insertion order, so the first key is the oldest.
      const peers = new Map<string, ReadonlyArray<Multiaddr.Multiaddr>>()
      return PeerStore.of({
        addresses: (peer) => Effect.sync(() => peers.get(peer.toString()) ?? []),
        addAddresses: (peer, addresses) =>
          Effect.sync(() => {
            const key = peer.toString()
            const known = peers.get(key) ?? []
            const learnt = addresses.flatMap((address) => Multiaddr.withoutPeer(address) ?? [])
            const texts = new Set(learnt.map((address) => address.toString()))
            const kept = known.filter((address) => !texts.has(address.toString()))
            peers.delete(key)
            peers.set(key, [...learnt, ...kept].slice(0, maxAddresses))
            for (const oldest of peers.keys()) {
              if (peers.size <= maxPeers) break
              peers.delete(oldest)
            }
          })
      })
    })
  )
