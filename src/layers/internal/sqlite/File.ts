/**
 * The file of a table: what is stored in it is put into the table when it is
 * opened, what changes in the table is written to it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import type { Change } from "../Journal.ts"
import type { Storage } from "../Storage.ts"
import type * as Module from "./Module.ts"
import * as Open from "./Open.ts"
import * as Writer from "./Writer.ts"

export interface Options {
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

/** How entries are rows. `Stored` is what is read of them. */
export interface Format<Stored, Entry> extends Open.Format<Stored> {
  /** Gives what writes all changes or none. Both throw what SQLite throws. */
  readonly writer: (database: Module.Database) => (changes: Iterable<Change<Entry>>) => void
}

export interface Table<Stored, Entry> extends Writer.Journalled<Entry> {
  restore(stored: ReadonlyArray<Stored>, now: number): void
}

/** Opens the file of an empty table. It is closed with the scope. */
export const make = <Stored, Entry, E>(
  { durability, maxFileSize, path }: Options,
  format: Format<Stored, Entry>,
  table: Table<Stored, Entry>,
  failed: (detail: string) => E
): Effect.Effect<Storage<E>, E, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const opened = yield* Open.open({ path, maxFileSize: maxFileSize ?? 2 ** 30, format, failed })
    table.restore(opened.stored, yield* Clock.currentTimeMillis)
    const commit = yield* Open.attempt(() => format.writer(opened.database), failed)
    return yield* Writer.make({
      table,
      failed,
      commit,
      sync: durability === "process" ? Effect.void : opened.sync
    })
  })
