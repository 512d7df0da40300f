/** Identify messages on streams: read within bounds, asked for, and sent unasked. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import * as LengthPrefix from "../../data/LengthPrefix.ts"
import * as IdentifyMessage from "../../data/messages/Identify.ts"
import { type StreamError } from "../../services/ByteStream.ts"
import {
  type IdentifyErrorReason,
  IdentifyFailed,
  IdentifyMalformed,
  IdentifyTimeout,
  IdentifyUnavailable,
  protocol,
  pushProtocol
} from "../../services/Identify.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import type { OpenStreamError, Connection } from "../../services/Swarm.ts"
import { maxParts } from "./Announcement.ts"

/** A stream that failed of itself, or one whose remote sent what is refused. */
const explain = (stream: ProtocolStream.ProtocolStream) => (cause: StreamError) =>
  cause.reason._tag === "ProtocolViolation" && cause.reason.layer === stream.protocol
    ? new IdentifyMalformed({ detail: cause.reason.detail })
    : new IdentifyFailed({ cause })

/** All messages until the peer closes, joined, as the specification allows. Never holds more than the largest message twice. */
export const read = Effect.fnUntraced(function* (
  stream: ProtocolStream.ProtocolStream
): Effect.fn.Return<IdentifyMessage.Identify, IdentifyMalformed | IdentifyFailed> {
  const messages = ProtocolStream.byteMessages(stream, { maxSize: IdentifyMessage.maxSize })
  const next = Effect.mapError(messages.read, explain(stream))
  const parts: Array<Uint8Array> = []
  let size = 0
  for (let part = yield* next; part !== null; part = yield* next) {
    parts.push(part)
    size += part.length
    if (size > IdentifyMessage.maxSize) {
      return yield* Effect.fail(
        new IdentifyMalformed({ detail: `it is over the limit of ${IdentifyMessage.maxSize} bytes` })
      )
    }
    if (parts.length > maxParts) {
      return yield* Effect.fail(new IdentifyMalformed({ detail: `it has more than ${maxParts} parts` }))
    }
  }
  return yield* Effect.fromResult(
    Result.mapError(
      IdentifyMessage.decode(Bytes.concat(parts)),
      (error) => new IdentifyMalformed({ detail: error.message })
    )
  )
})

/** Ends a wait for the peer. */
export const within = (deadlineMs: number) =>
  Effect.timeoutOrElse({
    duration: deadlineMs,
    orElse: () => Effect.fail(new IdentifyTimeout({ afterMs: deadlineMs }))
  })

/** Asks the peer who it is. */
export const ask = (
  connection: Connection,
  deadlineMs: number
): Effect.Effect<IdentifyMessage.Identify, IdentifyErrorReason> =>
  connection.openStream(protocol).pipe(
    Effect.mapError((cause) => new IdentifyUnavailable({ cause })),
    Effect.flatMap(read),
    Effect.scoped,
    within(deadlineMs)
  )

/** A message that may be cut into parts, as it is written. */
const send = (
  stream: ProtocolStream.ProtocolStream,
  parts: ReadonlyArray<Uint8Array>
): Effect.Effect<void, StreamError> => stream.write(Bytes.concat(parts.map(LengthPrefix.encode)))

/** Answers who this node is. */
export const answer = (
  stream: ProtocolStream.ProtocolStream,
  parts: ReadonlyArray<Uint8Array>,
  deadlineMs: number
): Effect.Effect<void, IdentifyFailed | IdentifyTimeout> =>
  Effect.mapError(send(stream, parts), (cause) => new IdentifyFailed({ cause })).pipe(within(deadlineMs))

/** Tells the peer what has changed. Nothing is answered. */
export const push = (
  connection: Connection,
  parts: ReadonlyArray<Uint8Array>,
  deadlineMs: number
): Effect.Effect<void, OpenStreamError | StreamError | IdentifyTimeout> =>
  connection.openStream(pushProtocol).pipe(
    Effect.flatMap((stream) => send(stream, parts)),
    Effect.scoped,
    within(deadlineMs)
  )
