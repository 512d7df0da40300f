/** The key of a private network in a file, as every libp2p writes it, readable by its owner alone. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import * as Result from "effect/Result"
import { SecureRandom } from "effect/crypto/SecureRandom"
import * as NetworkKey from "../../data/NetworkKey.ts"
import { NetworkKeyFileError } from "../../services/PrivateNetwork.ts"
import * as SecretFile from "../internal/SecretFile.ts"
import * as WholeFile from "../internal/WholeFile.ts"

export interface Options {
  /** Where the key is. */
  readonly path: string
  /** Refuse a file that others than its owner may read. Default true; turn it off where modes mean nothing. */
  readonly checkMode?: boolean | undefined
}

/** Reads the key of a network. A file that is not there is an error, too: without it a node would be in another network. */
export const read = ({
  checkMode,
  path
}: Options): Effect.Effect<NetworkKey.NetworkKey, NetworkKeyFileError, FileSystem.FileSystem> =>
  SecretFile.read({
    path,
    checkMode,
    what: "a key of a private network",
    maxSize: NetworkKey.maxFileSize,
    leftAlone: "The file is left as it is: bring the one of another node of the network",
    decode: (bytes) =>
      Result.mapError(NetworkKey.decode(bytes), ({ message }) => `it holds no key of a network: ${message}`)
  }).pipe(
    Effect.flatMap((key) =>
      key === undefined
        ? Effect.fail({ detail: "there is no such file", mend: "Bring the one of another node of the network" })
        : Effect.succeed(key)
    ),
    Effect.mapError((problem) => new NetworkKeyFileError({ path, ...problem }))
  )

/** A key that nobody has. */
export const generate: Effect.Effect<NetworkKey.NetworkKey, never, SecureRandom> = Effect.flatMap(
  SecureRandom,
  ({ randomBytes }) => Effect.map(randomBytes(NetworkKey.size), (bytes) => new NetworkKey.NetworkKey(bytes))
)

/** Writes the key to a file that is not there yet; false, with nothing changed, if one is. */
export const write = (
  path: string,
  key: NetworkKey.NetworkKey,
  encoding?: NetworkKey.Encoding
): Effect.Effect<boolean, NetworkKeyFileError, FileSystem.FileSystem | Path.Path | SecureRandom> =>
  Effect.mapError(
    WholeFile.write(path, NetworkKey.encode(key, encoding)),
    (error) =>
      new NetworkKeyFileError({
        path,
        detail: `it cannot be written: ${WholeFile.describe(error)}`,
        mend: "Make its folder writable for the user that runs this, or name another file"
      })
  )
