/**
 * PeerStore: what this node knows of others. For now, their addresses. Layers:
 * memory.
 */
import { Context, type Effect } from "effect"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"

export class PeerStore extends Context.Service<
  PeerStore,
  {
    /** The addresses of a peer, without a trailing `/p2p/<id>`, those that worked first, then the latest learnt. */
    readonly addresses: (peer: PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>>
    /**
     * Learns addresses: `proven` ones led to the peer, `claimed` ones are hearsay
     * and never push out a proven one. Those over the bound of a peer are dropped.
     */
    readonly addAddresses: (
      peer: PeerId,
      addresses: ReadonlyArray<Multiaddr>,
      how: "proven" | "claimed"
    ) => Effect.Effect<void>
  }
>()("effect-libp2p/PeerStore") {}
