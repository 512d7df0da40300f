/**
 * Identify push, both ways: peers tell of their own accord what has changed.
 *
 * Specification: identify/README.md, "identify/push".
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Identify as Message } from "../../data/messages/Identify.ts"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import { type IdentifyErrorReason, pushProtocol } from "../../services/Identify.ts"
import type { Protocols } from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import type { Connection, Swarm } from "../../services/Swarm.ts"
import type { Facts } from "./Announcement.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Exchange from "./Exchange.ts"
import { join } from "./Interpret.ts"
import type { Known, Table } from "./Known.ts"

/**
 * Pushes of a connection are looked at so often, at most; those in between are
 * joined, the later ones hold. Each may cost a signature and a write to the disk:
 * so many at a time, and in the long run no more than one in `refillMs`.
 */
const betweenPushesMs = 1000
const burst = 20
const refillMs = 10_000
/** Peers that are told at once. */
const concurrency = 16

/**
 * Takes one push. `apply` is called with what is new, for a connection once a
 * second at most and ever less often if they do not end, after its first answer
 * to identify: a push is a change of that.
 */
export const receive =
  (options: {
    readonly connectionOf: (stream: ProtocolStream) => Effect.Effect<Connection | undefined>
    readonly table: Table
    readonly deadlineMs: number
    readonly apply: (connection: Connection, message: Message) => Effect.Effect<void, IdentifyErrorReason>
  }) =>
  (stream: ProtocolStream): Effect.Effect<void, IdentifyErrorReason> =>
    Effect.gen(function* () {
      const message = yield* Exchange.read(stream).pipe(Exchange.within(options.deadlineMs))
      const connection = yield* options.connectionOf(stream)
      if (connection === undefined) return
      const known = options.table.of(connection)
      const waiting = known.pushed !== undefined
      known.pushed = known.pushed === undefined ? message : join(known.pushed, message)
      // The stream that came first looks at all of them.
      if (waiting) return
      yield* Effect.gen(function* () {
        yield* Effect.ignore(options.table.identified(connection))
        yield* Effect.sleep(Math.max(0, known.nextPushAt - (yield* monotonicMs)))
        const now = yield* monotonicMs
        known.pushesPaidAt = Math.max(known.pushesPaidAt, now) + refillMs
        known.nextPushAt = Math.max(now + betweenPushesMs, known.pushesPaidAt - burst * refillMs)
      }).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            known.pushed = undefined
          })
        )
      )
      const all = known.pushed
      known.pushed = undefined
      yield* options.apply(connection, all)
    })

/** Tells peers what this node says of itself. */
export interface Announcer {
  /** Something may have changed: looks, soon. */
  readonly look: () => void
  /** The messages for a peer at `remote`, and the edition of what they say. */
  readonly compose: (remote: Multiaddr) => Effect.Effect<Edition>
  /** To be called when the peer is identified: tells it what has changed since it asked. */
  readonly settled: (connection: Connection) => Effect.Effect<void>
  /** Tells every peer that wants to be told, now. */
  readonly tellAll: Effect.Effect<void>
}

export interface Edition {
  readonly number: number
  readonly parts: ReadonlyArray<Uint8Array>
}

/**
 * Watches for changes until the scope closes. One that is followed by others
 * within `debounceMs` is told once; what has changed back is not told, nor what
 * the peer has heard already.
 */
export const announcer = Effect.fnUntraced(function* (options: {
  readonly protocols: Protocols["Service"]
  readonly swarm: Swarm["Service"]
  readonly table: Table
  readonly facts: Effect.Effect<Facts>
  readonly messages: (facts: Facts, remote: Multiaddr) => Effect.Effect<ReadonlyArray<Uint8Array>>
  readonly debounceMs: number
  readonly deadlineMs: number
}): Effect.fn.Return<Announcer, never, Scope.Scope> {
  const { debounceMs, deadlineMs, messages, protocols, swarm, table } = options
  const changes = yield* Queue.sliding<void>(1)
  const look = (): void => {
    Queue.offerUnsafe(changes, undefined)
  }

  /** Counts the editions of what there is to say. */
  const edition = { text: "", number: 0 }
  const facts = Effect.map(options.facts, (facts) => {
    const text = [...facts.addresses, "", ...facts.protocols].join(" ")
    if (text !== edition.text) {
      edition.text = text
      edition.number++
      // Addresses of interfaces come and go without a word; it may be noticed here first.
      look()
    }
    return facts
  })

  const compose = (remote: Multiaddr): Effect.Effect<Edition> =>
    Effect.flatMap(facts, (facts) => {
      const { number } = edition
      return Effect.map(messages(facts, remote), (parts) => ({ number, parts }))
    })

  const wants = (known: Known): boolean => known.info?.protocols.includes(pushProtocol) === true

  /** Never fails. */
  const tell = (connection: Connection): Effect.Effect<void> =>
    Effect.gen(function* () {
      const { number, parts } = yield* compose(connection.remoteAddress)
      table.of(connection).told = number
      yield* Exchange.push(connection, parts, deadlineMs)
    }).pipe(
      Effect.catch((error) =>
        Effect.logDebug(
          `${connection.remotePeer.toString()} was not told what changed: ${
            error._tag === "IdentifyTimeout" ? `it did not take it within ${error.afterMs} ms` : error.message
          }`
        )
      )
    )

  const tellThose = (pick: (known: Known) => boolean) =>
    Effect.flatMap(swarm.connections(), (open) =>
      Effect.forEach(
        open.filter((connection) => pick(table.of(connection))),
        tell,
        { concurrency, discard: true }
      )
    )

  let seen = 0
  const follow = Effect.gen(function* () {
    yield* Queue.take(changes)
    yield* Effect.sleep(debounceMs)
    yield* Queue.clear(changes)
    yield* facts
    if (edition.number === seen) return
    seen = edition.number
    yield* tellThose((known) => {
      if (known.told === seen) return false
      // Its answer will say whether it wants to be told.
      if (known.info === undefined) known.due = true
      return wants(known)
    })
  })

  // A defect is told of, and costs one announcement.
  yield* Effect.forkScoped(
    Effect.forever(Effect.catchDefect(follow, (defect) => Effect.logError("identify push fails", defect)))
  )
  yield* Effect.forkScoped(
    Stream.runForEach(protocols.changes, () => Effect.sync(look)),
    { startImmediately: true }
  )
  yield* Effect.forkScoped(
    Stream.runForEach(swarm.events, ({ _tag }) =>
      Effect.sync(() => {
        if (_tag === "Listening" || _tag === "ListenClosed") look()
      })
    ),
    { startImmediately: true }
  )
  return {
    look,
    compose,
    settled: (connection) =>
      Effect.suspend(() => {
        const known = table.of(connection)
        return known.due && known.told !== edition.number && wants(known) ? tell(connection) : Effect.void
      }),
    tellAll: tellThose(wants)
  }
})
