/**
 * Unsigned varints as multiformats has them: seven bits a byte, the lowest
 * first, in the fewest bytes that hold the value, at most nine (63 bits).
 * Values are numbers, so those above `Number.MAX_SAFE_INTEGER` are refused.
 *
 * https://github.com/multiformats/unsigned-varint
 */

/** The longest encoding, in bytes. */
export const maxSize = 9

/** A whole varint: its value, and the bytes that it takes. */
export interface Complete {
  readonly _tag: "Complete"
  readonly value: number
  readonly size: number
}

/** The bytes end before the varint does: read more and try again. */
export interface Incomplete {
  readonly _tag: "Incomplete"
}

/** No bytes that may follow make this a varint. */
export interface Invalid {
  readonly _tag: "Invalid"
  readonly reason: "too long" | "not minimal" | "too large"
}

export type Decoded = Complete | Incomplete | Invalid

const incomplete: Incomplete = { _tag: "Incomplete" }
const tooLong: Invalid = { _tag: "Invalid", reason: "too long" }
const notMinimal: Invalid = { _tag: "Invalid", reason: "not minimal" }
const tooLarge: Invalid = { _tag: "Invalid", reason: "too large" }

/** The bytes that `encode` takes for `n`. */
export const encodingLength = (n: number): number => {
  let size = 1
  for (let rest = n; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++
  return size
}

/** Writes `n`, a whole number from 0 to `Number.MAX_SAFE_INTEGER`, at `offset`; returns where it ends. */
export const encodeInto = (n: number, target: Uint8Array, offset: number): number => {
  let rest = n
  let at = offset
  while (rest >= 0x80) {
    target[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[at++] = rest
  return at
}

/** The varint of `n`, a whole number from 0 to `Number.MAX_SAFE_INTEGER`: `encode(300)` is `ac 02`. */
export const encode = (n: number): Uint8Array => {
  const bytes = new Uint8Array(encodingLength(n))
  encodeInto(n, bytes, 0)
  return bytes
}

/**
 * Reads the varint at `offset`. Nothing is allocated but the result of a whole
 * one.
 *
 * ```
 * const length = Varint.decode(buffered, 0)
 * if (length._tag === "Incomplete") return undefined   // wait for more
 * ```
 */
export const decode = (bytes: Uint8Array, offset: number): Decoded => {
  let value = 0
  let scale = 1
  for (let size = 1; size <= maxSize; size++) {
    const byte = bytes[offset + size - 1]
    if (byte === undefined) return incomplete
    value += (byte & 0x7f) * scale
    if (byte < 0x80) {
      if (byte === 0 && size > 1) return notMinimal
      return value > Number.MAX_SAFE_INTEGER ? tooLarge : { _tag: "Complete", value, size }
    }
    scale *= 0x80
  }
  return tooLong
}
