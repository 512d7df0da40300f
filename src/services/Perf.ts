/**
 * Perf: how fast is the way to a peer?
 *
 * Specification: perf/perf.md.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { StreamError } from "./ByteStream.ts"
import { type DialError, type DialTarget, type OpenStreamError } from "./Swarm.ts"

export const protocol = "/perf/1.0.0"

export class PerfError extends Schema.TaggedError<PerfError>()("PerfError", {
  peer: Schema.String,
  reason: Schema.Union([
    Schema.TaggedStruct("PerfStreamFailed", { cause: StreamError }),
    Schema.TaggedStruct("WrongAmount", { asked: Schema.Finite, received: Schema.Finite })
  ])
}) {
  override get message(): string {
    return this.reason._tag === "WrongAmount"
      ? `${this.peer} sent ${this.reason.received} bytes where ${this.reason.asked} were asked for`
      : `measuring ${this.peer} failed: ${this.reason.cause.message}`
  }
}

export interface PerfResult {
  readonly uploadBytes: number
  readonly downloadBytes: number
  /** From the first byte sent until the last was handed to the network. */
  readonly uploadMs: number
  /** From the end of the upload to the last byte received. */
  readonly downloadMs: number
}

export class Perf extends Context.Service<
  Perf,
  {
    /** Sends `uploadBytes`, then receives `downloadBytes`, on one stream. */
    readonly measure: (
      target: DialTarget,
      options: { readonly uploadBytes: number; readonly downloadBytes: number }
    ) => Effect.Effect<PerfResult, PerfError | DialError | OpenStreamError>
  }
>()("effect-libp2p/Perf") {}
