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
import type { PeerId } from "../../data/PeerId.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import type { ConnectionKind } from "../../services/ProtocolStream.ts"
import { type ConnectionReservation, describeLimit } from "../../services/ResourceManager.ts"
import type { MuxedStream, MuxerErrorReason } from "../../services/StreamMuxer.ts"
import type { Connection, ConnectionEnd } from "../../services/Swarm.ts"
import * as Inbound from "./streams/Inbound.ts"
import * as Outbound from "./streams/Outbound.ts"
import type { Carrier, Surroundings as Streams } from "./streams/Shared.ts"
import type { Upgraded } from "./Upgrade.ts"
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

/** What a connection needs of its swarm: made once, for all of them. */
export interface Surroundings {
  readonly serve: ReturnType<typeof Inbound.make>
  readonly open: ReturnType<typeof Outbound.make>
}

export const surroundings = (streams: Streams): Surroundings => ({
  serve: Inbound.make(streams),
  open: Outbound.make(streams)
})

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

const direct: ConnectionKind = { _tag: "Direct" }

/** The connection as its users and its streams have it. A class, since a node has thousands that are idle. */
class Opened implements Connection {
  readonly id: number
  readonly remotePeer: PeerId
  readonly remoteAddress: Multiaddr.Multiaddr
  readonly direction: Prepared["direction"]
  readonly kind = direct
  readonly security: string
  readonly muxer: string
  readonly earlyMuxer: boolean
  readonly openedAt: number
  readonly carrier: Carrier
  /** Why it ended, once it has. */
  end: ConnectionEnd = { by: "local", detail: "the node stopped" }
  /** What runs it, once it does. */
  actor: ActorRef<Message> | undefined
  private readonly raw: RawConnection
  private readonly surroundings: Surroundings
  private readonly successor: () => Connection | undefined

  constructor(
    id: number,
    openedAt: number,
    { direction, raw, reservation, upgraded: { muxed, secured } }: Prepared,
    surroundings: Surroundings,
    successor: () => Connection | undefined
  ) {
    this.id = id
    this.remotePeer = secured.remotePeer
    this.remoteAddress = raw.remoteAddress
    this.direction = direction
    this.security = secured.security
    this.muxer = muxed.protocol
    this.earlyMuxer = secured.earlyMuxer !== undefined
    this.openedAt = openedAt
    this.raw = raw
    this.surroundings = surroundings
    this.successor = successor
    const { remoteAddress, remotePeer } = this
    this.carrier = {
      peer: remotePeer.toString(),
      facts: { remotePeer, remoteAddress, connectionId: id, connection: direct },
      muxed,
      reservation,
      streamsBegun: 0,
      handled: undefined
    }
  }

  get localAddress(): Multiaddr.Multiaddr {
    return this.raw.localAddress
  }

  streamCount(): number {
    return this.carrier.muxed.streamCount()
  }

  openStream(wanted: string | ReadonlyArray<string>): ReturnType<Connection["openStream"]> {
    return Effect.suspend(() => this.successor()?.openStream(wanted) ?? this.surroundings.open(this.carrier, wanted))
  }

  get ping(): Connection["ping"] {
    return this.carrier.muxed.ping
  }

  get close(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.actor === undefined
        ? Effect.void
        : Effect.andThen(Effect.ignore(this.actor.tell({ _tag: "Close" })), this.actor.awaitStopped)
    )
  }

  get awaitClosed(): Effect.Effect<ConnectionEnd> {
    return Effect.suspend(() => Effect.map(this.actor?.awaitStopped ?? Effect.void, () => this.end))
  }

  detail(): string {
    const address = Multiaddr.withPeer(this.remoteAddress, this.remotePeer).toString()
    return `${this.direction} ${address}, ${this.streamCount()} streams`
  }
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
  const { muxed } = prepared.upgraded
  const connection = new Opened(id, openedAt, prepared, surroundings, successor)
  const { carrier } = connection
  const serve = (stream: MuxedStream) => surroundings.serve(carrier, stream)

  connection.actor = yield* actors.spawn<Message, never, Scope.Scope>({
    name: `connection ${id}`,
    restart: "stop",
    onStopped: () => ended(connection.end),
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
              Effect.andThen(Effect.logError(`connection ${id} with ${carrier.peer} fails`, defect), muxed.close)
            ),
            Effect.ignoreCause,
            Effect.andThen(muxed.awaitClosed),
            Effect.flatMap((reason) => Effect.ignore(self.tell({ _tag: "Ended", reason })))
          ),
          scope
        )
        // First of all when the actor ends, before the streams' scope: handlers that wait for the remote, when they are
        // interrupted too, must not hold it up.
        yield* Scope.addFinalizer(scope, muxed.close)
        return {
          receive: (message: Message) => {
            connection.end = message._tag === "Close" ? { by: "local", detail: "closed" } : endOf(message.reason)
            return Effect.as(message._tag === "Close" ? muxed.close : Effect.void, "stop" as const)
          },
          detail: () => connection.detail()
        }
      })
  })
  const started: Started = { connection, streamsBegun: () => carrier.streamsBegun }
  return started
})
