/**
 * Mutations that know the shape of what they change. Bytes are read as a tree
 * as far as the grammar goes (fields of a protobuf, TLVs of DER, frames, lines),
 * changed as a tree (dropped, doubled, moved, nested, crossed with another
 * input), and written back with lengths that fit, or with lengths that lie.
 * What cannot be read as a tree is changed as bytes.
 */
import * as Bytes from "../../src/data/Bytes.ts"
import type { Prng } from "../../src/layers/simulation/Prng.ts"

/** A piece of an input: its head (tag, type, flags) and what the head's length covers. */
interface Piece {
  readonly head: Uint8Array
  readonly body: Uint8Array
}

export interface Grammar {
  /** The pieces of an input; those that are left over at its end are one piece without a head. */
  readonly read: (bytes: Uint8Array) => ReadonlyArray<Piece>
  /** The piece with a length that says `length`. */
  readonly write: (piece: Piece, length: number) => Uint8Array
  /** Whether a body may be read by the same grammar. */
  readonly nests: boolean
}

const varint = (n: number): Uint8Array => {
  const bytes: Array<number> = []
  let left = Math.max(0, n)
  do {
    bytes.push((left % 128) | (left >= 128 ? 0x80 : 0))
    left = Math.floor(left / 128)
  } while (left > 0)
  return Uint8Array.from(bytes)
}

const readVarint = (bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined => {
  let value = 0
  for (let i = 0; i < 8; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * 128 ** i
    if (byte < 0x80) return { value, end: at + i + 1 }
  }
  return undefined
}

const leftover = (bytes: Uint8Array, at: number): ReadonlyArray<Piece> =>
  at < bytes.length ? [{ head: new Uint8Array(0), body: bytes.subarray(at) }] : []

/** Reads pieces one after the other for as long as `one` can. */
const each = (
  bytes: Uint8Array,
  one: (bytes: Uint8Array, at: number) => { readonly piece: Piece; readonly end: number } | undefined
): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  let at = 0
  while (at < bytes.length && pieces.length < 512) {
    const found = one(bytes, at)
    if (found === undefined || found.end > bytes.length || found.end <= at) break
    pieces.push(found.piece)
    at = found.end
  }
  return [...pieces, ...leftover(bytes, at)]
}

/** Fields of a protobuf; those that are not length-delimited are heads alone. */
export const protobuf: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const tag = readVarint(all, at)
      if (tag === undefined) return undefined
      const wire = tag.value % 8
      const fixed = wire === 1 ? 8 : wire === 5 ? 4 : undefined
      if (wire === 2) {
        const length = readVarint(all, tag.end)
        if (length === undefined) return undefined
        const end = length.end + length.value
        return { piece: { head: all.subarray(at, tag.end), body: all.subarray(length.end, end) }, end }
      }
      const end = wire === 0 ? readVarint(all, tag.end)?.end : fixed === undefined ? undefined : tag.end + fixed
      return end === undefined ? undefined : { piece: { head: all.subarray(at, end), body: new Uint8Array(0) }, end }
    }),
  write: ({ body, head }, length) => {
    const tag = readVarint(head, 0)
    const delimited = tag !== undefined && tag.value % 8 === 2
    return delimited ? Bytes.concat([head, varint(length), body]) : Bytes.concat([head, body])
  },
  nests: true
}

/** Messages behind varint lengths: multistream-select, length-prefixed protobufs. */
export const prefixed: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const length = readVarint(all, at)
      if (length === undefined) return undefined
      const end = length.end + length.value
      return { piece: { head: all.subarray(at, at), body: all.subarray(length.end, end) }, end }
    }),
  write: ({ body }, length) => Bytes.concat([varint(length), body]),
  nests: false
}

/** Messages behind two bytes of length, as Noise has them. */
export const noise: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const [high, low] = [all[at], all[at + 1]]
      if (high === undefined || low === undefined) return undefined
      const end = at + 2 + high * 256 + low
      return { piece: { head: all.subarray(at, at), body: all.subarray(at + 2, end) }, end }
    }),
  write: ({ body }, length) => Bytes.concat([Uint8Array.of((length >>> 8) & 0xff, length & 0xff), body]),
  nests: false
}

/** Yamux frames: the head is version, type, flags and stream; data has a body. */
export const yamux: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const header = all.subarray(at, at + 12)
      if (header.length < 12) return undefined
      const length = new DataView(header.buffer, header.byteOffset).getUint32(8)
      const end = header[1] === 0 ? at + 12 + length : at + 12
      // Of other frames the last four bytes are a value, kept in the head.
      return header[1] === 0
        ? { piece: { head: header.subarray(0, 8), body: all.subarray(at + 12, end) }, end }
        : { piece: { head: header, body: new Uint8Array(0) }, end }
    }),
  write: ({ body, head }, length) => {
    if (head.length !== 8) return Bytes.concat([head, body])
    const size = new Uint8Array(4)
    new DataView(size.buffer).setUint32(0, Math.max(0, length) % 2 ** 32)
    return Bytes.concat([head, size, body])
  },
  nests: false
}

/** Mplex messages: a varint of id and flag, a length, data. */
export const mplex: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const header = readVarint(all, at)
      const length = header === undefined ? undefined : readVarint(all, header.end)
      if (header === undefined || length === undefined) return undefined
      const end = length.end + length.value
      return { piece: { head: all.subarray(at, header.end), body: all.subarray(length.end, end) }, end }
    }),
  write: ({ body, head }, length) => Bytes.concat([head, varint(length), body]),
  nests: false
}

/** DER: tag, length, content. */
export const der: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const first = all[at + 1]
      if (first === undefined) return undefined
      const count = first < 0x80 ? 0 : first & 0x7f
      if (count > 3) return undefined
      let length = count === 0 ? first : 0
      for (let i = 0; i < count; i++) length = length * 256 + (all[at + 2 + i] ?? 0)
      const start = at + 2 + count
      return {
        piece: { head: all.subarray(at, at + 1), body: all.subarray(start, start + length) },
        end: start + length
      }
    }),
  write: ({ body, head }, length) => {
    const size =
      length < 0x80
        ? [Math.max(0, length)]
        : length < 0x100
          ? [0x81, length]
          : length < 0x10000
            ? [0x82, length >>> 8, length & 0xff]
            : [0x83, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff]
    return head.length === 0 ? body : Bytes.concat([head, Uint8Array.from(size), body])
  },
  nests: true
}

/** The number in the head of an item of CBOR, and where the head ends. */
const readCborHead = (bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined => {
  const short = (bytes[at] ?? 0xff) & 0x1f
  if (short < 24) return { value: short, end: at + 1 }
  if (short > 27) return undefined
  const end = at + 1 + 2 ** (short - 24)
  if (end > bytes.length) return undefined
  return { value: bytes.subarray(at + 1, end).reduce((value, byte) => value * 256 + byte, 0), end }
}

const writeCborHead = (major: number, value: number): Uint8Array => {
  const n = Math.max(0, value)
  if (n < 24) return Uint8Array.of(major | n)
  if (n < 0x100) return Uint8Array.of(major | 24, n)
  if (n < 0x10000) return Uint8Array.of(major | 25, n >>> 8, n & 0xff)
  return Uint8Array.of(major | 26, n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff)
}

/** Items of CBOR, one after the other whatever they are inside of: text and bytes have a body, others are heads alone. */
export const cbor: Grammar = {
  read: (bytes) =>
    each(bytes, (all, at) => {
      const head = readCborHead(all, at)
      if (head === undefined) return undefined
      const major = (all[at] ?? 0) & 0xe0
      if (major !== 0x40 && major !== 0x60) {
        return { piece: { head: all.subarray(at, head.end), body: new Uint8Array(0) }, end: head.end }
      }
      const end = head.end + head.value
      return { piece: { head: Uint8Array.of(major), body: all.subarray(head.end, end) }, end }
    }),
  write: ({ body, head }, length) => {
    const major = head[0]
    const measured = head.length === 1 && (major === 0x40 || major === 0x60)
    return measured ? Bytes.concat([writeCborHead(major, length), body]) : Bytes.concat([head, body])
  },
  nests: true
}

/** Parts of a text between slashes, as in a multiaddr. */
export const slashes: Grammar = {
  read: (bytes) =>
    new TextDecoder("latin1")
      .decode(bytes)
      .split("/")
      .map((part) => ({ head: new Uint8Array(0), body: new TextEncoder().encode(part) })),
  write: ({ body }) => Bytes.concat([Uint8Array.of(0x2f), body]),
  nests: false
}

/** No structure that is known. */
export const plain: Grammar = { read: (bytes) => leftover(bytes, 0), write: ({ body }) => body, nests: false }

const interesting = [0, 1, 2, 3, 7, 8, 12, 16, 31, 32, 36, 38, 63, 64, 127, 128, 192, 224, 240, 254, 255] as const
const sizes = [0, 1, 2, 127, 128, 255, 256, 1023, 1024, 1025, 16_383, 16_384, 16_385, 65_519, 65_535, 65_536] as const

const pick = <A>(random: Prng, items: ReadonlyArray<A>): A | undefined => items[random.below(items.length)]

/** A body longer than this is not worth the time it takes. */
const maxInput = 256 * 1024

/** Changes bytes without knowing what they are. */
const mutateBytes = (random: Prng, input: Uint8Array): Uint8Array => {
  const at = random.below(input.length + 1)
  const length = Math.min(input.length - at, 1 + random.below(8))
  switch (random.below(8)) {
    case 0: {
      const bytes = input.slice()
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
      return bytes
    }
    case 1: {
      const bytes = input.slice()
      if (at < bytes.length) bytes[at] = pick(random, interesting) ?? 0
      return bytes
    }
    case 2:
      return input.subarray(0, at)
    case 3:
      return Bytes.concat([input.subarray(0, at), input.subarray(at + length)])
    case 4:
      return Bytes.concat([input.subarray(0, at), input.subarray(at, at + length), input.subarray(at)])
    case 5: {
      const added = Uint8Array.from({ length: 1 + random.below(16) }, () => random.below(256))
      return Bytes.concat([input.subarray(0, at), added, input.subarray(at)])
    }
    case 6: {
      const other = random.below(input.length + 1)
      return Bytes.concat([input.subarray(0, at), input.subarray(other)])
    }
    default: {
      const bytes = input.slice()
      const view = new DataView(bytes.buffer)
      if (at + 4 <= bytes.length)
        view.setUint32(at, (pick(random, [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) ?? 0) >>> 0)
      return bytes
    }
  }
}

/** Changes the pieces of an input, or the inside of one. */
const mutatePieces = (
  random: Prng,
  grammar: Grammar,
  input: Uint8Array,
  other: Uint8Array,
  depth: number
): Uint8Array => {
  const pieces = [...grammar.read(input)]
  const at = random.below(Math.max(1, pieces.length))
  const piece = pieces[at]
  let lie: number | undefined
  if (piece === undefined) return mutateBytes(random, input)
  switch (random.below(10)) {
    case 0:
      pieces.splice(at, 1)
      break
    case 1:
      pieces.splice(at, 0, piece)
      break
    case 2:
      pieces.splice(random.below(pieces.length), 0, ...pieces.splice(at, 1))
      break
    case 3: {
      const taken = pick(random, grammar.read(other))
      if (taken !== undefined) pieces.splice(at, random.below(2), taken)
      break
    }
    case 4:
      lie = random.below(2) === 0 ? (pick(random, sizes) ?? 0) : piece.body.length + random.below(5) - 2
      break
    case 5: {
      const size = Math.min(pick(random, sizes) ?? 0, maxInput)
      const body = new Uint8Array(size)
      body.set(piece.body.subarray(0, size))
      pieces[at] = { ...piece, body }
      break
    }
    case 6:
      pieces[at] = { ...piece, head: mutateBytes(random, piece.head) }
      break
    case 7:
      // Many of the same: what a remote could make grow.
      pieces.splice(at, 0, ...Array.from({ length: 1 + random.below(200) }, () => piece))
      break
    default:
      pieces[at] = {
        ...piece,
        body:
          grammar.nests && depth < 6 && random.below(3) > 0
            ? mutatePieces(random, grammar, piece.body, other, depth + 1)
            : mutateBytes(random, piece.body)
      }
  }
  return Bytes.concat(
    pieces.map((one) => grammar.write(one, one === piece && lie !== undefined ? lie : one.body.length))
  )
}

/** One to four changes of `input`; `other` is one that pieces may come from. */
export const mutate = (random: Prng, grammar: Grammar, input: Uint8Array, other: Uint8Array): Uint8Array => {
  let bytes = input
  for (let count = 1 + random.below(4); count > 0; count--) {
    bytes = random.below(4) === 0 ? mutateBytes(random, bytes) : mutatePieces(random, grammar, bytes, other, 0)
    if (bytes.length > maxInput) bytes = bytes.subarray(0, maxInput)
  }
  return bytes
}
