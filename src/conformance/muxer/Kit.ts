/** What the suite for muxers is made of: two connections back to back, and streams that ask and answer. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Pipe from "../../layers/internal/Pipe.ts"
import * as ByteStream from "../../services/ByteStream.ts"
import { lending } from "../ByteStream.ts"
import type { MuxedConnection, MuxedStream, MuxerProtocol } from "../../services/StreamMuxer.ts"

export interface Facts {
  /** The same protocol with a backlog so small that its overflow can be seen. */
  readonly narrow: {
    readonly protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>
    readonly acceptBacklog: number
  }
  /** The least that a stream takes before its reader reads, and the most (in bytes). */
  readonly window: readonly [least: number, most: number]
  /**
   * For a protocol without flow control: how long a slow reader may hold up the
   * others before its stream is reset, in ms.
   */
  readonly holdsUpMs?: number | undefined
  /** The protocol has no ping. */
  readonly withoutPing?: boolean | undefined
}

export interface Joined {
  readonly dialer: MuxedConnection
  readonly listener: MuxedConnection
  /** The raw ends, to break things with. */
  readonly raw: readonly [Pipe.PipeEnd, Pipe.PipeEnd]
}

/** Two connections of `protocol`, back to back in memory. */
export const join = Effect.fnUntraced(function* (
  protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>,
  options?: Pipe.Options
): Effect.fn.Return<Joined, never, Scope.Scope> {
  const { make } = yield* protocol
  const raw = yield* Pipe.pair(options)
  const dialer = yield* make(raw[0], { role: "dialer" })
  const listener = yield* make(raw[1], { role: "listener" })
  return { dialer, listener, raw }
})

/** The same protocol over connections that lend what is read, for as short as they may. */
export const overLent = <R>(protocol: Effect.Effect<MuxerProtocol, never, R>): Effect.Effect<MuxerProtocol, never, R> =>
  Effect.map(protocol, ({ id, make }) => ({ id, make: (connection, options) => make(lending(connection), options) }))

/** A loop, since tests are made of megabytes of it: `Uint8Array.from` takes twenty times as long. */
export const bytesOf = (length: number, seed = 0): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++) bytes[at] = at * 31 + seed
  return bytes
}

/** Reads to the end. */
export const readAll = Effect.fnUntraced(function* (stream: ByteStream.ByteStream) {
  const parts: Array<Uint8Array> = []
  for (;;) {
    const bytes = yield* ByteStream.read(stream)
    if (bytes === null) return new Uint8Array(Buffer.concat(parts))
    parts.push(bytes)
  }
})

/** Waits until both directions are done. */
export const closed = (stream: MuxedStream) =>
  Effect.callback<void>((resume) => stream.onClosed(() => resume(Effect.void)))

/** Sends back what comes. */
export const echo = Effect.fnUntraced(function* (stream: MuxedStream) {
  for (;;) {
    const bytes = yield* ByteStream.read(stream)
    if (bytes === null) break
    yield* ByteStream.write(stream, bytes)
  }
  yield* stream.closeWrite
})

/** Serves every stream by `handler`; one that fails ends alone. */
export const serve = (
  connection: MuxedConnection,
  handler: (stream: MuxedStream) => Effect.Effect<void, ByteStream.StreamError>
) =>
  Effect.forkScoped(
    Effect.flatMap(connection.acceptStream, (stream) => Effect.forkScoped(Effect.ignore(handler(stream)))).pipe(
      Effect.forever,
      Effect.ignore
    )
  )

/** What the other end answers to a question, on a stream of its own. */
export const ask = Effect.fnUntraced(function* (connection: MuxedConnection, question: Uint8Array) {
  const stream = yield* connection.openStream
  yield* ByteStream.write(stream, question)
  yield* stream.closeWrite
  const answer = yield* readAll(stream)
  yield* closed(stream)
  return answer
})

/** Why it failed. */
export const reasonOf = <A>(effect: Effect.Effect<A, ByteStream.StreamError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

/** Lets everything run that is not waiting for time to pass. */
export const calm = Effect.gen(function* () {
  for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
})
