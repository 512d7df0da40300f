/**
 * Enters a network anew, when the table is empty: dials the peers that are given
 * for it, those that were discovered lately, and asks those that are connected
 * who they are. Who speaks the protocol comes into the table by that.
 *
 * One attempt at a time, with growing pauses while nobody is there.
 *
 * Now and then it also dials a few of them while the table is full. A network
 * that was cut in two for long is two: each half has forgotten the other, has
 * full tables, and no lookup leads across. Somebody must try a way outside.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Connection, Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"

export interface Options {
  readonly swarm: Swarm["Service"]
  /** Whom to dial. */
  readonly peers: Effect.Effect<ReadonlyArray<RoutedPeer>>
  /** How often some of them are dialled that are not connected. */
  readonly outsideEveryMs: number
  readonly chance: () => number
  /** There is a connection with a peer. */
  readonly met: (connection: Connection) => Effect.Effect<void>
}

export interface Bootstrap {
  /** Enters, soon, unless it is at it already. */
  readonly enter: () => void
}

/** Peers that are dialled at once. */
const concurrency = 8
/** Peers that are dialled now and then. */
const outside = 2
/** Pauses between attempts: the first, and the longest. */
const firstMs = 5000
const longestMs = 120_000
/** A row of attempts is over when the next is asked for so long after the pause. */
const calmMs = 60_000

/** Waits for {@link Bootstrap.enter} until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Bootstrap, never, Scope.Scope> {
  const { chance, met, swarm } = options
  const asked = yield* Queue.sliding<void>(1)

  const dial = (peers: ReadonlyArray<RoutedPeer>) =>
    Effect.forEach(
      peers,
      (peer) => Effect.matchEffect(swarm.dial(peer), { onSuccess: met, onFailure: () => Effect.void }),
      {
        concurrency,
        discard: true
      }
    )

  const attempt = Effect.gen(function* () {
    yield* dial(yield* options.peers)
    yield* Effect.forEach(yield* swarm.connections(), met, { concurrency: "unbounded", discard: true })
  })

  let pauseMs = firstMs
  let endedAt = 0
  yield* Effect.gen(function* () {
    yield* Queue.take(asked)
    if ((yield* monotonicMs) - endedAt > calmMs) pauseMs = firstMs
    yield* attempt
    yield* Effect.sleep(pauseMs)
    pauseMs = Math.min(longestMs, 2 * pauseMs)
    endedAt = yield* monotonicMs
    yield* Queue.clear(asked)
  }).pipe(
    // A defect is told of, and costs one attempt.
    Effect.catchDefect((defect) => Effect.logError("entering the DHT fails", defect)),
    Effect.forever,
    Effect.forkScoped
  )

  const look = Effect.gen(function* () {
    // Not all nodes at once, and each within the time.
    yield* Effect.sleep(options.outsideEveryMs * (0.5 + chance() / 2))
    const connected = new Set((yield* swarm.connections()).map(({ remotePeer }) => remotePeer.toString()))
    const away = (yield* options.peers).filter(({ peer }) => !connected.has(peer.toString()))
    const chosen = away.map((peer) => ({ peer, place: chance() })).toSorted((a, b) => a.place - b.place)
    yield* dial(chosen.slice(0, outside).map(({ peer }) => peer))
  })
  yield* look.pipe(
    Effect.catchDefect((defect) => Effect.logError("looking outside of the DHT fails", defect)),
    Effect.forever,
    Effect.forkScoped
  )

  return { enter: () => void Queue.offerUnsafe(asked, undefined) }
})
