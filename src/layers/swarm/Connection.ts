/**
 * A connection as an actor.
 *
 * ```
 * swarm ── starts ──> connection <id>
 *                      ├─ acceptor fiber: takes inbound streams from the muxer,
 *                      │  and tells the actor when it has ended
 *                      ├─ one fiber an inbound stream: negotiates, runs the handler
 *                      └─ one fiber an outbound stream: waits for its end
 * ```
 *
 * It ends when it is told to close, or when the muxer ends, whatever the cause;
 * its scope then ends the handlers, the muxer and the socket. A handler that
 * fails ends its own stream and nothing else. Each stream counts, in every scope
 * of the limits that it belongs to, from its first byte until both directions
 * are done or it has failed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import { StreamError } from "../../services/ByteStream.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import type { Protocols, Registration } from "../../services/Protocols.ts"
import { type ConnectionReservation, describeLimit, type StreamReservation } from "../../services/ResourceManager.ts"
import type { MuxedStream, MuxerErrorReason } from "../../services/StreamMuxer.ts"
import {
  type Connection,
  type ConnectionEnd,
  MuxerFailed,
  NegotiationFailed,
  NegotiationTimeout,
  OpenStreamError,
  type OpenStreamErrorReason,
  type SwarmEvent
} from "../../services/Swarm.ts"
import { answer, propose } from "./negotiation/NegotiatedStream.ts"
import type { Upgraded } from "./Upgrade.ts"
import type { Watch } from "./Watch.ts"
import type { RawConnection } from "../../services/Transport.ts"

/** An upgraded connection that the swarm has not taken over yet. Its scope holds all of it. */
export interface Prepared {
  readonly scope: Scope.Closeable
  readonly raw: RawConnection
  readonly upgraded: Upgraded
  readonly direction: "inbound" | "outbound"
  /** What it counts for; given back with the scope. */
  readonly reservation: ConnectionReservation
}

/** A connection at work, with what its swarm wants to know besides. */
export interface Started {
  readonly connection: Connection
  /** Streams of both directions, since the start. */
  readonly streamsBegun: () => number
}

/** What a connection needs of its swarm. */
export interface Surroundings {
  readonly protocols: Protocols["Service"]
  /** False when the event is one of a flood. */
  readonly emit: (event: SwarmEvent) => boolean
  readonly watch: Watch
  /** A stream was refused: unknown protocol, or over a limit. */
  readonly refused: () => void
  readonly negotiationTimeoutMs: number
}

type Message = { readonly _tag: "Close" } | { readonly _tag: "Ended"; readonly reason: MuxerErrorReason }

const endOf = (reason: MuxerErrorReason): ConnectionEnd => {
  switch (reason._tag) {
    case "RemoteGoAway":
      return { by: "remote", detail: reason.code === 0 ? "closed by the peer" : `go-away code ${reason.code}` }
    case "MuxerClosed":
      return { by: "remote", detail: reason.detail }
    case "StreamLimit":
      return { by: "error", detail: `limit ${reason.scope} of ${reason.limit}` }
    case "MuxerViolation":
      return { by: "error", detail: reason.detail }
    case "KeepAliveTimeout":
      return { by: "error", detail: `no answer to a keep-alive within ${reason.afterMs} ms` }
    case "SendTimeout":
      return { by: "error", detail: `nothing of what was sent was taken within ${reason.afterMs} ms` }
    case "LimitExceeded":
      return { by: "error", detail: describeLimit(reason) }
    case "Unsupported":
      return { by: "error", detail: reason.detail }
  }
}

/** A failure that says no more than that the stream went away is not news. */
const isStreamFailure = (cause: Cause.Cause<unknown>): boolean =>
  !Cause.hasDies(cause) &&
  cause.reasons.every(
    (reason) => Cause.isInterruptReason(reason) || (Cause.isFailReason(reason) && reason.error instanceof StreamError)
  )

/** The reason why there is no stream, for the meter. */
const openFailure = (error: OpenStreamError | undefined): string => {
  if (error === undefined) return "Interrupted"
  return error.reason._tag === "NegotiationFailed" ? error.reason.cause.reason._tag : error.reason._tag
}

/** Starts the actor in the scope of the connection. */
export const start = Effect.fnUntraced(function* (
  id: number,
  openedAt: number,
  prepared: Prepared,
  surroundings: Surroundings,
  /** Told of its end, once. */
  ended: (end: ConnectionEnd) => void,
  /** The connection that does the work of this one from now on, if there is one; see Duplicates. */
  successor: () => Connection | undefined
) {
  const actors = yield* Actors
  const {
    direction,
    raw,
    reservation,
    upgraded: { muxed, secured }
  } = prepared
  const { protocols, emit, refused, negotiationTimeoutMs, watch } = surroundings
  const { meter, timed, trace } = watch
  const kind: ProtocolStream.ConnectionKind = { _tag: "Direct" }
  const facts = {
    remotePeer: secured.remotePeer,
    remoteAddress: raw.remoteAddress,
    connectionId: id,
    connection: kind
  }
  const peer = secured.remotePeer.toString()
  const inUse = new Map<string, number>()
  let streamsBegun = 0
  let end: ConnectionEnd = { by: "local", detail: "the node stopped" }

  const count = (protocol: string, by: 1 | -1) => {
    const next = (inUse.get(protocol) ?? 0) + by
    if (next === 0) inUse.delete(protocol)
    else inUse.set(protocol, next)
  }

  /** The streams of this end and of the remote are closed alike. */
  const finish = (stream: MuxedStream, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
    if (Exit.isSuccess(exit)) {
      return Effect.andThen(
        Effect.ignore(stream.closeWrite),
        Effect.sync(() => stream.closeRead())
      )
    }
    return Effect.sync(() => stream.reset("its owner failed or was interrupted"))
  }

  const runHandler = (registration: Registration, stream: ProtocolStream.ProtocolStream) =>
    Effect.suspend(() => {
      count(registration.protocol, 1)
      const attributes = () => ({ "libp2p.peer": peer, "libp2p.protocol": registration.protocol })
      return trace("libp2p.handle", attributes, registration.run(stream), null)
    }).pipe(
      Effect.onExit((exit) => {
        count(registration.protocol, -1)
        if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return Effect.void
        const died = Cause.hasDies(exit.cause)
        const { protocol } = registration
        if (!emit({ _tag: "HandlerFailed", protocol, remotePeer: secured.remotePeer, died })) return Effect.void
        const what = `the handler of ${protocol} ${died ? "died" : "failed"} on a stream of ${peer}`
        return isStreamFailure(exit.cause) ? Effect.logDebug(what, exit.cause) : Effect.logWarning(what, exit.cause)
      })
    )

  /** Agrees with the remote on the protocol of a stream; fails with why it is refused. */
  const admitted = (stream: MuxedStream, counted: StreamReservation) =>
    Effect.gen(function* () {
      const negotiated = yield* timed(
        answer(stream, (protocol) => protocols.find(protocol) !== undefined, protocols.list).pipe(
          Effect.timeoutOption(negotiationTimeoutMs)
        ),
        (exit, ms) => {
          const agreed = Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined
          const error = Option.getOrUndefined(Exit.findErrorOption(exit))
          const failed = agreed === undefined ? (error?.reason._tag ?? "NegotiationTimeout") : undefined
          meter.negotiated("inbound", agreed?.protocol ?? "", failed, ms)
        }
      ).pipe(Effect.mapError((error) => error.message))
      if (negotiated._tag === "None")
        return yield* Effect.fail(`no protocol proposed within ${negotiationTimeoutMs} ms`)
      const { protocol, stream: bytes } = negotiated.value
      const registration = protocols.find(protocol)
      if (registration === undefined) return yield* Effect.fail(`${protocol} has lost its handler`)
      const current = inUse.get(protocol) ?? 0
      if (current >= registration.maxStreamsPerConnection) {
        return yield* Effect.fail(
          `limit ${protocol} streams a connection of ${registration.maxStreamsPerConnection} reached`
        )
      }
      const refusal = counted.setProtocol(protocol, registration.service)
      if (refusal !== undefined) return yield* Effect.fail(describeLimit(refusal))
      return { registration, agreed: ProtocolStream.make({ ...facts, bytes, protocol, direction: "inbound" }) }
    }).pipe(
      Effect.tapError((why) => {
        refused()
        return Effect.logDebug(`a stream of ${peer} was refused: ${why}`)
      })
    )

  /** One inbound stream, from negotiation to its end. */
  const serve = (stream: MuxedStream, counted: StreamReservation) =>
    Effect.flatMap(admitted(stream, counted), ({ agreed, registration }) => runHandler(registration, agreed)).pipe(
      Effect.onExit((exit) => finish(stream, exit)),
      // Logged where the handler ran; a defect must not reach the acceptor.
      Effect.ignoreCause,
      // The remote's direction may be open still, and is held for it.
      Effect.andThen(stream.closed),
      Effect.ensuring(Effect.sync(counted.release))
    )

  /** Streams over a limit are reset before anything is done for them; in a flood there is no word of each. */
  const admit = (stream: MuxedStream) => {
    streamsBegun++
    const counted = reservation.openStream("inbound")
    if (Result.isSuccess(counted)) return serve(stream, counted.success)
    refused()
    stream.reset("over a limit of streams")
    return Effect.void
  }

  const ref: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope>({
    name: `connection ${id}`,
    restart: "stop",
    onStopped: () => ended(end),
    make: (self) =>
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        const streams = yield* Scope.fork(scope, "parallel")
        yield* Effect.forkIn(
          Effect.forever(
            Effect.flatMap(muxed.acceptStream, (stream) =>
              Effect.forkIn(admit(stream), streams, { startImmediately: true })
            )
          ).pipe(
            // A connection that takes no more streams is of no use.
            Effect.tapDefect((defect) =>
              Effect.andThen(Effect.logError(`connection ${id} with ${peer} fails`, defect), muxed.close)
            ),
            Effect.ignoreCause,
            Effect.andThen(muxed.awaitClosed),
            Effect.flatMap((reason) => Effect.ignore(self.tell({ _tag: "Ended", reason })))
          ),
          scope
        )
        // First of all when the actor ends, before the streams' scope: handlers that wait for the remote, when they are
        // interrupted too, must not hold it up.
        yield* Effect.addFinalizer(() => muxed.close)
        return {
          receive: (message: Message) => {
            end = message._tag === "Close" ? { by: "local", detail: "closed" } : endOf(message.reason)
            return Effect.as(message._tag === "Close" ? muxed.close : Effect.void, "stop" as const)
          },
          detail: () =>
            `${direction} ${Multiaddr.withPeer(raw.remoteAddress, secured.remotePeer).toString()}, ${muxed.streamCount()} streams`
        }
      })
  })

  const openError = (wanted: ReadonlyArray<string>) => (reason: OpenStreamErrorReason) =>
    new OpenStreamError({ peer, protocols: wanted, reason })

  const openMuxed = Effect.mapError(muxed.openStream, (cause) => new MuxerFailed({ cause }))

  /** Opens one of the muxer's, which counts until it is done. Only the wait for it is interrupted. */
  const acquireStream = Effect.fnUntraced(function* (
    restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  ) {
    const reserved = reservation.openStream("outbound")
    if (Result.isFailure(reserved)) {
      // A connection that has ended has no room either, and says better why.
      if (!muxed.isOpen()) yield* openMuxed
      return yield* Effect.fail(reserved.failure)
    }
    const counted = reserved.success
    streamsBegun++
    const stream = yield* Effect.onError(restore(openMuxed), () => Effect.sync(counted.release))
    yield* Effect.forkIn(Effect.ensuring(stream.closed, Effect.sync(counted.release)), prepared.scope, {
      startImmediately: true
    })
    return { stream, counted }
  })

  const openHere = (wanted: string | ReadonlyArray<string>) => {
    const proposals = typeof wanted === "string" ? [wanted] : wanted
    const agree = Effect.fnUntraced(function* (stream: MuxedStream, counted: StreamReservation) {
      const agreed = yield* Effect.mapError(propose(stream, proposals), (cause) => new NegotiationFailed({ cause }))
      const refusal = counted.setProtocol(agreed.protocol, protocols.find(agreed.protocol)?.service)
      if (refusal !== undefined) return yield* Effect.fail(refusal)
      return ProtocolStream.make({ ...facts, bytes: agreed.stream, protocol: agreed.protocol, direction: "outbound" })
    })
    const opening = Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        Effect.acquireRelease(acquireStream(restore), ({ stream }, exit) => finish(stream, exit)),
        ({ counted, stream }) =>
          // On failure it is of no use to anybody: the scope that it belongs to may go on for long.
          Effect.onError(restore(agree(stream, counted)), () =>
            Effect.sync(() => stream.reset("no protocol was agreed"))
          )
      )
    ).pipe(
      // A remote that acknowledges no stream, or answers no proposal.
      Effect.timeoutOrElse({
        duration: negotiationTimeoutMs,
        orElse: () => Effect.fail(new NegotiationTimeout({ afterMs: negotiationTimeoutMs }))
      }),
      Effect.mapError(openError(proposals))
    )
    const attributes = () => ({ "libp2p.peer": peer, "libp2p.protocols": proposals })
    const opened = timed(opening, (exit, ms) => {
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (Exit.isSuccess(exit)) meter.negotiated("outbound", exit.value.protocol, undefined, ms)
      else meter.negotiated("outbound", "", openFailure(error), ms)
    })
    return trace("libp2p.open_stream", attributes, opened)
  }

  const openStream: Connection["openStream"] = (wanted) =>
    Effect.suspend(() => successor()?.openStream(wanted) ?? openHere(wanted))

  const connection: Connection = {
    id,
    remotePeer: secured.remotePeer,
    remoteAddress: raw.remoteAddress,
    get localAddress() {
      return raw.localAddress
    },
    direction,
    kind,
    security: secured.security,
    muxer: muxed.protocol,
    earlyMuxer: secured.earlyMuxer !== undefined,
    openedAt,
    streamCount: muxed.streamCount,
    openStream,
    ping: muxed.ping,
    close: Effect.andThen(Effect.ignore(ref.tell({ _tag: "Close" })), ref.awaitStopped),
    awaitClosed: Effect.map(ref.awaitStopped, () => end)
  }
  const started: Started = { connection, streamsBegun: () => streamsBegun }
  return started
})
