/**
 * A PeerStore in a file of SQLite, by the `node:sqlite` of Node 22.19 and
 * later: what is known outlives the node. All of it is in memory too, within
 * the bounds, so that reading costs what it costs in memory.
 *
 * A write has succeeded when it is safe, see `durability`. If storage fails
 * the write fails, and what it changed in memory is undone; a read that comes
 * between may have seen it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Crypto } from "../../services/Crypto.ts"
import { PeerStore, type PeerStoreError } from "../../services/PeerStore.ts"
import * as Limits from "./core/Limits.ts"
import * as Store from "./core/Store.ts"
import { Table } from "./core/Table.ts"
import * as Open from "./sqlite/Open.ts"
import { RowWriter } from "./sqlite/Schema.ts"
import * as Writer from "./sqlite/Writer.ts"

export interface Options extends Limits.Options {
  /** The file. It is made, with its folder, if there is none. While it is open there is a log beside it, `<path>-wal`. */
  readonly path: string
  /**
   * What a write that has succeeded survives. `power`: that the machine loses
   * power; each waits for the disk, without holding up the others. `process`:
   * that the process is killed; writes do not wait for the disk. The file is
   * in order after either. Default `power`.
   */
  readonly durability?: "power" | "process" | undefined
  /** Bytes of the file; writes that would exceed it fail. Default 1 GiB. */
  readonly maxFileSize?: number | undefined
}

/**
 * The store in the file at `path`. A file that is damaged, of another program,
 * of a newer release or in use is refused, and left as it was.
 */
export const make = (
  options: Options
): Effect.Effect<PeerStore["Service"], PeerStoreError, Crypto | FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const { path } = options
    const { database, stored, sync } = yield* Open.open({ path, maxFileSize: options.maxFileSize ?? 2 ** 30 })
    const table = new Table(Limits.fromOptions(options), true)
    table.restore(stored, yield* Clock.currentTimeMillis)
    const rows = yield* Open.attempt(path, () => new RowWriter(database))
    const storage = yield* Writer.make({
      path,
      table,
      commit: (changes) => rows.commit(changes),
      sync: options.durability === "process" ? Effect.void : sync
    })
    return yield* Store.make(table, storage)
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
