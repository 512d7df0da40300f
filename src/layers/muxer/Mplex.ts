/**
 * Mplex: streams over one secured connection, with no flow control. For peers
 * that speak nothing better.
 *
 * ```
 * const muxers = StreamMuxer.layerPrefer([Yamux.make(), Mplex.make()])
 * ```
 *
 * It is off unless it is asked for: the specification has deprecated it. A
 * receiver cannot tell the sender of one stream to wait, so it has to choose
 * between holding up the whole connection, resetting the stream, and keeping
 * whatever comes; the last has cost others 8 GB for one connection. Here a slow
 * reader holds up its connection for at most `slowReaderMs`, and then its stream
 * is reset; see `Limits` for the bounds in bytes. There is no ping and no go-away
 * either: a remote that is silent for good is noticed by what carries the
 * connection (TCP), or by a protocol that asks, such as `/ipfs/ping/1.0.0`.
 *
 * Specification: mplex/README.md; protocol id `/mplex/6.7.0`.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { layerPrefer, type MuxerProtocol, type StreamMuxer } from "../../services/StreamMuxer.ts"
import * as Connection from "./internal/Connection.ts"
import { defaults, type Limits } from "./mplex/Limits.ts"
import { protocol, Session } from "./mplex/Session.ts"

/** The limits of a connection, all optional; see `Limits` for each. */
export interface Options extends Partial<Limits> {
  /** How long closing may take to send what is buffered and hear the remote close, in ms. Default 1,000. */
  readonly closeGraceMs?: number | undefined
}

/** The protocol, to be combined with others by `StreamMuxer.layerPrefer`. */
export const make = (options?: Options): Effect.Effect<MuxerProtocol, never, Scope.Scope> => {
  const { closeGraceMs = 1000, ...given } = options ?? {}
  const limits: Limits = { ...defaults, ...given }
  const connection = Connection.make({
    session: (dialed, nowMs) => new Session(dialed, limits, nowMs),
    maxUnsent: limits.outputHighWater * 2,
    pingTimeoutMs: 0,
    closeGraceMs
  })
  return Effect.map(connection, (make) => ({ id: protocol, make }))
}

/** Mplex as the only muxer. */
export const layer = (options?: Options): Layer.Layer<StreamMuxer> => layerPrefer([make(options)])
