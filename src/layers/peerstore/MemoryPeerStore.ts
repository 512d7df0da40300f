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

interface Known {
  readonly address: Multiaddr.Multiaddr
  readonly proven: boolean
}

export const layer = (options?: Options): Layer.Layer<PeerStore> =>
  Layer.effect(
    PeerStore,
    Effect.sync(() => {
      const maxPeers = options?.maxPeers ?? 10_000
      const maxAddresses = options?.maxAddresses ?? 32
      // Maps keep insertion order, so the first key is the oldest.
      const peers = new Map<string, ReadonlyArray<Known>>()
      return PeerStore.of({
        addresses: (peer) => Effect.sync(() => (peers.get(peer.toString()) ?? []).map(({ address }) => address)),
        addAddresses: (peer, addresses, how) =>
          Effect.sync(() => {
            const key = peer.toString()
            const before = peers.get(key) ?? []
            const wasProven = new Set(before.filter(({ proven }) => proven).map(({ address }) => address.toString()))
            const learnt = addresses.flatMap((given): Known | ReadonlyArray<never> => {
              const address = Multiaddr.withoutPeer(given)
              return address === undefined
                ? []
                : { address, proven: how === "proven" || wasProven.has(address.toString()) }
            })
            const texts = new Set(learnt.map(({ address }) => address.toString()))
            const all = [...learnt, ...before.filter(({ address }) => !texts.has(address.toString()))]
            peers.delete(key)
            peers.set(
              key,
              [...all.filter(({ proven }) => proven), ...all.filter(({ proven }) => !proven)].slice(0, maxAddresses)
            )
            for (const oldest of peers.keys()) {
              if (peers.size <= maxPeers) break
              peers.delete(oldest)
            }
          })
      })
    })
  )
