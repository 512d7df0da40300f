/** A PeerStore in memory, within bounds; it ends with the node. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Crypto } from "../../services/Crypto.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { volatile } from "../internal/Storage.ts"
import * as Limits from "./core/Limits.ts"
import * as Store from "./core/Store.ts"
import { Table } from "./core/Table.ts"

export type Options = Limits.Options

/** A new store, in which nothing is known. */
export const make = (options?: Options): Effect.Effect<PeerStore["Service"], never, Crypto> =>
  Effect.suspend(() => Store.make(new Table(Limits.fromOptions(options), false), volatile))

/**
 * What is known of others is kept in memory.
 *
 * ```
 * const Known = MemoryPeerStore.layer({ maxPeers: 1000 })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<PeerStore, never, Crypto> =>
  Layer.effect(PeerStore, make(options))
