/**
 * The messages of Mplex: a varint of stream id and flag, a varint of the length,
 * and so many bytes.
 *
 * ```
 * varint(id << 3 | flag)  varint(length)  data
 * ```
 *
 * Both ends count their streams from zero, so an id alone names two: the flag
 * says who opened the one that is meant. It is odd when its sender did not.
 *
 * Specification: mplex/README.md, "Message format".
 */
import { noiseMessage } from "../internal/Limits.ts"

export const newStream = 0
/** From the end that did not open the stream; one more from the end that did. */
export const message = 1
export const close = 3
export const reset = 5
export const lastFlag = 6

/** The most data of one message. */
export const maxMessage = 1024 * 1024

/** The largest id whose header is a safe integer; the specification goes up to 2^60 - 1, counted up from zero. */
export const maxWireId = 2 ** 50 - 1

/** The longest header and length, in bytes. */
export const maxHeader = 8 + 3

/**
 * The most data in one message that is sent: with its header it fills one Noise
 * message, and other streams wait for no more than that.
 */
export const maxPayload = noiseMessage - maxHeader

/** A stream's id within the session, the same at both ends: even for those that the dialer opens. */
export const keyOf = (wireId: number, byDialer: boolean): number => wireId * 2 + (byDialer ? 0 : 1)

export const wireIdOf = (key: number): number => Math.floor(key / 2)

/** The header of a message for one of `message`, `close` and `reset`. */
export const headerOf = (wireId: number, flag: number, inbound: boolean): number =>
  wireId * 8 + (inbound ? flag : flag + 1)
