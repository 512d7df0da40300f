/**
 * Asks peers. Streams are kept between requests, since a new one costs a round
 * trip: one request in flight on each, few for each peer, and closed after some
 * time of no use.
 *
 * ```
 * scope of the layer
 *  ├─ a fiber that closes idle streams, while there are any
 *  └─ one scope a stream
 * ```
 *
 * A peer may close a stream that nobody uses, so a request that fails on a kept
 * one is sent once more on a new one; all requests may come twice.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Kad from "../../data/messages/Kad.ts"
import type { StreamError } from "../../services/ByteStream.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import type { DialError, OpenStreamError, Swarm } from "../../services/Swarm.ts"
import * as Deadlines from "../internal/Deadlines.ts"
import { monotonicMs } from "../internal/Monotonic.ts"

export interface Options {
  /** Such as `/ipfs/kad/1.0.0`. */
  readonly protocol: string
  /** For a request, from the dial to the answer, in milliseconds. */
  readonly deadlineMs: number
  /** Streams with one peer. Default 2. */
  readonly maxStreams?: number | undefined
  /** Requests to one peer that may wait for a stream. Default 16. */
  readonly maxWaiting?: number | undefined
  /** Streams that are kept, of all peers. Default 256; those of no use for longest are closed. */
  readonly maxIdle?: number | undefined
  /** How long a stream of no use is kept, in milliseconds. Default 30,000: less than others keep theirs. */
  readonly idleMs?: number | undefined
}

/** Why a request came to nothing. */
export type Failure =
  /** No connection, or no stream on it. */
  | { readonly _tag: "Unreachable"; readonly cause: DialError | OpenStreamError }
  /** The peer reset or closed the stream, does not speak the protocol, or announced an answer that is too long. */
  | { readonly _tag: "StreamFailed"; readonly cause: StreamError }
  /** It closed the stream instead of answering: it refuses. */
  | { readonly _tag: "NoAnswer" }
  /** The answer is no message, or none to the question. */
  | { readonly _tag: "Malformed"; readonly detail: string }
  /** No answer by the deadline. */
  | { readonly _tag: "TimedOut"; readonly afterMs: number }
  /** Too many requests to this peer are waiting. */
  | { readonly _tag: "Busy"; readonly limit: number }

/** A failure for people. */
export const describe = (failure: Failure): string => {
  switch (failure._tag) {
    case "Unreachable":
    case "StreamFailed":
      return failure.cause.message
    case "NoAnswer":
      return "the peer closed the stream instead of answering"
    case "Malformed":
      return `the answer is refused: ${failure.detail}`
    case "TimedOut":
      return `no answer within ${failure.afterMs} ms`
    case "Busy":
      return `${failure.limit} requests to the peer wait already`
  }
}

/** True when the failure says nothing of the peer: there was no room for the request in this node. */
export const isOwn = (failure: Failure): boolean => {
  if (failure._tag === "Busy") return true
  if (failure._tag !== "Unreachable") return false
  const { cause } = failure
  if (cause._tag === "OpenStreamError") return cause.reason._tag === "LimitExceeded"
  return (
    cause.reason._tag === "SwarmUnavailable" || cause.attempts.some(({ reason }) => reason._tag === "LimitExceeded")
  )
}

export interface Counters {
  readonly sent: number
  readonly answered: number
  readonly failed: number
  readonly streamsOpened: number
  /** Kept now. */
  readonly idle: number
}

export interface Rpc {
  /** Asks, and reads the answer. Interrupting it resets the stream. */
  readonly request: (to: RoutedPeer, message: Kad.Kad) => Effect.Effect<Kad.Kad, Failure>
  /** Sends what is not answered. Succeeds when it is written. */
  readonly send: (to: RoutedPeer, message: Kad.Kad) => Effect.Effect<void, Failure>
  /** True while a request to the peer is under way. */
  readonly isAsking: (peer: RoutedPeer["peer"]) => boolean
  readonly counters: () => Counters
}

/** A stream with its own scope. */
interface Lane {
  readonly scope: Scope.Closeable
  readonly stream: ProtocolStream.ProtocolStream
  readonly read: Effect.Effect<Uint8Array | null, StreamError>
  readonly write: (message: Uint8Array) => Effect.Effect<void, StreamError>
  idleSince: number
}

/** The streams of one peer. */
interface Lanes {
  /** The text of its id. */
  readonly peer: string
  readonly slots: Semaphore.Semaphore
  readonly idle: Array<Lane>
  /** Requests under way and waiting. */
  users: number
}

const noAnswer: Failure = { _tag: "NoAnswer" }
const streamFailed = (cause: StreamError): Failure => ({ _tag: "StreamFailed", cause })
const unreachable = (cause: DialError | OpenStreamError): Failure => ({ _tag: "Unreachable", cause })

/** A kept stream may have been closed by the peer: worth another try on a new one. */
const isStale = (failure: Failure): boolean => failure._tag === "NoAnswer" || failure._tag === "StreamFailed"

/** Nothing has arrived on a stream that nothing was asked on; bytes, or its end, make it useless. */
const isUsable = ({ stream }: Lane): boolean => stream.bytes.tryRead() === undefined

const close = ({ scope }: Lane): Effect.Effect<void> => Scope.close(scope, Exit.void)

/** The requests of a node, until the scope closes. */
export const make = Effect.fnUntraced(function* (
  swarm: Swarm["Service"],
  options: Options
): Effect.fn.Return<Rpc, never, Scope.Scope> {
  const { deadlineMs, protocol } = options
  const maxStreams = options.maxStreams ?? 2
  const maxWaiting = options.maxWaiting ?? 16
  const maxIdle = options.maxIdle ?? 256
  const idleMs = options.idleMs ?? 30_000
  const scope = yield* Effect.scope
  const deadlines = yield* Deadlines.make
  const peers = new Map<string, Lanes>()
  /** Those of all peers that are kept, the one that is of no use for longest first. */
  const idle = new Map<Lane, Lanes>()
  const counts = { sent: 0, answered: 0, failed: 0, streamsOpened: 0 }
  const keeping = yield* Queue.sliding<void>(1)
  const timedOut: Failure = { _tag: "TimedOut", afterMs: deadlineMs }
  const busy: Failure = { _tag: "Busy", limit: maxWaiting }

  // ---- streams

  const open = (to: RoutedPeer): Effect.Effect<Lane, Failure> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const own = yield* Scope.fork(scope)
        const stream = yield* restore(swarm.openStream(to, protocol)).pipe(
          Scope.provide(own),
          Effect.mapError(unreachable),
          Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
        )
        counts.streamsOpened++
        const { read, write } = ProtocolStream.byteMessages(stream, { maxSize: Kad.maxSize })
        return { scope: own, stream, read, write, idleSince: 0 }
      })
    )

  /** A kept stream that still works, the one used last first. */
  const takeIdle = (lanes: Lanes): Effect.Effect<Lane | undefined> =>
    Effect.suspend(() => {
      const lane = lanes.idle.pop()
      if (lane === undefined) return Effect.succeed(undefined)
      idle.delete(lane)
      return isUsable(lane) ? Effect.succeed(lane) : Effect.andThen(close(lane), takeIdle(lanes))
    })

  /** The streams that were not used since `before`, or as many of the oldest as there are too many of. */
  const sweep = (before: number): ReadonlyArray<Lane> => {
    const chosen: Array<Lane> = []
    for (const [lane, lanes] of idle) {
      if (idle.size <= maxIdle && lane.idleSince > before) break
      idle.delete(lane)
      lanes.idle.splice(lanes.idle.indexOf(lane), 1)
      if (lanes.users === 0 && lanes.idle.length === 0) peers.delete(lanes.peer)
      chosen.push(lane)
    }
    return chosen
  }

  const keep = (lanes: Lanes, lane: Lane): Effect.Effect<void> =>
    Effect.flatMap(monotonicMs, (now) => {
      lane.idleSince = now
      lanes.idle.push(lane)
      idle.set(lane, lanes)
      Queue.offerUnsafe(keeping, undefined)
      return idle.size > maxIdle ? Effect.forEach(sweep(now - idleMs), close, { discard: true }) : Effect.void
    })

  yield* Queue.take(keeping).pipe(
    Effect.andThen(Effect.sleep(idleMs / 2)),
    Effect.andThen(monotonicMs),
    Effect.flatMap((now) => Effect.forEach(sweep(now - idleMs), close, { discard: true })),
    Effect.map(() => idle.size > 0 && Queue.offerUnsafe(keeping, undefined)),
    Effect.forever,
    Effect.forkScoped
  )

  // ---- requests

  /** One exchange on one stream, which is kept if it went well. Fails with whether the stream was new. */
  const attempt = <A>(
    to: RoutedPeer,
    lanes: Lanes,
    kept: boolean,
    exchange: (lane: Lane) => Effect.Effect<A, Failure>
  ) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const idle = kept ? yield* takeIdle(lanes) : undefined
        const lane = idle ?? (yield* restore(open(to)))
        const exit = yield* Effect.exit(restore(exchange(lane)))
        if (Exit.isSuccess(exit)) yield* keep(lanes, lane)
        else yield* Scope.close(lane.scope, exit)
        return { exit, reused: idle !== undefined }
      })
    )

  const exchanged = <A>(to: RoutedPeer, lanes: Lanes, exchange: (lane: Lane) => Effect.Effect<A, Failure>) =>
    Effect.gen(function* () {
      const first = yield* attempt(to, lanes, true, exchange)
      const error = Exit.findErrorOption(first.exit)
      if (!first.reused || error._tag === "None" || !isStale(error.value)) return yield* first.exit
      const second = yield* attempt(to, lanes, false, exchange)
      return yield* second.exit
    })

  const run = <A>(to: RoutedPeer, exchange: (lane: Lane) => Effect.Effect<A, Failure>): Effect.Effect<A, Failure> =>
    Effect.suspend(() => {
      const id = to.peer.toString()
      const lanes = peers.get(id) ?? { peer: id, slots: Semaphore.makeUnsafe(maxStreams), idle: [], users: 0 }
      if (lanes.users >= maxStreams + maxWaiting) return Effect.fail(busy)
      peers.set(id, lanes)
      lanes.users++
      counts.sent++
      return lanes.slots.withPermit(exchanged(to, lanes, exchange)).pipe(
        (exchanging) => deadlines.within(exchanging, deadlineMs, () => Effect.fail(timedOut)),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) counts.answered++
            else counts.failed++
            lanes.users--
            if (lanes.users === 0 && lanes.idle.length === 0) peers.delete(id)
          })
        )
      )
    })

  const answerOf = (message: Kad.Kad, bytes: Uint8Array | null): Effect.Effect<Kad.Kad, Failure> => {
    if (bytes === null) return Effect.fail(noAnswer)
    const read = Kad.decode(bytes)
    if (Result.isFailure(read)) return Effect.fail({ _tag: "Malformed", detail: read.failure.message })
    const { type } = read.success
    return type === message.type
      ? Effect.succeed(read.success)
      : Effect.fail({ _tag: "Malformed", detail: `${type} in answer to ${message.type}` })
  }

  return {
    request: (to, message) => {
      const bytes = Kad.encode(message)
      return run(to, (lane) =>
        lane.write(bytes).pipe(
          Effect.andThen(lane.read),
          Effect.mapError(streamFailed),
          Effect.flatMap((answer) => answerOf(message, answer))
        )
      )
    },
    send: (to, message) => {
      const bytes = Kad.encode(message)
      return run(to, (lane) => Effect.mapError(lane.write(bytes), streamFailed))
    },
    isAsking: (peer) => (peers.get(peer.toString())?.users ?? 0) > 0,
    counters: () => ({ ...counts, idle: idle.size })
  }
})
