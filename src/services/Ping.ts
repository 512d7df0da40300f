/**
 * Ping: is the peer alive, and how far away?
 *
 * Specification: ping/ping.md.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { StreamError } from "./ByteStream.ts"
import { type DialError, type DialTarget, type OpenStreamError } from "./Swarm.ts"

export const protocol = "/ipfs/ping/1.0.0"

/** The peer did not send back what it was sent. */
export class WrongEcho extends Schema.TaggedClass<WrongEcho>()("WrongEcho", {}) {}
/** No echo by the deadline. */
export class PingTimeout extends Schema.TaggedClass<PingTimeout>()("PingTimeout", { afterMs: Schema.Finite }) {}
/** The stream failed, or the peer does not speak ping. */
export class PingStreamFailed extends Schema.TaggedClass<PingStreamFailed>()("PingStreamFailed", {
  cause: StreamError
}) {}

export class PingError extends Schema.TaggedError<PingError>()("PingError", {
  peer: Schema.String,
  reason: Schema.Union([WrongEcho, PingTimeout, PingStreamFailed])
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "WrongEcho":
        return `${this.peer} sent back other bytes than it was sent`
      case "PingTimeout":
        return `${this.peer} did not answer a ping within ${reason.afterMs} ms`
      case "PingStreamFailed":
        return `ping to ${this.peer} failed: ${reason.cause.message}`
    }
  }
}

export interface PingOptions {
  /** Between the end of a ping and the next. Default 1 second. */
  readonly interval?: Duration.Input | undefined
  /** How many; without it, until the stream is no longer consumed. */
  readonly count?: number | undefined
  /** For each echo. Default 10 seconds. */
  readonly deadline?: Duration.Input | undefined
}

export class Ping extends Context.Service<
  Ping,
  {
    /** Dials if needed, and pings on one stream: the round trips in milliseconds, fractions included. */
    readonly ping: (
      target: DialTarget,
      options?: PingOptions
    ) => Stream.Stream<number, PingError | DialError | OpenStreamError>
  }
>()("effect-libp2p/Ping") {}
