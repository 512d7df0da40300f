/**
 * Outbound: the streams that this end opens on a connection. One protocol is
 * proposed without waiting for the answer, so that a stream is there at once
 * unless the muxer or the remote holds it up; only then is there a deadline.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as ProtocolStream from "../../../services/ProtocolStream.ts"
import type { NegotiationError } from "../../../services/Protocols.ts"
import type { StreamReservation } from "../../../services/ResourceManager.ts"
import type { MuxedStream } from "../../../services/StreamMuxer.ts"
import {
  MuxerFailed,
  NegotiationFailed,
  NegotiationTimeout,
  OpenStreamError,
  type OpenStreamErrorReason
} from "../../../services/Swarm.ts"
import { type Negotiated, propose } from "../negotiation/NegotiatedStream.ts"
import { type Carrier, finish, type Surroundings } from "./Shared.ts"

type Disagreement = NegotiationError | NegotiationTimeout

type Opening = Effect.Effect<ProtocolStream.ProtocolStream, OpenStreamErrorReason, Scope.Scope>

/** The reason why there is no stream, for the meter. */
const openFailure = (error: OpenStreamError | undefined): string => {
  if (error === undefined) return "Interrupted"
  return error.reason._tag === "NegotiationFailed" ? error.reason.cause.reason._tag : error.reason._tag
}

/**
 * How to open a stream on a connection; it counts, in every scope of the limits that it belongs to, until it has ended.
 * Made once for all connections: an idle one holds nothing of it.
 */
export const make = ({
  negotiationTimeoutMs,
  protocols,
  watch
}: Pick<Surroundings, "negotiationTimeoutMs" | "protocols" | "watch">) => {
  const { meter, timed, trace } = watch

  /** A remote that acknowledges no stream, or answers no proposal. */
  const within: <A, E, R>(waiting: Effect.Effect<A, E, R>) => Effect.Effect<A, E | NegotiationTimeout, R> =
    Effect.timeoutOrElse({
      duration: negotiationTimeoutMs,
      orElse: () => Effect.fail(new NegotiationTimeout({ afterMs: negotiationTimeoutMs }))
    })

  /** From a stream of the muxer to one of a protocol, which ends with the scope. Not interrupted but in its wait. */
  const agree = (
    { facts }: Carrier,
    stream: MuxedStream,
    counted: StreamReservation,
    proposals: ReadonlyArray<string>,
    wait: (waiting: Effect.Effect<Negotiated, NegotiationError>) => Effect.Effect<Negotiated, Disagreement>
  ): Opening => {
    stream.onClosed(counted.release)
    return Effect.flatMap(propose(stream, proposals, wait), ({ protocol, stream: bytes }): Opening => {
      const refusal = counted.setProtocol(protocol, protocols.find(protocol)?.service)
      if (refusal !== undefined) return Effect.fail(refusal)
      const opened = ProtocolStream.make({ ...facts, bytes, protocol, direction: "outbound" })
      return Effect.flatMap(Effect.scope, (scope) =>
        Effect.as(
          Scope.addFinalizerExit(scope, (exit) => finish(stream, exit)),
          opened
        )
      )
    }).pipe(
      Effect.mapError((error) => (error._tag === "NegotiationError" ? new NegotiationFailed({ cause: error }) : error)),
      // Of no use to anybody: the scope that it was to belong to may go on for long.
      Effect.onError(() => Effect.sync(() => stream.reset("no protocol was agreed")))
    )
  }

  /** Waits for the muxer, the answer to a proposal, or both. */
  const openWaiting = (carrier: Carrier, proposals: ReadonlyArray<string>): Opening =>
    within(
      Effect.uninterruptibleMask((restore): Opening => {
        const { muxed } = carrier
        const openMuxed = Effect.mapError(muxed.openStream, (cause) => new MuxerFailed({ cause }))
        const reserved = carrier.reservation.openStream("outbound")
        if (Result.isFailure(reserved)) {
          const refused = Effect.fail(reserved.failure)
          // A connection that has ended has no room either, and says better why.
          return muxed.isOpen() ? refused : Effect.andThen(openMuxed, refused)
        }
        const counted = reserved.success
        carrier.streamsBegun += 1
        return Effect.flatMap(
          Effect.onError(restore(openMuxed), () => Effect.sync(counted.release)),
          (stream) => agree(carrier, stream, counted, proposals, restore)
        )
      })
    )

  const openNow = (carrier: Carrier, proposals: ReadonlyArray<string>): Opening =>
    Effect.uninterruptibleMask((restore): Opening => {
      const stream = proposals.length === 1 ? carrier.muxed.tryOpenStream() : undefined
      if (stream === undefined) return restore(openWaiting(carrier, proposals))
      const reserved = carrier.reservation.openStream("outbound")
      if (Result.isFailure(reserved)) {
        stream.reset("over a limit of streams")
        return Effect.fail(reserved.failure)
      }
      carrier.streamsBegun += 1
      return agree(carrier, stream, reserved.success, proposals, (waiting) => within(restore(waiting)))
    })

  return (
    carrier: Carrier,
    wanted: string | ReadonlyArray<string>
  ): Effect.Effect<ProtocolStream.ProtocolStream, OpenStreamError, Scope.Scope> => {
    const proposals = typeof wanted === "string" ? [wanted] : wanted
    const { peer } = carrier
    const opening = Effect.mapError(
      openNow(carrier, proposals),
      (reason) => new OpenStreamError({ peer, protocols: proposals, reason })
    )
    const attributes = () => ({ "libp2p.peer": peer, "libp2p.protocols": proposals })
    const opened = timed(opening, (exit, ms) => {
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (Exit.isSuccess(exit)) meter.negotiated("outbound", exit.value.protocol, undefined, ms)
      else meter.negotiated("outbound", "", openFailure(error), ms)
    })
    return trace("libp2p.open_stream", attributes, opened)
  }
}
