/**
 * The frames of Yamux: a header of 12 bytes, and after a data header its payload.
 *
 * ```
 * version:8  type:8  flags:16  stream id:32  length:32      (big-endian)
 * ```
 *
 * Specification: yamux/README.md, "Framing".
 */
import { noiseMessage } from "../internal/Limits.ts"

export const headerLength = 12

export const typeData = 0
export const typeWindowUpdate = 1
export const typePing = 2
export const typeGoAway = 3

/** Starts a stream; on a ping: a request. */
export const flagSyn = 1
/** Acknowledges a stream; on a ping: the answer. */
export const flagAck = 2
/** No more data from the sender. */
export const flagFin = 4
/** Ends the stream at once, both ways. */
export const flagRst = 8

export const goAwayNormal = 0
export const goAwayProtocolError = 1
export const goAwayInternalError = 2

/** The window that both ends assume for a new stream. */
export const initialWindow = 256 * 1024

/** Stream ids and windows are unsigned 32-bit numbers. */
export const maxUint32 = 0xffff_ffff

/**
 * The most payload in one frame that is sent. Header and payload then fill one
 * Noise message; 64 KiB would spill into a second.
 */
export const maxPayload = noiseMessage - headerLength

/** Writes a header into `target` at `offset`. All numbers must be in range. */
export const writeHeader = (
  target: Uint8Array,
  offset: number,
  type: number,
  flags: number,
  id: number,
  length: number
): void => {
  target[offset] = 0
  target[offset + 1] = type
  target[offset + 2] = flags >>> 8
  target[offset + 3] = flags
  target[offset + 4] = id >>> 24
  target[offset + 5] = id >>> 16
  target[offset + 6] = id >>> 8
  target[offset + 7] = id
  target[offset + 8] = length >>> 24
  target[offset + 9] = length >>> 16
  target[offset + 10] = length >>> 8
  target[offset + 11] = length
}

/** The big-endian 32-bit number at `offset`; bytes past the end count as zero. */
export const uint32At = (bytes: Uint8Array, offset: number): number =>
  (((bytes[offset] ?? 0) << 24) |
    ((bytes[offset + 1] ?? 0) << 16) |
    ((bytes[offset + 2] ?? 0) << 8) |
    (bytes[offset + 3] ?? 0)) >>>
  0

/** The big-endian 16-bit number at `offset`; bytes past the end count as zero. */
export const uint16At = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
