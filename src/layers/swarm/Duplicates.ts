/**
 * Two peers that dial each other at once end with two connections, one dialled
 * by each. Both ends settle on one of them, without a message, by a rule that
 * gives both the same answer: **the connection that the peer with the smaller id
 * (in the order of its bytes) dialled is preferred**.
 *
 * It holds for connections of opposite directions that were opened within
 * 10 seconds of each other; whoever opens further ones later means to.
 *
 * ```
 *  both open ──> the preferred one answers a ping ──> streams go to it ──> the surplus one has had no
 *                │                                                         stream for a while: closed
 *                └─ it does not: nothing is settled, both stay
 * ```
 *
 * The ping is there because a connection may be dead without either end knowing,
 * as when the peer has crashed and dials again at once: nothing is taken from a
 * connection that works for one that does not. No stream is cut: the surplus
 * connection is closed once it has had none for a while, by the end that dialled
 * it. The other end has settled half a round trip later at most, and opens no
 * stream there any more by then; if the one that dialled does not close it (it
 * may be another implementation), this end does later.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { PeerId } from "../../data/PeerId.ts"
import type { MuxerError } from "../../services/StreamMuxer.ts"
import type { Connection } from "../../services/Swarm.ts"
import type { Entry } from "./Table.ts"

/** How far apart two connections may be opened and still be of one meeting. */
const meetingWindow = Duration.seconds(10)
/** How often a surplus connection is looked at. */
const interval = Duration.seconds(1)
/** Looks in a row without a stream before it is closed: by the end that dialled it, and by the other. */
const patience = { outbound: 2, inbound: 6 } as const
/** For the ping of the preferred connection. */
const answerDeadline = Duration.seconds(10)

/** Which of two ids is smaller, in the order of their bytes. */
const isSmaller = (a: PeerId, b: PeerId): boolean => {
  for (let i = 0; i < Math.min(a.bytes.length, b.bytes.length); i++) {
    const difference = (a.bytes[i] ?? 0) - (b.bytes[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return a.bytes.length < b.bytes.length
}

/** Two connections of one meeting. */
export interface Pair {
  readonly preferred: Entry
  readonly surplus: Entry
}

type Facts = Pick<Connection, "direction" | "kind" | "openedAt">

/** Which of two connections with `remote` is preferred at `self`; `undefined` when both have their place. */
export const prefer = (self: PeerId, remote: PeerId, a: Facts, b: Facts): "first" | "second" | undefined => {
  if (a.direction === b.direction || a.kind._tag !== b.kind._tag) return undefined
  if (Math.abs(a.openedAt - b.openedAt) > Duration.toMillis(meetingWindow)) return undefined
  return a.direction === (isSmaller(self, remote) ? "outbound" : "inbound") ? "first" : "second"
}

/** The pairs that a new connection makes with those that are open. */
export const pairs = (self: PeerId, opened: Entry, others: ReadonlyArray<Entry>): ReadonlyArray<Pair> =>
  others.flatMap((other): ReadonlyArray<Pair> => {
    if (other === opened || !other.isOpen()) return []
    const first = prefer(self, opened.connection.remotePeer, opened.connection, other.connection)
    return first === undefined
      ? []
      : [first === "first" ? { preferred: opened, surplus: other } : { preferred: other, surplus: opened }]
  })

/** Waits for an answer. A muxer that cannot ask is believed only of the newer connection, whose handshake was a moment ago. */
const alive = (preferred: Entry, surplus: Entry): Effect.Effect<unknown, MuxerError> =>
  Effect.catchIf(
    preferred.connection.ping,
    (error) => error.reason._tag === "Unsupported" && preferred.connection.id > surplus.connection.id,
    () => Effect.void
  )

/**
 * Settles a pair; to be run in the scope of the surplus connection. Ends when
 * the preferred one does not answer or ends first: then both, or the one that is
 * left, stay as they are.
 */
export const settle = (
  { preferred, surplus }: Pair,
  supersede: Effect.Effect<void, unknown>
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    yield* Effect.timeout(alive(preferred, surplus), answerDeadline)
    yield* supersede
    const { connection, streamsBegun } = surplus
    let begun = -1
    let quiet = 0
    while (quiet < patience[connection.direction]) {
      yield* Effect.sleep(interval)
      if (!preferred.isOpen()) return
      const now = streamsBegun()
      quiet = connection.streamCount() === 0 && now === begun ? quiet + 1 : 0
      begun = now
    }
    yield* connection.close
  })
