/**
 * BlockList: peers and networks that this node has no connections with, changed
 * while it runs. Its layer is also the node's ConnectionGater.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import type { SubnetError } from "../data/Subnet.ts"
import type { Swarm } from "./Swarm.ts"

export interface BlockOptions {
  /** Also closes the connections there are, in the swarms of `closeIn`. Default true. */
  readonly disconnect?: boolean | undefined
}

/** What is blocked, as text. */
export interface Entries {
  readonly peers: ReadonlyArray<string>
  readonly subnets: ReadonlyArray<string>
  /** Networks that are allowed although a larger one is blocked. */
  readonly allowed: ReadonlyArray<string>
}

export class BlockList extends Context.Service<
  BlockList,
  {
    readonly blockPeer: (peer: PeerId, options?: BlockOptions) => Effect.Effect<void>
    readonly unblockPeer: (peer: PeerId) => Effect.Effect<void>
    /**
     * Blocks a network, or one address: `203.0.113.0/24`, `2001:db8::/32`.
     * When several entries hold an address, the smallest network decides.
     */
    readonly blockSubnet: (subnet: string, options?: BlockOptions) => Effect.Effect<void, SubnetError>
    /** Allows a network inside a blocked one. */
    readonly allowSubnet: (subnet: string) => Effect.Effect<void, SubnetError>
    /** Takes the entry of exactly this network away, blocked or allowed. */
    readonly removeSubnet: (subnet: string) => Effect.Effect<void, SubnetError>
    readonly entries: Effect.Effect<Entries>
    /** Why a peer or an address is blocked, in words; `undefined` when it is not. */
    readonly reason: (peer: PeerId | undefined, address: Multiaddr | undefined) => string | undefined
    /**
     * Until the scope closes, what is blocked is also disconnected in this swarm.
     * The swarm asks the block list before it connects, so it cannot be asked for
     * when the list is made; see `BlockList.layerDisconnect`.
     */
    readonly closeIn: (swarm: Swarm["Service"]) => Effect.Effect<void, never, Scope.Scope>
  }
>()("effect-libp2p/BlockList") {}
