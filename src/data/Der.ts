/**
 * The small part of DER that keys, signatures and certificates need. The reader
 * is strict (one encoding of a value) and bounded: an element has at most 65535
 * bytes. What is malformed is `undefined`, never an exception.
 *
 * ITU-T X.690
 */
import * as Bytes from "./Bytes.ts"

/** The tags in use here. Tags of more than one byte are not read. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31
} as const

/** The tag of a constructed element `[number]` that only its place gives a meaning. */
export const context = (number: number): number => 0xa0 + number

/** One element. Its bytes are those that were read, not copies. */
export interface Element {
  readonly tag: number
  /** What it holds. */
  readonly body: Uint8Array
  /** All of it, with tag and length. */
  readonly whole: Uint8Array
  /** Where the next one starts. */
  readonly next: number
}

/** The element at `at`, or `undefined` when it is cut off or its length is not in the shortest form. */
export const element = (bytes: Uint8Array, at: number): Element | undefined => {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined
  let length = first
  let start = at + 2
  if (first > 0x7f) {
    const octets = first - 0x80
    if (octets < 1 || octets > 2) return undefined
    length = 0
    for (let i = 0; i < octets; i++) length = length * 256 + (bytes[start + i] ?? 0)
    if (length < (octets === 1 ? 0x80 : 0x100)) return undefined
    start += octets
  }
  const next = start + length
  return next > bytes.length
    ? undefined
    : { tag, body: bytes.subarray(start, next), whole: bytes.subarray(at, next), next }
}

/** The elements that follow each other and are all of `bytes`. */
export const elements = (bytes: Uint8Array): ReadonlyArray<Element> | undefined => {
  const found: Array<Element> = []
  for (let at = 0; at < bytes.length;) {
    const inner = element(bytes, at)
    if (inner === undefined) return undefined
    found.push(inner)
    at = inner.next
  }
  return found
}

/** The one element with the tag that is all of `bytes`. */
export const only = (bytes: Uint8Array, tag: number): Element | undefined => {
  const found = element(bytes, 0)
  return found?.tag === tag && found.next === bytes.length ? found : undefined
}

/** The elements directly inside one sequence that is all of `bytes`. */
export const sequence = (bytes: Uint8Array): ReadonlyArray<Element> | undefined => {
  const outer = only(bytes, tags.sequence)
  return outer === undefined ? undefined : elements(outer.body)
}

/** An element with a tag around a body of at most 65535 bytes. */
export const encode = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const body = Bytes.concat(parts)
  const n = body.length
  const header = n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 0xff]
  return Bytes.concat([Uint8Array.from(header), body])
}

/** A bit string of whole bytes. */
export const encodeBits = (bytes: Uint8Array): Uint8Array => encode(tags.bitString, Uint8Array.of(0), bytes)

/** The bytes of a bit string without unused bits. */
export const bits = (element: Element | undefined): Uint8Array | undefined =>
  element?.tag === tags.bitString && element.body[0] === 0 ? element.body.subarray(1) : undefined

/** The element of an object identifier such as `1.2.840.10045.2.1`. */
export const encodeOid = (text: string): Uint8Array => {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number)
  const body: Array<number> = []
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80)
    body.push(...groups)
  }
  return encode(tags.oid, Uint8Array.from(body))
}

/** The text of an object identifier's body, for people to read. */
export const oidText = (body: Uint8Array): string => {
  const arcs: Array<number> = []
  let arc = 0
  for (const byte of body) {
    arc = arc * 0x80 + (byte & 0x7f)
    if (byte > 0x7f) continue
    if (arcs.length > 0) arcs.push(arc)
    else {
      const top = Math.min(Math.floor(arc / 40), 2)
      arcs.push(top, arc - top * 40)
    }
    arc = 0
  }
  return arcs.join(".")
}
