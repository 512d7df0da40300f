/** The bounds that every muxer has. Each protocol adds its own. */
export interface Limits {
  /** Streams opened by the remote that may be open at a time; more are reset. */
  readonly maxInboundStreams: number
  /** Streams opened by the remote that may wait to be accepted; more are reset. */
  readonly acceptBacklog: number
  /**
   * Bytes that arrived on all streams of one connection and were not read. Beyond,
   * the streams that hold most are reset until it fits again.
   */
  readonly maxUnread: number
  /** Bytes that may wait to be sent; streams take no more writes beyond. */
  readonly outputHighWater: number
  /** How long the remote may take none of what waits to be sent; then the connection is ended. In ms. */
  readonly sendTimeoutMs: number
  /** How long the remote may leave a stream open that this end has closed in both directions; then it is reset. In ms. */
  readonly closeTimeoutMs: number
  /**
   * Streams of the remote that come to nothing: refused because a limit was met,
   * reset because of what they hold, or reset by the remote itself. So many may come at once, and `…PerSecond` in
   * the long run; more end the connection as a violation. The defaults leave room
   * for a thousand cancelled requests a second, without end, and for ten seconds
   * of them at once; streams that are closed in order count for nothing.
   */
  readonly wastedStreams: number
  readonly wastedStreamsPerSecond: number
  /**
   * Frames that carry no data: pings, windows, empty data, ends of streams that
   * are not known. As above; what they answer to (streams opened, data sent) earns
   * them back. The defaults are beyond what a remote can meet that waits for the
   * answer to each of its pings.
   */
  readonly emptyFrames: number
  readonly emptyFramesPerSecond: number
}

export const defaults: Limits = {
  maxInboundStreams: 4096,
  acceptBacklog: 1024,
  maxUnread: 64 * 1024 * 1024,
  outputHighWater: 256 * 1024,
  sendTimeoutMs: 60_000,
  closeTimeoutMs: 60_000,
  wastedStreams: 10_000,
  wastedStreamsPerSecond: 1000,
  emptyFrames: 10_000,
  emptyFramesPerSecond: 10_000
}

/** Refusals of streams that may wait to be sent; a remote that does not read them and goes on is cut off. */
export const maxRefusalsUnsent = 16_384

/** What a stream that waited for its turn may write before the next one gets its turn, in bytes. */
export const turnLength = 64 * 1024

/** The most plaintext of one Noise message, in bytes. A frame of that size spills into no second one. */
export const noiseMessage = 65_519

/** Empty frames that every stream earns: those that open, acknowledge, close and reset it. */
export const framesOfStream = 4
