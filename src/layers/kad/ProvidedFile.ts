/**
 * What a node provides, kept in a file of SQLite: a node that is started again
 * goes on announcing it, each key when it is due, and not all of it at once.
 *
 * ```
 * KadRouting.layer({ provided: ProvidedFile.make({ path: "/var/lib/app/provided.db" }) })
 * ```
 *
 * A key is in the file when `provide` has succeeded. When the file cannot be
 * written, the node goes on without, and says so in its log.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as File from "../internal/sqlite/File.ts"
import { type Entry, Kept } from "./core/Kept.ts"
import { format } from "./sqlite/Schema.ts"

/** The file cannot be used: it is damaged, truncated, of another program or a newer release, or in use. It is left as it was. */
export class ProvidedFileError extends Schema.TaggedError<ProvidedFileError>()("ProvidedFileError", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}`
  }
}

/** What a node provides, kept beyond its end. */
export interface ProvidedStore {
  /** What is kept for a DHT, in the order in which it was added. */
  readonly of: (realm: string) => ReadonlyArray<Entry>
  /** The key is provided; it was announced at that time, by the clock on the wall, or is yet to be. */
  readonly set: (realm: string, key: Uint8Array, announcedAt: number | undefined) => void
  readonly delete: (realm: string, key: Uint8Array) => void
  /** Waits until all of that is stored; what could not be is logged. */
  readonly stored: Effect.Effect<void>
}

/** Opens the file, which is made if there is none. It is closed with the scope, and all that was told is stored then. */
export const make = (
  options: File.Options
): Effect.Effect<ProvidedStore, ProvidedFileError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const kept = new Kept()
    const failed = (detail: string) => new ProvidedFileError({ path: options.path, detail })
    const storage = yield* File.make(options, format, kept, failed)
    return {
      of: (realm) => kept.of(realm),
      set: (realm, key, announcedAt) => kept.set(realm, key, announcedAt),
      delete: (realm, key) => kept.delete(realm, key),
      stored: storage.stored.pipe(
        Effect.catch((error) => Effect.logWarning("what is provided could not be stored", error))
      )
    }
  })
