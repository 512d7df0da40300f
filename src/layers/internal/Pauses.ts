/** Pauses between the runs of an actor that is started again however often it fails. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const firstMs = 100
const longestMs = 10_000
/** A run that lasted this long ends the row of failures. */
const calmMs = 60_000

/** To be run at the beginning of each run: waits before each that follows closely on another, twice as long each time. */
export const make = (): Effect.Effect<void> => {
  let failures = -1
  let before = 0
  return Effect.gen(function* () {
    const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
    failures = failures >= 0 && now - before > calmMs ? 0 : failures + 1
    const pause = failures <= 0 ? 0 : Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30))
    before = now + pause
    if (pause > 0) yield* Effect.sleep(pause)
  })
}
