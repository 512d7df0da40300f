/** Peers that were learnt to be stable, in a file of JSON that people can read. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import * as WholeFile from "../internal/WholeFile.ts"
import type { Learnt } from "./core/Candidates.ts"

/** The file of the learnt peers cannot be used. `mend` is the step that puts it right. */
export class BootstrapFileError extends Schema.TaggedError<BootstrapFileError>()("BootstrapFileError", {
  path: Schema.String,
  detail: Schema.String,
  mend: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}. ${this.mend}`
  }
}

/** The largest file read, in bytes: many times what is ever written. */
const maxSize = 2 ** 20

const Format = Schema.Literal("effect-libp2p bootstrap peers")
const Content = Schema.Struct({
  format: Format,
  version: Schema.Literal(1),
  peers: Schema.Array(
    Schema.Struct({ peer: PeerId.FromString, addresses: Schema.Array(Multiaddr.FromString), seenAt: Schema.Finite })
  )
})
const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Content))
const encode = Schema.encodeSync(Content)
/** For telling a file of another version from one of another program. */
const decodeHeader = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({ format: Format, version: Schema.Finite }))
)

const leftAlone = "The file is left as it is: restore it, or move it away to start with an empty one"

/** What is in the file, nothing if there is none. The file is never changed, whatever is in it. */
export const load = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const fail = (detail: string, mend: string) => new BootstrapFileError({ path, detail, mend })
  const unreadable = (error: PlatformError.PlatformError) =>
    fail(
      `it cannot be read: ${WholeFile.describe(error)}`,
      "Make it readable for the user that runs this, or name another file"
    )
  const info = yield* Effect.mapError(WholeFile.stat(path), unreadable)
  const nothing: ReadonlyArray<Learnt> = []
  if (info === undefined) return nothing
  if (info.type !== "File") return yield* fail("it is not a file", "Name another")
  if (Number(info.size) > maxSize) return yield* fail(`it has ${info.size} bytes, the limit is ${maxSize}`, leftAlone)
  const text = Bytes.toUtf8Strict(yield* Effect.mapError(fs.readFile(path), unreadable)) ?? ""
  const content = decode(text)
  if (Result.isSuccess(content)) return content.success.peers
  const header = decodeHeader(text)
  if (Result.isFailure(header)) return yield* fail("it is not a list of bootstrap peers, or is damaged", leftAlone)
  return yield* header.success.version === 1
    ? fail("it is damaged", leftAlone)
    : fail(`it is of the unknown version ${header.success.version}`, leftAlone)
})

/** Puts these in the file, whole or not at all. */
export const save = (
  path: string,
  peers: ReadonlyArray<Learnt>
): Effect.Effect<void, BootstrapFileError, FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom> =>
  Effect.suspend(() => {
    const content = encode({ format: "effect-libp2p bootstrap peers", version: 1, peers })
    return WholeFile.write(path, Bytes.fromUtf8(`${JSON.stringify(content, null, 2)}\n`), { overwrite: true })
  }).pipe(
    Effect.mapError(
      (error) =>
        new BootstrapFileError({
          path,
          detail: `it cannot be written: ${WholeFile.describe(error)}`,
          mend: "Make its folder writable for the user that runs this, or name another file"
        })
    ),
    Effect.asVoid
  )
