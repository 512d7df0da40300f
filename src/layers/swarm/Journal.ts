/** What happens in a swarm, as events and as counts. */
import { Clock, Effect, PubSub, Stream } from "effect"
import { Meter } from "../../services/Meter.ts"
import type { SwarmCounters, SwarmEvent } from "../../services/Swarm.ts"

/** Events that a subscriber may fall behind. */
const capacity = 1024
/** InboundFailed events told in a second. Those of a flood beyond are counted, and drown nobody. */
const failuresASecond = 100

export interface Journal {
  readonly emit: (event: SwarmEvent) => void
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
  let told = 0

  /** Counts the event; false when it is one too many. */
  const note = (event: SwarmEvent): boolean => {
    switch (event._tag) {
      case "Connected":
        counters[event.connection.direction === "inbound" ? "inboundOpened" : "outboundOpened"]++
        return true
      case "HandlerFailed":
        counters.handlersFailed++
        return true
      case "InboundFailed": {
        counters.inboundFailed++
        const now = clock.monotonicTimeNanosUnsafe() / 1_000_000_000n
        if (now !== second) {
          second = now
          told = 0
        }
        told++
        return told <= failuresASecond
      }
      default:
        return true
    }
  }

  return {
    emit: (event) => {
      meter.swarm(event)
      if (note(event)) PubSub.publishUnsafe(events, event)
    },
    events: Stream.fromPubSub(events),
    count: (what) => {
      counters[what]++
    },
    counters: () => ({ ...counters })
  }
})
