/**
 * Identity kept in a file: the same peer at each start. The first start makes
 * an Ed25519 key there.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import { Crypto, type CryptoError } from "../../services/Crypto.ts"
import { Identity, IdentityError } from "../../services/Identity.ts"
import * as FromKey from "./FromKey.ts"
import * as WholeFile from "../internal/WholeFile.ts"
import * as KeyFile from "./KeyFile.ts"

export type Options = KeyFile.Options

type Requirements = Crypto | FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom

/** Makes the key and its file. If another process was first, its key is the one. */
const create = Effect.fnUntraced(function* (options: Options) {
  const crypto = yield* Crypto
  const fresh = yield* crypto.generateKey("Ed25519")
  if (yield* KeyFile.write(options.path, fresh)) return fresh
  const theirs = yield* KeyFile.read(options)
  if (theirs !== undefined) return theirs
  return yield* new IdentityError({
    path: options.path,
    detail: "another process made the file and removed it at once",
    mend: "Start again"
  })
})

/**
 * The identity in the file at `path`, which is made if there is none. A file
 * that is unreadable, damaged or open to other users is refused and left as it
 * is: the error says how to mend it.
 */
export const make = (options: Options): Effect.Effect<Identity["Service"], IdentityError | CryptoError, Requirements> =>
  Effect.gen(function* () {
    const found = yield* KeyFile.read(options)
    // Whoever made the file may have died before its name was safe; from here on this node is that peer.
    if (found !== undefined) yield* WholeFile.syncFolder((yield* Path.Path).dirname(options.path))
    const privateKey = found ?? (yield* create(options))
    return yield* Effect.mapError(
      FromKey.make(privateKey),
      (error) =>
        new IdentityError({
          path: options.path,
          detail: `its key cannot be used (${error.detail})`,
          mend: "The file is left as it is: restore it from a backup, or move it away to start as a new peer"
        })
    )
  })

/**
 * This node is the peer whose key is in a file.
 *
 * ```
 * const Me = IdentityFromFile.layer({ path: "/var/lib/app/identity.key" })
 * ```
 */
export const layer = (options: Options): Layer.Layer<Identity, IdentityError | CryptoError, Requirements> =>
  Layer.effect(Identity, make(options))
