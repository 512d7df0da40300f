/** Drives a world: an effect to its end, and then the rest of what was begun. Both say what is wrong, and where they are meanwhile. */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import type { Place, Stage, World } from "./World.ts"

/** Where a run is, for progress. */
export interface Progress {
  readonly virtualMs: number
  readonly events: number
  readonly faultsAlive: number
  readonly stage: Stage
}

/** Virtual time that everything may take to end after the program. */
export const teardownMs = 5 * 60_000
/** Turns of the clock between two reports of progress, when little is left. */
const turnsAtOnce = 1024

/** Runs an effect to its end, and says what was wrong with it. */
export function* drive(
  world: World,
  place: Place,
  effect: Effect.Effect<unknown, unknown, SecureRandom.SecureRandom>,
  untilMs: number,
  progress: () => Progress
): Generator<Progress, string | undefined> {
  const run = world.run(world.fork(place, effect), untilMs)
  for (;;) {
    const next = run.next()
    if (next.done !== true) {
      yield progress()
      continue
    }
    const outcome = next.value
    switch (outcome._tag) {
      case "Done":
        return Exit.isSuccess(outcome.exit) ? undefined : Cause.pretty(outcome.exit.cause)
      case "Deadlock":
        return "nothing is left to happen, and the program still waits"
      case "OutOfTime":
        return `not done after ${Math.round(untilMs)} ms of virtual time`
      case "CheckFailed":
        return outcome.problem
    }
  }
}

/** When all has ended, nothing may wait any more: a timer that is left belongs to a fiber that is. */
export function* leftBehind(world: World, progress: () => Progress): Generator<Progress, string | undefined> {
  world.stage = { what: "looking for what is left" }
  const limit = world.timeline.now + teardownMs
  for (let turns = 0; ; turns++) {
    if (turns % turnsAtOnce === 0) yield progress()
    while (world.queue.step()) {
      // What was woken ends too.
    }
    if (world.timeline.pending === 0) return undefined
    if (!world.timeline.step(limit)) break
  }
  return `${world.timeline.pending} timers are left ${teardownMs / 60_000} minutes after every node was stopped`
}
