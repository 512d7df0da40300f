/**
 * Inbound: the streams that a remote opens on a connection. Each has one fiber,
 * from the negotiation to the end of its handler. A handler that fails ends its
 * own stream and nothing else.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { StreamError } from "../../../services/ByteStream.ts"
import * as ProtocolStream from "../../../services/ProtocolStream.ts"
import type { Registration } from "../../../services/Protocols.ts"
import { describeLimit, type StreamReservation } from "../../../services/ResourceManager.ts"
import type { MuxedStream } from "../../../services/StreamMuxer.ts"
import { NegotiationTimeout } from "../../../services/Swarm.ts"
import { answer, type Negotiated, type Within } from "../negotiation/NegotiatedStream.ts"
import { type Carrier, finish, type Surroundings } from "./Shared.ts"

/** A failure that says no more than that the stream went away is not news. */
const isStreamFailure = (cause: Cause.Cause<unknown>): boolean =>
  !Cause.hasDies(cause) &&
  cause.reasons.every(
    (reason) => Cause.isInterruptReason(reason) || (Cause.isFailReason(reason) && reason.error instanceof StreamError)
  )

/** Counts a stream of a protocol that is handled, or is not any more. */
const count = (carrier: Carrier, protocol: string, by: 1 | -1): void => {
  const handled = (carrier.handled ??= new Map())
  const next = (handled.get(protocol) ?? 0) + by
  if (next > 0) handled.set(protocol, next)
  else if (handled.delete(protocol) && handled.size === 0) carrier.handled = undefined
}

/**
 * How to serve a stream of a connection. It counts, in every scope of the limits that it belongs to, until it and its
 * handler have ended. Made once for all connections: an idle one holds nothing of it.
 */
export const make = ({ emit, negotiationTimeoutMs, protocols, refused, watch }: Surroundings) => {
  const { meter, timed, trace } = watch

  const isHandled = (protocol: string) => protocols.find(protocol) !== undefined

  const within: Within<NegotiationTimeout> = Effect.timeoutOrElse({
    duration: negotiationTimeoutMs,
    orElse: () => Effect.fail(new NegotiationTimeout({ afterMs: negotiationTimeoutMs }))
  })

  /** Agrees with the remote on a protocol; fails with why there is none. */
  const negotiate = (stream: MuxedStream): Effect.Effect<Negotiated, string> =>
    timed(answer(stream, isHandled, protocols.list, within), (exit, ms) => {
      const agreed = Exit.isSuccess(exit) ? exit.value.protocol : undefined
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      const failed = error?._tag === "NegotiationError" ? error.reason._tag : "NegotiationTimeout"
      meter.negotiated("inbound", agreed ?? "", agreed === undefined ? failed : undefined, ms)
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "NegotiationTimeout" ? `no protocol proposed within ${error.afterMs} ms` : error.message
      )
    )

  /** Its handler, or why it is refused. */
  const admit = (
    carrier: Carrier,
    { protocol, stream }: Negotiated,
    counted: StreamReservation
  ): { readonly registration: Registration; readonly agreed: ProtocolStream.ProtocolStream } | string => {
    const registration = protocols.find(protocol)
    if (registration === undefined) return `${protocol} has lost its handler`
    if ((carrier.handled?.get(protocol) ?? 0) >= registration.maxStreamsPerConnection) {
      return `limit ${protocol} streams a connection of ${registration.maxStreamsPerConnection} reached`
    }
    const refusal = counted.setProtocol(protocol, registration.service)
    if (refusal !== undefined) return describeLimit(refusal)
    return {
      registration,
      agreed: ProtocolStream.make({ ...carrier.facts, bytes: stream, protocol, direction: "inbound" })
    }
  }

  const attributesOf = (peer: string, protocol: string) => () => ({ "libp2p.peer": peer, "libp2p.protocol": protocol })

  const refuse = (carrier: Carrier, why: string): Effect.Effect<never, string> => {
    refused()
    return Effect.andThen(Effect.logDebug(`a stream of ${carrier.peer} was refused: ${why}`), Effect.fail(why))
  }

  /** What is told of a handler that failed or died. */
  const tell = ({ facts, peer }: Carrier, protocol: string, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
    const died = Cause.hasDies(cause)
    if (!emit({ _tag: "HandlerFailed", protocol, remotePeer: facts.remotePeer, died })) return Effect.void
    const what = `the handler of ${protocol} ${died ? "died" : "failed"} on a stream of ${peer}`
    return isStreamFailure(cause) ? Effect.logDebug(what, cause) : Effect.logWarning(what, cause)
  }

  /** From negotiation to the end of the handler. What it failed with was told; a fiber that nobody joins fails in silence. */
  const serve = (carrier: Carrier, stream: MuxedStream, counted: StreamReservation) => {
    let handled: string | undefined
    let parts = 2
    const ended = () => {
      parts -= 1
      if (parts === 0) counted.release()
    }
    // The remote's direction may be open still when the handler ends, and is held for it.
    stream.onClosed(ended)
    const agreed = (negotiated: Negotiated): Effect.Effect<void, unknown> => {
      const admitted = admit(carrier, negotiated, counted)
      if (typeof admitted === "string") return refuse(carrier, admitted)
      const { registration } = admitted
      handled = registration.protocol
      count(carrier, handled, 1)
      return trace("libp2p.handle", attributesOf(carrier.peer, handled), registration.run(admitted.agreed), null)
    }
    // Suspended, so that while the handler runs nothing of the negotiation is kept.
    return Effect.suspend(() =>
      negotiate(stream).pipe(
        Effect.catch((why) => refuse(carrier, why)),
        Effect.flatMap(agreed)
      )
    ).pipe(
      Effect.onExit((exit) => {
        ended()
        const finished = finish(stream, exit)
        if (handled === undefined) return finished
        count(carrier, handled, -1)
        return Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
          ? finished
          : Effect.andThen(finished, tell(carrier, handled, exit.cause))
      })
    )
  }

  /** Streams over a limit are reset before anything is done for them; in a flood there is no word of each. */
  return (carrier: Carrier, stream: MuxedStream): Effect.Effect<void, unknown> => {
    carrier.streamsBegun += 1
    const counted = carrier.reservation.openStream("inbound")
    if (Result.isSuccess(counted)) return serve(carrier, stream, counted.success)
    refused()
    stream.reset("over a limit of streams")
    return Effect.void
  }
}
