/**
 * The ResourceManager layer: the tree of scopes of `core/Manager.ts` with the
 * node's clock. It has no fiber and no timer; what is over is forgotten when
 * the next connection comes or the usage is asked for.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Machine } from "../../services/Machine.ts"
import { ResourceManager } from "../../services/ResourceManager.ts"
import { Manager } from "./core/Manager.ts"
import { type InvalidLimits, type LimitChanges, resolve } from "./Limits.ts"

export { defaults, InvalidLimits, LimitChanges } from "./Limits.ts"

export interface Options {
  /** The limits to change; the others are the defaults of the machine. */
  readonly limits?: LimitChanges | undefined
}

/**
 * Limits that scale with the `Machine`, with those of `options` in their place.
 *
 * ```
 * ResourceManager.layer({ limits: { system: { connections: 500 }, address: { connections: 4 } } })
 * ```
 *
 * Limits that cannot be (negative, not a number, an unknown name) fail the layer with `InvalidLimits`.
 */
export const layer = (options?: Options): Layer.Layer<ResourceManager, InvalidLimits> =>
  Layer.effect(
    ResourceManager,
    Effect.gen(function* () {
      const limits = yield* Effect.fromResult(resolve(yield* Machine, options?.limits))
      const clock = yield* Clock.Clock
      // Not of the wall clock: after that was set back, no bucket would fill again for as long.
      const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      const manager = new Manager(limits)
      return ResourceManager.of({
        limits,
        acceptConnection: (remote) => manager.accept(remote, now()),
        dialConnection: () => manager.dial(now()),
        usage: Effect.sync(() => manager.usage(now())),
        scopeCount: () => manager.scopeCount(now())
      })
    })
  )
