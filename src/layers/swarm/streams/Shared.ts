/** What streams have in common, whichever end opened them. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as ProtocolStream from "../../../services/ProtocolStream.ts"
import type { Protocols } from "../../../services/Protocols.ts"
import type { ConnectionReservation } from "../../../services/ResourceManager.ts"
import type { MuxedConnection, MuxedStream } from "../../../services/StreamMuxer.ts"
import type { SwarmEvent } from "../../../services/Swarm.ts"
import type { Watch } from "../Watch.ts"

/** What the streams of all connections of a swarm have in common. */
export interface Surroundings {
  readonly protocols: Protocols["Service"]
  readonly watch: Watch
  readonly negotiationTimeoutMs: number
  /** False when the event is one of a flood. */
  readonly emit: (event: SwarmEvent) => boolean
  /** A stream was refused: unknown protocol, or over a limit. */
  readonly refused: () => void
}

/** The connection, as its streams see it. */
export interface Carrier {
  /** The peer, in text. */
  readonly peer: string
  /** What is known of each of its streams. */
  readonly facts: Pick<ProtocolStream.Facts, "remotePeer" | "remoteAddress" | "connectionId" | "connection">
  readonly muxed: MuxedConnection
  readonly reservation: ConnectionReservation
  /** Streams of both directions that began, since the start. */
  streamsBegun: number
  /** Streams of the remote of each protocol that are handled now; there when there are some. */
  handled: Map<string, number> | undefined
}

/** The streams of this end and of the remote are closed alike. */
export const finish = (stream: MuxedStream, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  if (!Exit.isSuccess(exit)) return Effect.sync(() => stream.reset("its owner failed or was interrupted"))
  return Effect.andThen(
    Effect.ignore(stream.closeWrite),
    Effect.sync(() => stream.closeRead())
  )
}
