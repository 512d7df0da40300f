/** The bounds of a Yamux session. Everything that a remote can make grow has one. */
import * as Shared from "../internal/Limits.ts"

export interface Limits extends Shared.Limits {
  /** Streams opened here that the remote has not acknowledged; `openStream` waits beyond (specification: at most 256). */
  readonly maxUnacknowledged: number
  /** The largest receive window of one stream, in bytes. A window starts at 256 KiB, which is also the least. */
  readonly maxWindow: number
  /** How far all receive windows of a connection together may grow beyond their first size, in bytes. */
  readonly maxWindowGrowth: number
  /** A connection on which nothing arrived for so long is asked whether it lives, in ms. */
  readonly keepAliveIntervalMs: number
  /** How long anything at all may take to arrive after that question, in ms. */
  readonly keepAliveTimeoutMs: number
}

export const defaults: Limits = {
  ...Shared.defaults,
  maxUnacknowledged: 256,
  maxWindow: 16 * 1024 * 1024,
  maxWindowGrowth: 64 * 1024 * 1024,
  keepAliveIntervalMs: 30_000,
  keepAliveTimeoutMs: 10_000
}

/** Answers to pings that may wait to be sent; pings beyond are not answered. */
export const maxPongsUnsent = 64
