/**
 * A private key in a file: the libp2p protobuf of the key, as go-libp2p and
 * Kubo write it, readable by its owner alone.
 *
 * Writing goes through a second file beside the first, which is synced and
 * then takes the name: at any moment, also after a power cut, the name leads
 * to a whole key or to none.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../../data/Bytes.ts"
import * as Keys from "../../data/Keys.ts"
import { IdentityError } from "../../services/Identity.ts"

export interface Options {
  /** Where the key is. */
  readonly path: string
  /**
   * Refuse a file that others than its owner may read. Default true; turn it
   * off where modes mean nothing, as on Windows.
   */
  readonly checkMode?: boolean | undefined
}

/** The largest file read: a private key, the field of its type and the header of its data. */
const maxSize = Keys.maxPrivateKeySize + 8

const leftAlone = "The file is left as it is: restore it from a backup, or move it away to start as a new peer"

/** In words, what the system said. */
const describe = (error: PlatformError.PlatformError): string => {
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

/**
 * Reads a private key; `undefined` if there is no file. The file is never
 * changed, whatever is in it.
 */
export const read = Effect.fnUntraced(function* ({ checkMode, path }: Options) {
  const fs = yield* FileSystem.FileSystem
  const fail = (detail: string, mend: string) => new IdentityError({ path, detail, mend })
  const unreadable = (error: PlatformError.PlatformError) =>
    fail(`it cannot be read: ${describe(error)}`, "Make it readable for the user that runs this, or name another file")
  const info = yield* fs.stat(path).pipe(
    Effect.catchIf(
      (error) => error.reason._tag === "NotFound",
      () => Effect.succeed(undefined)
    ),
    Effect.mapError(unreadable)
  )
  if (info === undefined) return undefined
  if (info.type !== "File") return yield* fail("it is not a file", "Name the file of a key")
  if (Number(info.size) > maxSize) {
    return yield* fail(`it is not a key: it has ${info.size} bytes, a key has at most ${maxSize}`, leftAlone)
  }
  const bytes = yield* Effect.mapError(fs.readFile(path), unreadable)
  if (bytes.length === 0) return yield* fail("it is empty", leftAlone)
  const key = Keys.decodePrivateKey(bytes)
  if (Result.isFailure(key)) return yield* fail(`it is damaged or not a key (${key.failure.detail})`, leftAlone)
  // After it is known to be a key: other files have reasons for their modes.
  if (checkMode !== false && (info.mode & 0o077) !== 0) {
    const mode = (info.mode & 0o777).toString(8).padStart(4, "0")
    return yield* fail(`others than its owner may use it (mode ${mode})`, `Mend it with: chmod 600 '${path}'`)
  }
  return key.success
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
export const writeSecret = Effect.fnUntraced(function* (
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
    Effect.uninterruptible,
    Effect.mapError(
      (error) =>
        new IdentityError({
          path,
          detail: `it cannot be written: ${describe(error)}`,
          mend: "Make its folder writable for the user that runs this, or name another file"
        })
    )
  )
})

/** Writes a private key; see {@link writeSecret}. */
export const write = (
  path: string,
  key: Keys.PrivateKey,
  options?: { readonly overwrite?: boolean | undefined }
): Effect.Effect<boolean, IdentityError, FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom> =>
  writeSecret(path, Keys.encodePrivateKey(key), options)
