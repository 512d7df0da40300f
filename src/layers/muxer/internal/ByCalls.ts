/**
 * Reading inside the calls that bring the bytes, where a stream can tell of them
 * in that way: a message then costs no waking and no suspending of the fiber
 * that reads, which sleeps until there is something else to do.
 */
import * as Effect from "effect/Effect"
import type { ByteStream, StreamError } from "../../../services/ByteStream.ts"

/**
 * Calls `take` each time that there is something to read, until it gives something. Of a stream that does not call, it
 * gives what `take` gave after one wait. `take` reads all there is before it gives nothing.
 */
export const byCalls = <A extends {}>(
  stream: ByteStream,
  take: () => A | undefined
): Effect.Effect<A | undefined, StreamError> =>
  Effect.callback((resume) => {
    let waiting = true
    const stop = (outcome: Effect.Effect<A | undefined, StreamError>) => {
      waiting = false
      resume(outcome)
    }
    const wait = (): void => {
      if (stream.whenReadable?.(called) !== true) stop(Effect.map(stream.readable, take))
    }
    const called = (): void => {
      if (!waiting) return
      try {
        const outcome = take()
        if (outcome !== undefined) stop(Effect.succeed(outcome))
        else if (waiting) wait()
      } catch (defect) {
        stop(Effect.die(defect))
      }
    }
    wait()
    return Effect.sync(() => {
      waiting = false
    })
  })
