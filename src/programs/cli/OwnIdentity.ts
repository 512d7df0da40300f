/**
 * The key of a node that no file was named for. A user may run several nodes at
 * once, and two with one key would be one peer: the first has `identity.key`,
 * the second `identity-2.key`, and so on. Who has which is in a file beside the
 * key, with the process that has it.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import process from "node:process"
import { UsageError } from "./Failure.ts"
import * as Places from "./Places.ts"
import type { Settings } from "./Settings.ts"

/** Nodes of a user at once that have keys which stay. */
const most = 100

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined)

/** Whether a process runs; one of another user does, too. */
const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === "EPERM"
  }
}

/** Makes the file for this process; false if another has it. */
const take = (lock: string): boolean => {
  for (let tries = 0; tries < 2; tries++) {
    try {
      Fs.writeFileSync(lock, `${process.pid}\n`, { flag: "wx", mode: 0o600 })
      return true
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error
      const pid = Number(Fs.readFileSync(lock, "utf8"))
      if (Number.isSafeInteger(pid) && pid > 0 && pid !== process.pid && runs(pid)) return false
      // Its process ended without a word.
      Fs.rmSync(lock, { force: true })
    }
  }
  return false
}

const numbered = (path: string, n: number): string => {
  const { dir, ext, name } = Path.parse(path)
  return n === 1 ? path : Path.join(dir, `${name}-${n}${ext}`)
}

/** The settings with the key file that this process has until the scope closes. A file that was named is as it was named. */
export const claim = (settings: Settings): Effect.Effect<Settings, UsageError, Scope.Scope> =>
  settings.identity !== Places.identityFile()
    ? Effect.succeed(settings)
    : Effect.map(
        Effect.acquireRelease(
          Effect.try({
            try: () => {
              Fs.mkdirSync(Path.dirname(settings.identity), { recursive: true, mode: 0o700 })
              for (let n = 1; n <= most; n++) {
                const identity = numbered(settings.identity, n)
                if (take(`${identity}.in-use`)) return identity
              }
              throw new Error(`${most} nodes of this user run already`)
            },
            catch: (error) =>
              new UsageError({
                detail: `${settings.identity}: ${error instanceof Error ? error.message : String(error)}. Give --identity another file.`
              })
          }),
          (identity) => Effect.sync(() => Fs.rmSync(`${identity}.in-use`, { force: true }))
        ),
        (identity) => ({ ...settings, identity })
      )
