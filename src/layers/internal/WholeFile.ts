/**
 * Files that are whole or not there, for what a node keeps of its own.
 *
 * Writing goes through a second file beside the first, which is synced and
 * then takes the name: at any moment, also after a power cut, the name leads
 * to a whole file, the one before or the new one, or to none.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../../data/Bytes.ts"

/** In words, what the system said. */
export const describe = (error: PlatformError.PlatformError): string => {
  switch (error.reason._tag) {
    case "PermissionDenied":
      return "this user has no permission"
    case "NotFound":
      return "there is no such folder"
    default: {
      const cause = error.reason.cause
      return cause instanceof Error ? cause.message : error.message
    }
  }
}

/** What the system knows of a file; `undefined` if there is none. */
export const stat = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.catchIf(
    fs.stat(path),
    (error) => error.reason._tag === "NotFound",
    () => Effect.succeed(undefined)
  )
})

/** Syncs a folder, so that a new name in it outlives a power cut; not every system can. */
export const syncFolder = (folder: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* (yield* fs.open(folder, { flag: "r" })).sync
  }).pipe(Effect.scoped, Effect.ignore)

/**
 * Writes bytes that only this user may read, whole or not at all, and makes the
 * folder if need be. Gives false, with nothing changed, if there is a file and
 * `overwrite` is not set; of two that write at once, one wins and the other
 * gets false.
 */
export const write = Effect.fnUntraced(function* (
  path: string,
  bytes: Uint8Array,
  options?: { readonly overwrite?: boolean | undefined }
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const random = yield* SecureRandom.SecureRandom
  const folder = paths.dirname(path)
  const suffix = Bytes.toHex(yield* random.randomBytes(8))
  const temporary = paths.join(folder, `.${paths.basename(path)}.${suffix}.tmp`)

  const fill: Effect.Effect<void, PlatformError.PlatformError, Scope.Scope> = Effect.gen(function* () {
    const file = yield* fs.open(temporary, { flag: "wx", mode: 0o600 })
    yield* file.writeAll(bytes)
    yield* file.sync
  })
  /** A hard link fails where the name is taken, which renaming does not; some file systems have none. */
  const claim = fs.link(temporary, path).pipe(
    Effect.as(true),
    Effect.catchIf(
      (error) => error.reason._tag === "AlreadyExists",
      () => Effect.succeed(false)
    ),
    Effect.catch((error) =>
      Effect.flatMap(fs.exists(path), (taken) =>
        taken ? Effect.fail(error) : Effect.as(fs.rename(temporary, path), true)
      )
    )
  )

  return yield* Effect.gen(function* () {
    yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 })
    yield* Effect.scoped(fill)
    const written = options?.overwrite === true ? yield* Effect.as(fs.rename(temporary, path), true) : yield* claim
    if (written) yield* syncFolder(folder)
    return written
  }).pipe(
    Effect.ensuring(Effect.ignore(fs.remove(temporary, { force: true }))),
    // Half a second of disk; a stop in between would leave the temporary file.
    Effect.uninterruptible
  )
})
