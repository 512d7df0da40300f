/**
 * PeerStore: what this node knows of others. For now, their addresses. Layers:
 * memory.
 */
import { Context, type Effect } from "effect"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"

export class PeerStore extends Context.Service<PeerStore, {
  /** The addresses of a peer, without a trailing `/p2p/<id>`, the latest learnt first. */
  readonly addresses: (peer: PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>>
  /** Learns addresses. Those over the bound of a peer push out its oldest. */
  readonly addAddresses: (peer: PeerId, addresses: ReadonlyArray<Multiaddr>) => Effect.Effect<void>
}>()("effect-libp2p/PeerStore") {}
