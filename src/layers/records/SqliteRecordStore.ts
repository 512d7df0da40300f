/**
 * A RecordStore in a file of SQLite, by the `node:sqlite` of Node 22.19 and
 * later: records outlive the node. All of them are in memory too, within the
 * quota, so that reading costs what it costs in memory.
 *
 * A write has succeeded when it is safe, see `durability`. If storage fails
 * the write fails, and what it changed in memory is undone; a read that comes
 * between may have seen it.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Quota, RecordStorageFailed, RecordStore, RecordStoreError } from "../../services/RecordStore.ts"
import * as File from "../internal/sqlite/File.ts"
import * as Store from "./core/Store.ts"
import { limitsOf, Table } from "./core/Table.ts"
import { format } from "./sqlite/Schema.ts"

export interface Options extends File.Options {
  /** A smaller one than before drops nothing; nothing is taken until there is room. */
  readonly quota?: Quota | undefined
}

/**
 * The store in the file at `path`. A file that is damaged, of another program,
 * of a newer release or in use is refused, and left as it was. It knows the
 * validators that it is made with; records of namespaces that it does not know
 * stay in the file, and are not given.
 */
export const make = (
  options: Options
): Effect.Effect<RecordStore["Service"], RecordStoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const table = new Table(limitsOf(options.quota), true)
    const failed = (detail: string) =>
      new RecordStoreError({ store: "sqlite", key: options.path, reason: new RecordStorageFailed({ detail }) })
    return yield* Store.make("sqlite", table, yield* File.make(options, format, table, failed))
  })

/**
 * Records are kept in a file.
 *
 * ```
 * const Records = SqliteRecordStore.layer({ path: "/var/lib/app/records.db" })
 * ```
 */
export const layer = (options: Options): Layer.Layer<RecordStore, RecordStoreError, FileSystem.FileSystem> =>
  Layer.effect(RecordStore, make(options))
