/**
 * A connection as an actor.
 *
 * ```
 * swarm ── starts ──> connection <id>
 *                      ├─ acceptor fiber: takes inbound streams from the muxer,
 *                      │  and tells the actor when it has ended
 *                      └─ one fiber an inbound stream: negotiates, runs the handler
 * ```
 *
 * It ends when it is told to close, or when the muxer ends, whatever the cause;
 * its scope then ends the handlers, the muxer and the socket. A handler that
 * fails ends its own stream and nothing else.
 */
import { Cause, Effect, Exit, type Scope } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import { StreamError } from "../../services/ByteStream.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import type { Protocols, Registration } from "../../services/Protocols.ts"
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
import type { RawConnection } from "../../services/Transport.ts"

/** An upgraded connection that the swarm has not taken over yet. Its scope holds all of it. */
export interface Prepared {
  readonly scope: Scope.Closeable
  readonly raw: RawConnection
  readonly upgraded: Upgraded
  readonly direction: "inbound" | "outbound"
}

/** What a connection needs of its swarm. */
export interface Surroundings {
  readonly protocols: Protocols["Service"]
  readonly emit: (event: SwarmEvent) => void
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
  }
}

/** A failure that says no more than that the stream went away is not news. */
const isStreamFailure = (cause: Cause.Cause<unknown>): boolean =>
  !Cause.hasDies(cause) &&
  cause.reasons.every(
    (reason) => Cause.isInterruptReason(reason) || (Cause.isFailReason(reason) && reason.error instanceof StreamError)
  )

/** Starts the actor in the scope of the connection. */
export const start = Effect.fnUntraced(function* (
  id: number,
  openedAt: number,
  prepared: Prepared,
  surroundings: Surroundings
) {
  const actors = yield* Actors
  const {
    direction,
    raw,
    upgraded: { muxed, secured }
  } = prepared
  const { protocols, emit, refused, negotiationTimeoutMs } = surroundings
  const kind: ProtocolStream.ConnectionKind = { _tag: "Direct" }
  const facts = { remotePeer: secured.remotePeer, remoteAddress: raw.remoteAddress, connection: kind }
  const peer = secured.remotePeer.toString()
  const inUse = new Map<string, number>()
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
      return registration.run(stream)
    }).pipe(
      Effect.onExit((exit) => {
        count(registration.protocol, -1)
        if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return Effect.void
        const died = Cause.hasDies(exit.cause)
        emit({ _tag: "HandlerFailed", protocol: registration.protocol, remotePeer: secured.remotePeer, died })
        const what = `the handler of ${registration.protocol} ${died ? "died" : "failed"} on a stream of ${peer}`
        return isStreamFailure(exit.cause) ? Effect.logDebug(what, exit.cause) : Effect.logWarning(what, exit.cause)
      })
    )

  /** One inbound stream, from negotiation to its end. */
  const serve = (stream: MuxedStream) =>
    Effect.gen(function* () {
      const negotiated = yield* answer(
        stream,
        (protocol) => protocols.find(protocol) !== undefined,
        protocols.list
      ).pipe(
        Effect.timeoutOption(negotiationTimeoutMs),
        Effect.mapError((error) => error.message)
      )
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
      yield* runHandler(registration, ProtocolStream.make({ ...facts, bytes, protocol, direction: "inbound" }))
    }).pipe(
      Effect.onExit((exit) => finish(stream, exit)),
      Effect.catch((error) => {
        if (typeof error !== "string") return Effect.void
        refused()
        return Effect.logDebug(`a stream of ${peer} was refused: ${error}`)
      }),
      // Logged where the handler ran; a defect must not reach the acceptor.
      Effect.ignoreCause
    )

  const ref: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope>({
    name: `connection ${id}`,
    restart: "stop",
    make: (self) =>
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        yield* Effect.forkIn(
          Effect.forever(
            Effect.flatMap(muxed.acceptStream, (stream) =>
              Effect.forkIn(serve(stream), scope, { startImmediately: true })
            )
          ).pipe(
            Effect.ignoreCause,
            Effect.andThen(muxed.awaitClosed),
            Effect.flatMap((reason) => Effect.ignore(self.tell({ _tag: "Ended", reason })))
          ),
          scope
        )
        // First of all when the actor ends: handlers that wait for the remote must not hold it up.
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

  const openStream = (wanted: string | ReadonlyArray<string>) => {
    const proposals = typeof wanted === "string" ? [wanted] : wanted
    return Effect.gen(function* () {
      const stream = yield* Effect.acquireRelease(
        Effect.mapError(muxed.openStream, (cause) => new MuxerFailed({ cause })),
        finish,
        { interruptible: true }
      )
      const agreed = yield* Effect.mapError(propose(stream, proposals), (cause) => new NegotiationFailed({ cause }))
      return ProtocolStream.make({ ...facts, bytes: agreed.stream, protocol: agreed.protocol, direction: "outbound" })
    }).pipe(
      // A remote that acknowledges no stream, or answers no proposal.
      Effect.timeoutOrElse({
        duration: negotiationTimeoutMs,
        orElse: () => Effect.fail(new NegotiationTimeout({ afterMs: negotiationTimeoutMs }))
      }),
      Effect.mapError(openError(proposals))
    )
  }

  const connection: Connection = {
    id,
    remotePeer: secured.remotePeer,
    remoteAddress: raw.remoteAddress,
    localAddress: raw.localAddress,
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
  return connection
})
