/**
 * A private key in a file: the libp2p protobuf of the key, as go-libp2p and
 * Kubo write it, readable by its owner alone. It is whole or not there at any
 * moment, also after a power cut.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import * as Result from "effect/Result"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Keys from "../../data/Keys.ts"
import { IdentityError } from "../../services/Identity.ts"
import * as SecretFile from "../internal/SecretFile.ts"
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
export const read = ({
  checkMode,
  path
}: Options): Effect.Effect<Keys.PrivateKey | undefined, IdentityError, FileSystem.FileSystem> =>
  Effect.mapError(
    SecretFile.read({
      path,
      checkMode,
      what: "a key",
      maxSize,
      leftAlone,
      decode: (bytes) =>
        Result.mapError(Keys.decodePrivateKey(bytes), ({ detail }) => `it is damaged or not a key (${detail})`)
    }),
    ({ detail, mend }) => new IdentityError({ path, detail, mend })
  )

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
