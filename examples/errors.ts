import { Effect } from "effect"
import { Swarm } from "effect-libp2p"

/** Opens a stream, and says what to do when that fails. */
export const open = (target: Swarm.DialTarget) =>
  Effect.gen(function* () {
    const swarm = yield* Swarm.Swarm
    return yield* swarm.openStream(target, "/echo/1.0.0")
  }).pipe(
    Effect.tapErrorTag("DialError", (error) =>
      // One attempt an address, each with its own reason.
      Effect.forEach(error.attempts, ({ address, reason }) => Effect.logWarning(address, reason._tag))
    ),
    Effect.tapErrorTag("OpenStreamError", ({ reason }) =>
      reason._tag === "LimitExceeded"
        ? Effect.logWarning(`${reason.scope} is full: ${reason.current} of ${reason.limit} ${reason.resource}`)
        : Effect.void
    )
  )
