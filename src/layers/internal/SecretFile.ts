/** Reading a file that holds a secret. It is never changed, whatever is in it. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as WholeFile from "./WholeFile.ts"

/** Why it cannot be used, and the step that puts it right. */
export interface Problem {
  readonly detail: string
  readonly mend: string
}

export interface Options<A> {
  readonly path: string
  /** What it should hold, such as `a key`. */
  readonly what: string
  /** The largest file that is read. */
  readonly maxSize: number
  /** Refuse a file that others than its owner may read. Default true. */
  readonly checkMode?: boolean | undefined
  /** What it holds, or what is wrong with it; nothing of what is in the file. */
  readonly decode: (bytes: Uint8Array) => Result.Result<A, string>
  /** What to do about a file that holds something else. */
  readonly leftAlone: string
}

/** What the file holds; `undefined` if there is none. */
export const read = <A>(options: Options<A>): Effect.Effect<A | undefined, Problem, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { checkMode, decode, leftAlone, maxSize, path, what } = options
    const fs = yield* FileSystem.FileSystem
    const fail = (detail: string, mend: string) => Effect.fail<Problem>({ detail, mend })
    const unreadable = (error: PlatformError.PlatformError): Problem => ({
      detail: `it cannot be read: ${WholeFile.describe(error)}`,
      mend: "Make it readable for the user that runs this, or name another file"
    })
    const info = yield* Effect.mapError(WholeFile.stat(path), unreadable)
    if (info === undefined) return undefined
    if (info.type !== "File") return yield* fail("it is not a file", `Name the file of ${what}`)
    if (Number(info.size) > maxSize) {
      return yield* fail(`it is not ${what}: it has ${info.size} bytes, ${what} has at most ${maxSize}`, leftAlone)
    }
    const bytes = yield* Effect.mapError(fs.readFile(path), unreadable)
    if (bytes.length === 0) return yield* fail("it is empty", leftAlone)
    const found = decode(bytes)
    if (Result.isFailure(found)) return yield* fail(found.failure, leftAlone)
    // After it is known to be a secret: other files have reasons for their modes.
    if (checkMode !== false && (info.mode & 0o077) !== 0) {
      const mode = (info.mode & 0o777).toString(8).padStart(4, "0")
      return yield* fail(`others than its owner may use it (mode ${mode})`, `Mend it with: chmod 600 '${path}'`)
    }
    return found.success
  })
