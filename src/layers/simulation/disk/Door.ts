/** What stands between a process and the disk: it fails what must fail, and stops what a power cut stops. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import type { Code } from "./Volume.ts"

export interface Door {
  /** Why this operation fails before it starts; counts and notes it otherwise. */
  readonly enter: (method: string, detail: string) => Code | undefined
  /** The power is out. */
  readonly stopped: () => boolean
  /** Waits for the crash that ends the power cut. */
  readonly crashed: Effect.Effect<void>
}

const words: Record<Code | "ENOTSUP", string> = {
  EACCES: "permission denied",
  EBADF: "the handle does not allow this",
  EEXIST: "there is one already",
  EINVAL: "invalid argument",
  EIO: "input/output error",
  EISDIR: "it is a directory",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  ENOTSUP: "the simulated disk does not do this",
  EPERM: "operation not permitted",
  // The name that Node gives to removing a directory as if it were a file.
  ERR_FS_EISDIR: "it is a directory"
}

const tags: Partial<Record<Code | "ENOTSUP", PlatformError.SystemErrorTag>> = {
  EACCES: "PermissionDenied",
  EBADF: "BadResource",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOENT: "NotFound",
  ENOTDIR: "BadResource",
  EPERM: "PermissionDenied"
}

/** The cause of each error, with the system's code as Node gives it. */
class SystemCall extends Error {
  override readonly name = "SystemCall"
  readonly code: string

  constructor(code: Code | "ENOTSUP", method: string, path: string) {
    super(`${code}: ${words[code]}, ${method} '${path}'`)
    this.code = code
  }
}

export const refuse = (method: string, path: string, code: Code | "ENOTSUP"): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: tags[code] ?? "Unknown",
    module: "FileSystem",
    method,
    pathOrDescriptor: path,
    description: words[code],
    cause: new SystemCall(code, method, path)
  })

/** One operation of the disk: all of it happens at once, or nothing. */
export const operation = <A>(
  door: Door,
  method: string,
  path: string,
  detail: string,
  body: (now: number) => Result.Result<A, Code>
): Effect.Effect<A, PlatformError.PlatformError> =>
  Clock.clockWith((clock) => {
    if (door.stopped()) return Effect.flatMap(door.crashed, () => Effect.fail(refuse(method, path, "EIO")))
    const fault = door.enter(method, detail)
    if (fault !== undefined) return Effect.fail(refuse(method, path, fault))
    const result = body(clock.currentTimeMillisUnsafe())
    return Result.isSuccess(result) ? Effect.succeed(result.success) : Effect.fail(refuse(method, path, result.failure))
  })
