/** What the actor of a DHT is told, by the handlers of its protocol, by lookups, and by its children. */
import type { Reply } from "../../services/Actors.ts"
import type { IdentifyInfo } from "../../services/Identify.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Connection } from "../../services/Swarm.ts"
import type { Bringer } from "./core/Holdings.ts"
import type * as Key from "./core/Key.ts"
import type { Finished } from "./core/Query.ts"
import type { Scope } from "./core/Shares.ts"
import type * as Rpc from "./Rpc.ts"

/** A peer has said who it is. */
export interface Identified {
  readonly _tag: "Identified"
  readonly connection: Connection
  readonly info: IdentifyInfo
}

/** A peer has answered a question of a lookup, or of a check. */
export interface Answered {
  readonly _tag: "Answered"
  readonly contact: Key.Contact
  readonly at: RoutedPeer
  readonly latencyMs: number
  readonly useful: boolean
}

/** A peer did not answer. */
export interface Failed {
  readonly _tag: "Failed"
  readonly contact: Key.Contact
  readonly failure: Rpc.Failure
}

export type Message =
  | Identified
  | Answered
  | Failed
  /** Peers had not answered when a lookup ended without them. */
  | { readonly _tag: "Late"; readonly contacts: ReadonlyArray<Key.Contact> }
  | { readonly _tag: "CheckDone"; readonly contact: Key.Contact }
  | { readonly _tag: "Finished"; readonly finished: Finished; readonly whole: boolean }
  | {
      readonly _tag: "Provides"
      readonly key: Uint8Array
      readonly provider: RoutedPeer
      readonly from: Bringer
      readonly reply: Reply<Scope | undefined>
    }
  | { readonly _tag: "Look" }
  /** Answered when all that was told before is done. */
  | { readonly _tag: "Settle"; readonly reply: Reply<void> }
