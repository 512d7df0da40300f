/**
 * The key of a node that no file was named for. A user may run several nodes at
 * once, and two with one key would be one peer: the first has `identity.key`,
 * the second `identity-2.key`, and so on.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Path from "node:path"
import type { UsageError } from "./Failure.ts"
import * as KeyLock from "./KeyLock.ts"
import * as Places from "./Places.ts"
import type { Settings } from "./Settings.ts"

/** Nodes of a user at once that have keys which stay. */
const most = 100

const numbered = (path: string, n: number): string => {
  const { dir, ext, name } = Path.parse(path)
  return n === 1 ? path : Path.join(dir, `${name}-${n}${ext}`)
}

/** A file that was named is the one; so is the first for a node that goes on with what an earlier one provided. */
const isNamed = ({ identity, provided }: Settings): boolean =>
  identity !== Places.identityFile() || provided !== "memory"

/** The settings with the key that this process has until the scope closes; fails when another process has it. */
export const claim = (settings: Settings): Effect.Effect<Settings, UsageError, Scope.Scope> => {
  if (isNamed(settings)) return Effect.as(KeyLock.hold(settings.identity), settings)
  const from = (n: number): Effect.Effect<Settings, UsageError, Scope.Scope> => {
    const identity = numbered(settings.identity, n)
    return Effect.as(KeyLock.hold(identity), { ...settings, identity }).pipe(
      Effect.catch((error) => (n < most ? from(n + 1) : Effect.fail(error)))
    )
  }
  return from(1)
}
