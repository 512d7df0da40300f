/**
 * A PeerStore in a file of SQLite, by the `node:sqlite` of Node 22.19 and
 * later: what is known outlives the node. All of it is in memory too, within
 * the bounds, so that reading costs what it costs in memory.
 *
 * A write has succeeded when it is safe, see `durability`. If storage fails
 * the write fails, and what it changed in memory is undone; a read that comes
 * between may have seen it.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Crypto } from "../../services/Crypto.ts"
import { PeerStore, PeerStoreError, StorageFailed } from "../../services/PeerStore.ts"
import * as File from "../internal/sqlite/File.ts"
import * as Limits from "./core/Limits.ts"
import * as Store from "./core/Store.ts"
import { Table } from "./core/Table.ts"
import { format } from "./sqlite/Schema.ts"

export interface Options extends Limits.Options, File.Options {}

/**
 * The store in the file at `path`. A file that is damaged, of another program,
 * of a newer release or in use is refused, and left as it was.
 */
export const make = (
  options: Options
): Effect.Effect<PeerStore["Service"], PeerStoreError, Crypto | FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const table = new Table(Limits.fromOptions(options), true)
    const failed = (detail: string) =>
      new PeerStoreError({ where: options.path, reason: new StorageFailed({ detail }) })
    return yield* Store.make(table, yield* File.make(options, format, table, failed))
  })

/**
 * What is known of others is kept in a file.
 *
 * ```
 * const Known = SqlitePeerStore.layer({ path: "/var/lib/app/peers.db" })
 * ```
 */
export const layer = (options: Options): Layer.Layer<PeerStore, PeerStoreError, Crypto | FileSystem.FileSystem> =>
  Layer.effect(PeerStore, make(options))
