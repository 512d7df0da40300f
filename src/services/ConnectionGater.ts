/**
 * ConnectionGater: says no to connections, at each stage of their making. Every
 * stage is optional; without a gater everything is allowed.
 *
 * ```
 * dialPeer ── dialAddress ── (secured) ── upgraded      outbound
 * accept ─────────────────── secured ──── upgraded      inbound
 * ```
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"

/** A stage of a connection's making. */
export const Stage = Schema.Literals(["dialPeer", "dialAddress", "accept", "secured", "upgraded"])
export type Stage = typeof Stage.Type

/** The gater refused. `because` is its reason, in words. */
export class Denied extends Schema.TaggedClass<Denied>()("Denied", { stage: Stage, because: Schema.String }) {}

/** A connection as a gater sees it. */
export interface Candidate {
  readonly direction: "inbound" | "outbound"
  readonly remotePeer: PeerId
  readonly remoteAddress: Multiaddr
}

/** Each succeeds to allow, or fails with a reason in words. A defect refuses too. */
export interface ConnectionGater {
  /** Before anything is done to reach a peer. */
  readonly dialPeer?: ((peer: PeerId) => Effect.Effect<void, string>) | undefined
  /** Before one address, after names are resolved; `peer` is unknown when only an address was given. */
  readonly dialAddress?: ((peer: PeerId | undefined, address: Multiaddr) => Effect.Effect<void, string>) | undefined
  /** As soon as a connection comes in, before a byte is read. */
  readonly accept?: ((remote: Multiaddr) => Effect.Effect<void, string>) | undefined
  /** Once the remote has proven who it is. */
  readonly secured?: ((candidate: Candidate) => Effect.Effect<void, string>) | undefined
  /** Before the connection is handed to the swarm. */
  readonly upgraded?: ((candidate: Candidate) => Effect.Effect<void, string>) | undefined
}

export const ConnectionGater: Context.Reference<ConnectionGater> = Context.Reference<ConnectionGater>(
  "effect-libp2p/ConnectionGater",
  { defaultValue: () => ({}) }
)
