/**
 * Protocols, the protocol muxer: which protocols this node speaks, and who
 * handles their streams. Handlers are registered in a scope; leaving the scope
 * unregisters them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { describeOutside, OutsideNetwork, StreamError } from "./ByteStream.ts"
import type { ProtocolStream } from "./ProtocolStream.ts"

/** The remote supports none of the protocols that were proposed. */
export class NoCommonProtocol extends Schema.TaggedClass<NoCommonProtocol>()("NoCommonProtocol", {}) {}
/** The remote does not speak multistream-select, or breaks its rules. `begun`: it had begun as that does. */
export class MalformedNegotiation extends Schema.TaggedClass<MalformedNegotiation>()("MalformedNegotiation", {
  detail: Schema.String,
  begun: Schema.Boolean
}) {}
/** The stream or connection failed in the middle of the negotiation. `begun`: the remote had said something by then. */
export class NegotiationInterrupted extends Schema.TaggedClass<NegotiationInterrupted>()("NegotiationInterrupted", {
  cause: StreamError,
  begun: Schema.Boolean
}) {}

export const NegotiationErrorReason = Schema.Union([
  NoCommonProtocol,
  MalformedNegotiation,
  NegotiationInterrupted,
  OutsideNetwork
])
export type NegotiationErrorReason = typeof NegotiationErrorReason.Type

/** Agreeing on a protocol failed. `proposed` is what this node offered or, as a listener, supports. */
export class NegotiationError extends Schema.TaggedError<NegotiationError>()("NegotiationError", {
  proposed: Schema.Array(Schema.String),
  reason: NegotiationErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "NoCommonProtocol":
        return `the remote does not speak ${this.proposed.join(" or ")}`
      case "MalformedNegotiation":
        return `the remote does not speak multistream-select: ${reason.detail}${reason.begun ? "" : "; it may be in a private network, and this node is in none"}`
      case "OutsideNetwork":
        return describeOutside(reason)
      case "NegotiationInterrupted":
        return `the remote ended it without an answer to ${this.proposed.join(" or ")}: it does not speak that, is in a private network of its own, or refuses this node (${reason.cause.message})`
    }
  }
}

/** Another handler has the protocol. */
export class ProtocolTaken extends Schema.TaggedError<ProtocolTaken>()("ProtocolTaken", { protocol: Schema.String }) {
  override get message(): string {
    return `${this.protocol} already has a handler`
  }
}

/**
 * Handles one inbound stream, in a fiber of its own. When it ends, the stream
 * is closed; when it fails, dies or is interrupted, the stream is reset, the
 * cause logged and counted, and nothing else is touched.
 */
export type Handler<E, R> = (stream: ProtocolStream) => Effect.Effect<void, E, R>

export interface HandlerOptions {
  /** Streams of this protocol that may be handled at once on a connection; further ones are reset. Default 1024. */
  readonly maxStreamsPerConnection?: number | undefined
  /** The service that its streams count for, when several protocols make one service; see ResourceManager. */
  readonly service?: string | undefined
}

/** A registered handler, as the swarm uses it. */
export interface Registration {
  readonly protocol: string
  readonly maxStreamsPerConnection: number
  readonly service: string | undefined
  readonly run: (stream: ProtocolStream) => Effect.Effect<void, unknown>
}

export class Protocols extends Context.Service<
  Protocols,
  {
    /** Handles inbound streams of `protocol` until the scope closes. */
    readonly handle: <E, R>(
      protocol: string,
      handler: Handler<E, R>,
      options?: HandlerOptions
    ) => Effect.Effect<void, ProtocolTaken, R | Scope.Scope>
    /** The protocols that have a handler now, sorted. */
    readonly registered: Effect.Effect<ReadonlyArray<string>>
    /** One element when handlers have come or gone since the last. */
    readonly changes: Stream.Stream<void>
    /** The same as `registered`, for the protocol muxer itself. */
    readonly find: (protocol: string) => Registration | undefined
    readonly list: () => ReadonlyArray<string>
  }
>()("effect-libp2p/Protocols") {}

/**
 * A layer that handles a protocol for as long as it is in use.
 *
 * ```
 * const Echo = Protocols.layerHandler("/echo/1.0.0", (stream) => Stream.run(stream.readable, stream.writable))
 * ```
 */
export const layerHandler = <E, R>(
  protocol: string,
  handler: Handler<E, R>,
  options?: HandlerOptions
): Layer.Layer<never, ProtocolTaken, Exclude<R, Scope.Scope> | Protocols> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const protocols = yield* Protocols
      yield* protocols.handle(protocol, handler, options)
    })
  )
