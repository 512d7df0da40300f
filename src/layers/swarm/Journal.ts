/** What happens in a swarm, as events and as counts. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { Meter } from "../../services/Meter.ts"
import type { SwarmCounters, SwarmEvent } from "../../services/Swarm.ts"

/** Events that a subscriber may fall behind. */
const capacity = 1024
/** Events of one kind of failure, which remotes can cause without end, told in a second. Those beyond are counted, and drown nobody. */
const failuresASecond = 100

export interface Journal {
  /** False when it is only counted: too many of its kind came in this second. */
  readonly emit: (event: SwarmEvent) => boolean
  readonly events: Stream.Stream<SwarmEvent>
  /** Those that no event tells. */
  readonly count: (what: "streamsRefused" | "dialsFailed") => void
  readonly counters: () => SwarmCounters
}

export const make: Effect.Effect<Journal> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const meter = yield* Meter
  const events = yield* PubSub.sliding<SwarmEvent>({ capacity })
  const counters = {
    inboundOpened: 0,
    outboundOpened: 0,
    inboundFailed: 0,
    dialsFailed: 0,
    handlersFailed: 0,
    streamsRefused: 0
  } satisfies SwarmCounters
  let second = 0n
  const told = { HandlerFailed: 0, InboundFailed: 0 }

  /** False when it is one too many. */
  const tell = (kind: keyof typeof told): boolean => {
    const now = clock.monotonicTimeNanosUnsafe() / 1_000_000_000n
    if (now !== second) {
      second = now
      told.HandlerFailed = told.InboundFailed = 0
    }
    return ++told[kind] <= failuresASecond
  }

  /** Counts the event; false when it is one too many. */
  const note = (event: SwarmEvent): boolean => {
    switch (event._tag) {
      case "Connected":
        counters[event.connection.direction === "inbound" ? "inboundOpened" : "outboundOpened"]++
        return true
      case "HandlerFailed":
        counters.handlersFailed++
        return tell("HandlerFailed")
      case "InboundFailed":
        counters.inboundFailed++
        return tell("InboundFailed")
      default:
        return true
    }
  }

  return {
    emit: (event) => {
      meter.swarm(event)
      const isTold = note(event)
      if (isTold) PubSub.publishUnsafe(events, event)
      return isTold
    },
    events: Stream.fromPubSub(events),
    count: (what) => {
      counters[what]++
    },
    counters: () => ({ ...counters })
  }
})
