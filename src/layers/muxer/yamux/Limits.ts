/** The bounds of a Yamux session. Everything that a remote can make grow has one. */
import { initialWindow } from "./Frame.ts"

export interface Limits {
  /** Streams opened by the remote that may be open at a time; more are reset. */
  readonly maxInboundStreams: number
  /** Streams opened by the remote that may wait to be accepted; more are reset. */
  readonly acceptBacklog: number
  /** Streams opened here that the remote has not acknowledged; `openStream` waits beyond (specification: at most 256). */
  readonly maxUnacknowledged: number
  /** The largest receive window of one stream, in bytes. A window starts at 256 KiB, which is also the least. */
  readonly maxWindow: number
  /** How far all receive windows of a connection together may grow beyond their first size, in bytes. */
  readonly maxWindowGrowth: number
  /** Bytes that may wait to be sent; streams take no more writes beyond. */
  readonly outputHighWater: number
  /** How long the remote may leave a stream open that this end has closed in both directions; then it is reset. In ms. */
  readonly closeTimeoutMs: number
  /** A connection on which nothing arrived for so long is asked whether it lives, in ms. */
  readonly keepAliveIntervalMs: number
  /** How long anything at all may take to arrive after that question, in ms. */
  readonly keepAliveTimeoutMs: number
}

export const defaults: Limits = {
  maxInboundStreams: 4096,
  acceptBacklog: 1024,
  maxUnacknowledged: 256,
  maxWindow: 16 * 1024 * 1024,
  maxWindowGrowth: 64 * 1024 * 1024,
  outputHighWater: initialWindow,
  closeTimeoutMs: 60_000,
  keepAliveIntervalMs: 30_000,
  keepAliveTimeoutMs: 10_000
}

/** Answers to pings that may wait to be sent; pings beyond are not answered. */
export const maxPongsUnsent = 64

/** Refusals of streams that may wait to be sent; a remote that does not read them and goes on is cut off. */
export const maxRefusalsUnsent = 16_384

/** What a stream that waited for its turn may write before the next one gets its turn, in bytes. */
export const turnLength = 64 * 1024
