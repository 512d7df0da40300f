/**
 * A private key in a file: the libp2p protobuf of the key, as go-libp2p and
 * Kubo write it, readable by its owner alone. It is whole or not there at any
 * moment, also after a power cut.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Keys from "../../data/Keys.ts"
import { IdentityError } from "../../services/Identity.ts"
import * as WholeFile from "../internal/WholeFile.ts"

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

/**
 * Reads a private key; `undefined` if there is no file. The file is never
 * changed, whatever is in it.
 */
export const read = Effect.fnUntraced(function* ({ checkMode, path }: Options) {
  const fs = yield* FileSystem.FileSystem
  const fail = (detail: string, mend: string) => new IdentityError({ path, detail, mend })
  const unreadable = (error: PlatformError.PlatformError) =>
    fail(
      `it cannot be read: ${WholeFile.describe(error)}`,
      "Make it readable for the user that runs this, or name another file"
    )
  const info = yield* Effect.mapError(WholeFile.stat(path), unreadable)
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

/** Writes bytes that only this user may read, whole or not at all; see {@link WholeFile.write}. */
export const writeSecret = (
  path: string,
  bytes: Uint8Array,
  options?: { readonly overwrite?: boolean | undefined }
): Effect.Effect<boolean, IdentityError, FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom> =>
  Effect.mapError(
    WholeFile.write(path, bytes, options),
    (error) =>
      new IdentityError({
        path,
        detail: `it cannot be written: ${WholeFile.describe(error)}`,
        mend: "Make its folder writable for the user that runs this, or name another file"
      })
  )

/** Writes a private key; see {@link writeSecret}. */
export const write = (
  path: string,
  key: Keys.PrivateKey,
  options?: { readonly overwrite?: boolean | undefined }
): Effect.Effect<boolean, IdentityError, FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom> =>
  writeSecret(path, Keys.encodePrivateKey(key), options)
