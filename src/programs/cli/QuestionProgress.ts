/** How a question to the network goes, on one line of stderr that is written anew; nothing where nobody watches. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import process from "node:process"
import type { RoutingProgress } from "../../services/PeerRouting.ts"
import { Output } from "./Output.ts"

const count = (n: number, one: string): string => `${n} ${one}${n === 1 ? "" : "s"}`

/** A step in words. */
const words = ({ answered, asked, closest, failed, hops, router }: RoutingProgress): string => {
  const first = closest[0]?.peer.toString()
  return [
    `${router}: ${count(asked, "peer")} asked`,
    `${answered} answered`,
    ...(failed === 0 ? [] : [`${failed} failed`]),
    count(hops, "hop"),
    ...(first === undefined ? [] : [`closest …${first.slice(-8)}`])
  ].join(", ")
}

export interface Watch {
  readonly onProgress: (progress: RoutingProgress) => void
  /** The latest step of each routing, for a summary. */
  readonly latest: () => ReadonlyArray<RoutingProgress>
}

/** Runs `body` with a line that tells how far it is, and clears the line after it. */
export const watching = <A, E, R>(body: (watch: Watch) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Output> =>
  Effect.gen(function* () {
    const { json } = yield* Output
    const shown = !json && process.stderr.isTTY
    const steps = new Map<string, RoutingProgress>()
    let changed = false
    const clear = () => {
      if (shown) process.stderr.write("\r\u001B[K")
    }
    const draw = Effect.sync(() => {
      if (!changed) return
      changed = false
      const width = process.stderr.columns ?? 80
      process.stderr.write(
        `\r\u001B[K${[...steps.values()]
          .map(words)
          .join("; ")
          .slice(0, width - 1)}`
      )
    })
    const watch: Watch = {
      onProgress: (progress) => {
        steps.set(progress.router, progress)
        changed = true
      },
      latest: () => [...steps.values()]
    }
    const drawing = Effect.forever(Effect.andThen(Effect.sleep(Duration.millis(100)), draw))
    const run = Effect.ensuring(body(watch), Effect.sync(clear))
    return yield* shown ? Effect.raceFirst(run, drawing) : run
  })
