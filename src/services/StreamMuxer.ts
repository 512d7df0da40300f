/**
 * StreamMuxer: many streams on one secured connection. Layers: Yamux, Mplex. Several
 * are combined in order of preference.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ByteStream } from "./ByteStream.ts"
import type { Role } from "./ConnectionSecurity.ts"
import { describeLimit, LimitExceeded, type MemoryAccount } from "./ResourceManager.ts"

/** The remote asked for no more streams (go-away). */
export class RemoteGoAway extends Schema.TaggedClass<RemoteGoAway>()("RemoteGoAway", { code: Schema.Finite }) {}

/** The connection is closing or gone. */
export class MuxerClosed extends Schema.TaggedClass<MuxerClosed>()("MuxerClosed", { detail: Schema.String }) {}

/** A limit on streams was met. */
export class StreamLimit extends Schema.TaggedClass<StreamLimit>()("StreamLimit", {
  scope: Schema.String,
  limit: Schema.Finite,
  current: Schema.Finite
}) {}

/** The remote broke the muxer's protocol; the connection was ended. */
export class MuxerViolation extends Schema.TaggedClass<MuxerViolation>()("MuxerViolation", { detail: Schema.String }) {}

/** The remote did not answer a keep-alive in time. */
export class KeepAliveTimeout extends Schema.TaggedClass<KeepAliveTimeout>()("KeepAliveTimeout", {
  afterMs: Schema.Finite
}) {}

/** The remote took nothing of what was sent for so long. */
export class SendTimeout extends Schema.TaggedClass<SendTimeout>()("SendTimeout", { afterMs: Schema.Finite }) {}

/** The protocol has no such thing. */
export class Unsupported extends Schema.TaggedClass<Unsupported>()("Unsupported", { detail: Schema.String }) {}

/** `LimitExceeded`: the connection held more memory than it may, and could hold no less. */
export const MuxerErrorReason = Schema.Union([
  RemoteGoAway,
  MuxerClosed,
  StreamLimit,
  MuxerViolation,
  KeepAliveTimeout,
  SendTimeout,
  LimitExceeded,
  Unsupported
])
export type MuxerErrorReason = typeof MuxerErrorReason.Type

export class MuxerError extends Schema.TaggedError<MuxerError>()("MuxerError", {
  protocol: Schema.String,
  reason: MuxerErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "RemoteGoAway":
        return `${this.protocol}: the remote takes no more streams (go-away code ${reason.code})`
      case "StreamLimit":
        return `${this.protocol}: limit ${reason.scope} of ${reason.limit} reached (${reason.current} in use)`
      case "KeepAliveTimeout":
        return `${this.protocol}: no answer to a keep-alive within ${reason.afterMs} ms`
      case "SendTimeout":
        return `${this.protocol}: the remote took nothing of what was sent for ${reason.afterMs} ms`
      case "LimitExceeded":
        return `${this.protocol}: ${describeLimit(reason)}`
      default:
        return `${this.protocol}: ${reason.detail}`
    }
  }
}

/** A stream of a multiplexed connection. */
export interface MuxedStream extends ByteStream {
  /** Unique within the connection, never reused. */
  readonly id: number
  /** Which end opened it. */
  readonly direction: "inbound" | "outbound"
  /** Stops reading: what arrives from now on is dropped, its window given back, and the remote not told. Idempotent. */
  readonly closeRead: () => void
  /** Calls `done` when both directions are done or the stream has failed: at once if they are, else after that batch or turn. */
  readonly onClosed: (done: () => void) => void
}

/** A multiplexed connection. It ends with the scope that it was made in. */
export interface MuxedConnection {
  /** The protocol, such as `/yamux/1.0.0`. */
  readonly protocol: string
  /** Opens a stream without a round trip. Synchronous in effect: nothing is sent before the first write or flush. */
  readonly openStream: Effect.Effect<MuxedStream, MuxerError>
  /** The same where nothing has to be waited for; else `undefined`, which says nothing of why. */
  readonly tryOpenStream: () => MuxedStream | undefined
  /** Takes the next stream that the remote opened. A bounded backlog waits here; beyond it new streams are reset. */
  readonly acceptStream: Effect.Effect<MuxedStream, MuxerError>
  /** False for good once either end has said goodbye or the connection has failed: it gives no new streams. */
  readonly isOpen: () => boolean
  /** Open streams, of both directions. */
  readonly streamCount: () => number
  /** A round trip, in milliseconds. `Unsupported` where the protocol has no ping. */
  readonly ping: Effect.Effect<number, MuxerError>
  /** Says goodbye (go-away), resets the streams that are left, sends what is buffered for at most `graceMs`, ends the connection. Idempotent. */
  readonly close: Effect.Effect<void>
  /** Waits until the connection has ended, and says why. */
  readonly awaitClosed: Effect.Effect<MuxerErrorReason>
}

export interface MuxerOptions {
  readonly role: Role
  /**
   * What the connection holds on behalf of its remote (bytes not read yet, and
   * not sent yet) is set here after each batch. When it refuses, the streams
   * that hold most are reset until it fits.
   */
  readonly memory?: MemoryAccount | undefined
}

/** One way of multiplexing. */
export interface MuxerProtocol {
  readonly id: string
  /** `connection` is secured. */
  readonly make: (connection: ByteStream, options: MuxerOptions) => Effect.Effect<MuxedConnection, never, Scope.Scope>
}

export class StreamMuxer extends Context.Service<
  StreamMuxer,
  {
    /** In order of preference. */
    readonly protocols: ReadonlyArray<MuxerProtocol>
  }
>()("effect-libp2p/StreamMuxer") {}

/** Combines muxers, the preferred one first. */
export const layerPrefer = <R>(
  protocols: ReadonlyArray<Effect.Effect<MuxerProtocol, never, R>>
): Layer.Layer<StreamMuxer, never, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    StreamMuxer,
    Effect.map(Effect.all(protocols), (protocols) => ({ protocols }))
  )
