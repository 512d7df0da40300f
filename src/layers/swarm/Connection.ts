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
 * its scope then ends the handlers, the muxer and the socket. Each stream counts,
 * in every scope of the limits that it belongs to, from its first byte until both
 * directions are done or it has failed; see streams/.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import type { ConnectionKind } from "../../services/ProtocolStream.ts"
import type { Protocols } from "../../services/Protocols.ts"
import { type ConnectionReservation, describeLimit } from "../../services/ResourceManager.ts"
import type { MuxerErrorReason } from "../../services/StreamMuxer.ts"
import type { Connection, ConnectionEnd } from "../../services/Swarm.ts"
import * as Inbound from "./streams/Inbound.ts"
import * as Outbound from "./streams/Outbound.ts"
import type { Carrier } from "./streams/Shared.ts"
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
export interface Surroundings extends Inbound.Surroundings {
  readonly protocols: Protocols["Service"]
  readonly watch: Watch
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

/** Streams of the remote that are taken in a row before others get a turn. */
const streamsPerTurn = 64

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
  const { protocols, negotiationTimeoutMs, watch } = surroundings
  const kind: ConnectionKind = { _tag: "Direct" }
  const peer = secured.remotePeer.toString()
  let streamsBegun = 0
  let end: ConnectionEnd = { by: "local", detail: "the node stopped" }

  const carrier: Carrier = {
    peer,
    facts: {
      remotePeer: secured.remotePeer,
      remoteAddress: raw.remoteAddress,
      connectionId: id,
      connection: kind
    },
    muxed,
    reservation,
    protocols,
    watch,
    negotiationTimeoutMs,
    begun: () => {
      streamsBegun += 1
    }
  }
  const serve = Inbound.make(carrier, surroundings)
  const open = Outbound.make(carrier)

  const ref: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope>({
    name: `connection ${id}`,
    restart: "stop",
    onStopped: () => ended(end),
    make: (self) =>
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        const streams = yield* Scope.fork(scope, "parallel")
        let accepted = 0
        yield* Effect.forkIn(
          // Those that came together are served in one turn: what they answer leaves in one piece.
          Effect.forever(
            Effect.flatMap(muxed.acceptStream, (stream) => {
              const served = Effect.forkIn(serve(stream), streams, { startImmediately: true })
              accepted += 1
              return accepted % streamsPerTurn === 0 ? Effect.andThen(served, Effect.yieldNow) : served
            }),
            { disableYield: true }
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

  const openStream: Connection["openStream"] = (wanted) =>
    Effect.suspend(() => successor()?.openStream(wanted) ?? open(wanted))

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
