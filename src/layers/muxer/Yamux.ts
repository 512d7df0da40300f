/**
 * Yamux: streams over one secured connection, each with a window of its own.
 *
 * ```
 * const muxers = Yamux.layer({ maxInboundStreams: 4096 })
 * ```
 *
 * A stream opened here is known to the remote with its first write (or flush, or
 * half-close): opening costs no round trip and no message of its own. What is
 * written in one turn leaves in one piece.
 *
 * Specification: yamux/README.md; protocol id `/yamux/1.0.0`.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { layerPrefer, type MuxerProtocol, type StreamMuxer } from "../../services/StreamMuxer.ts"
import * as Connection from "./internal/Connection.ts"
import { initialWindow } from "./yamux/Frame.ts"
import { defaults, type Limits } from "./yamux/Limits.ts"
import { protocol, Session } from "./yamux/Session.ts"

/** The limits of a connection, all optional; see `Limits` for each. */
export interface Options extends Partial<Limits> {
  /** How long closing may take to send what is buffered and hear the remote close, in ms. Default 1,000. */
  readonly closeGraceMs?: number | undefined
}

/** The protocol, to be combined with others by `StreamMuxer.layerPrefer`. */
export const make = (options?: Options): Effect.Effect<MuxerProtocol, never, Scope.Scope> => {
  const { closeGraceMs = 1000, ...given } = options ?? {}
  const limits: Limits = {
    ...defaults,
    ...given,
    maxWindow: Math.max(initialWindow, given.maxWindow ?? defaults.maxWindow)
  }
  const connection = Connection.make({
    session: (dialed, nowMs) => new Session(dialed, limits, nowMs),
    maxUnsent: limits.outputHighWater * 2,
    pingTimeoutMs: limits.keepAliveTimeoutMs,
    closeGraceMs
  })
  return Effect.map(connection, (make) => ({ id: protocol, make }))
}

/** Yamux as the only muxer. */
export const layer = (options?: Options): Layer.Layer<StreamMuxer> => layerPrefer([make(options)])
