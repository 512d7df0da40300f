/**
 * A byte stream between two layers of a connection: a socket, a secured
 * connection, a multiplexed stream. One shape for all of them.
 *
 * It is pulled, never pushed: nothing is delivered until its owner asks. The
 * hot path is plain functions (`tryRead`, `tryWrite`, `flush`); Effects are
 * used only to wait, and only when there is something to wait for:
 *
 * ```
 * const bytes = stream.tryRead()
 * if (bytes === undefined) yield* stream.readable   // then try again
 * ```
 *
 * Single producer, single consumer: at most one fiber waits on `readable` and
 * at most one on `writable`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The remote end reset the stream or the socket. Data not yet read is dropped. */
export class ResetByPeer extends Schema.TaggedClass<ResetByPeer>()("ResetByPeer", {}) {}

/** This end reset the stream. `because` says why, for whoever waits on it. */
export class ResetLocally extends Schema.TaggedClass<ResetLocally>()("ResetLocally", { because: Schema.String }) {}

/** What carries the stream went away: the socket failed, or the connection was closed under it. */
export class ConnectionLost extends Schema.TaggedClass<ConnectionLost>()("ConnectionLost", { detail: Schema.String }) {}

/** A write after this end closed its writing side. */
export class WriteClosed extends Schema.TaggedClass<WriteClosed>()("WriteClosed", {}) {}

/** The stream ended in the middle of a message. */
export class UnexpectedEnd extends Schema.TaggedClass<UnexpectedEnd>()("UnexpectedEnd", { detail: Schema.String }) {}

/** The remote broke the protocol of a layer, for example a frame that does not authenticate. */
export class ProtocolViolation extends Schema.TaggedClass<ProtocolViolation>()("ProtocolViolation", {
  layer: Schema.String,
  detail: Schema.String
}) {}

/** The remote does not speak the protocol that was proposed for this stream. */
export class ProtocolNotSupported extends Schema.TaggedClass<ProtocolNotSupported>()("ProtocolNotSupported", {
  protocols: Schema.Array(Schema.String)
}) {}

/** The remote is not in this node's private network, whose fingerprint is `network`: it has another key, or none. */
export class OutsideNetwork extends Schema.TaggedClass<OutsideNetwork>()("OutsideNetwork", {
  network: Schema.String,
  detail: Schema.String
}) {}

/** Says of an {@link OutsideNetwork} what it means. */
export const describeOutside = ({ detail, network }: OutsideNetwork): string =>
  `the remote does not use the key of the private network ${network}: it is in another, or in none (${detail})`

/** Why a byte stream failed. */
export const StreamErrorReason = Schema.Union([
  ResetByPeer,
  ResetLocally,
  ConnectionLost,
  WriteClosed,
  UnexpectedEnd,
  ProtocolViolation,
  ProtocolNotSupported,
  OutsideNetwork
])
export type StreamErrorReason = typeof StreamErrorReason.Type

const describe = (reason: StreamErrorReason): string => {
  switch (reason._tag) {
    case "ResetByPeer":
      return "the remote reset the stream"
    case "ResetLocally":
      return `reset here: ${reason.because}`
    case "ConnectionLost":
      return `connection lost: ${reason.detail}`
    case "WriteClosed":
      return "written to after its writing side was closed"
    case "UnexpectedEnd":
      return `ended early: ${reason.detail}`
    case "ProtocolViolation":
      return `the remote broke ${reason.layer}: ${reason.detail}`
    case "ProtocolNotSupported":
      return `the remote does not speak ${reason.protocols.join(", ")}`
    case "OutsideNetwork":
      return describeOutside(reason)
  }
}

/** The one error of every byte stream; `reason` says which. */
export class StreamError extends Schema.TaggedError<StreamError>()("StreamError", { reason: StreamErrorReason }) {
  override get message(): string {
    return describe(this.reason)
  }
}

/**
 * The shape itself. Sockets implement it, securities wrap it, muxers hand it
 * out; {@link file://./Net.ts}, ConnectionSecurity.ts and StreamMuxer.ts.
 */
export interface ByteStream {
  /**
   * Takes what has arrived: bytes; `undefined` when there is nothing yet (wait
   * on `readable`; it also fails with the error, if there is one); `null` at
   * the clean end of the stream. The bytes are lent: they are valid until the
   * next `tryRead` or suspension, unless `ownedReads` is true.
   */
  readonly tryRead: () => Uint8Array | null | undefined
  /** True when the bytes that `tryRead` gives belong to the caller for good. */
  readonly ownedReads: boolean
  /** Waits until `tryRead` has bytes or the end; fails once the stream has failed. */
  readonly readable: Effect.Effect<void, StreamError>
  /**
   * Has `wake` called once, when it is worth trying again, for whoever is driven
   * by what comes and needs no fiber for it. Being called promises nothing: try,
   * and ask again. False when nothing will call, because there is something
   * already or because the stream cannot tell in this way: wait on `readable`
   * then. What wraps a stream and changes its `readable` must change this too.
   */
  readonly whenReadable?: ((wake: () => void) => boolean) | undefined
  /**
   * Takes bytes from the front of `bytes` and says how many; fewer than given
   * when its buffer or window is full, the stream is closed for writing, or it
   * failed (wait on `writable`, which tells which). The bytes taken may still
   * be referred to until they are sent: do not change them.
   */
  readonly tryWrite: (bytes: Uint8Array) => number
  /** True when bytes that were taken are copied, so that they may change at once. */
  readonly copiesWrites?: boolean | undefined
  /** Waits until `tryWrite` takes at least a byte; fails if it never will. */
  readonly writable: Effect.Effect<void, StreamError>
  /** Sends what was taken. Without it, bytes are sent at the latest when the turn ends. */
  readonly flush: () => void
  /** Half-close: no more writes; what was taken is still sent. Reading goes on. Idempotent. */
  readonly closeWrite: Effect.Effect<void, StreamError>
  /** Drops both directions at once and tells the remote. Never waits. Idempotent. */
  readonly reset: (because: string) => void
}

/**
 * Reads the next batch: bytes, or `null` at the end. They belong to the caller: lent bytes are copied, since a
 * fiber may be suspended between any two of its steps. Waits for as long as the stream is silent: add a deadline.
 */
export const read = (stream: ByteStream): Effect.Effect<Uint8Array | null, StreamError> =>
  Effect.suspend(() => take(stream))

const take = (stream: ByteStream): Effect.Effect<Uint8Array | null, StreamError> => {
  const bytes = stream.tryRead()
  if (bytes === undefined) return Effect.flatMap(stream.readable, () => take(stream))
  return Effect.succeed(bytes === null || stream.ownedReads ? bytes : new Uint8Array(bytes))
}

/** Writes all of `bytes` and flushes, waiting while the remote does not take them. As with `tryWrite`, do not change them. */
export const write = (stream: ByteStream, bytes: Uint8Array): Effect.Effect<void, StreamError> =>
  Effect.suspend(() => {
    const taken = stream.tryWrite(bytes)
    if (taken === bytes.length) {
      stream.flush()
      return Effect.void
    }
    return Effect.flatMap(stream.writable, () => write(stream, bytes.subarray(taken)))
  })
