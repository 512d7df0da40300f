/**
 * What is looked at before a packet is decoded. The codec, `dns-packet`, reads
 * on where a record says that it is longer than the packet, and a packet of 73
 * bytes can make it read the same records a hundred thousand times. So each
 * name, record and text is measured here first, and what the codec would read
 * in ways of its own is changed into opaque bytes. Pure.
 *
 * Specification: RFC 1035, section 4; RFC 6762, sections 5.4, 17 and 18.
 */
import * as Result from "effect/Result"

/** A packet cannot be read. Plain values: anybody on the network can make thousands of them a second. */
export interface PacketError {
  readonly _tag: "PacketError"
  readonly detail: string
}

/** The largest packet of multicast DNS. */
export const maxBytes = 9000
const maxQuestions = 64
const maxRecords = 512
/** Pointers that one name may follow. */
const maxJumps = 16
/** Bytes of a name, and what `dns-packet` reads of it. */
const maxName = 254

const headerBytes = 12

/** Types of records that are read. */
const typeA = 1
const typePtr = 12
const typeTxt = 16
const typeAaaa = 28
const typeSrv = 33
/** A record of this type is bytes, and nothing more, to the codec. */
const typeOpaque = 10

/** The top bit of a class: of a question, that it may be answered to who asks alone; of a record, that it replaces others. */
const topBit = 0x8000

/** A packet that is safe to decode. */
export interface Guarded {
  /** A copy, with what is not read made opaque. */
  readonly bytes: Uint8Array
  /** For each question, whether an answer to who asks alone is wanted. */
  readonly unicast: ReadonlyArray<boolean>
}

const fail = (detail: string): Result.Result<never, PacketError> => Result.fail({ _tag: "PacketError", detail })

class Walk {
  readonly view: DataView
  private readonly bytes: Uint8Array
  at = headerBytes

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  has(count: number): boolean {
    return this.at + count <= this.bytes.length
  }

  /** Where the name at `start` ends; undefined if it is none. A pointer leads backwards, or it could lead in circles. */
  nameEnd(start: number): number | undefined {
    let at = start
    let segment = start
    let total = 0
    let jumps = 0
    let end: number | undefined
    for (;;) {
      const length = this.bytes[at]
      if (length === undefined) return undefined
      if (length === 0) return end ?? at + 1
      if ((length & 0xc0) === 0xc0) {
        if (at + 1 >= this.bytes.length || ++jumps > maxJumps) return undefined
        const to = this.view.getUint16(at) & 0x3fff
        end ??= at + 2
        if (to >= segment || to < headerBytes) return undefined
        at = segment = to
        continue
      }
      if ((length & 0xc0) !== 0) return undefined
      total += length + 1
      if (total > maxName) return undefined
      at += length + 1
    }
  }

  /** Whether texts fill the bytes from `at` to `end` exactly. */
  textsFill(at: number, end: number): boolean {
    while (at < end) at += 1 + (this.bytes[at] ?? 0)
    return at === end
  }

  /** Whether the content of a record is as its type says. */
  isWhole(type: number, at: number, end: number): boolean {
    switch (type) {
      case typeA:
        return end - at === 4
      case typeAaaa:
        return end - at === 16
      case typePtr:
        return this.nameEnd(at) === end
      case typeSrv:
        return end - at > 6 && this.nameEnd(at + 6) === end
      case typeTxt:
        return this.textsFill(at, end)
      default:
        return true
    }
  }
}

const isRead = (type: number): boolean =>
  type === typeA || type === typeAaaa || type === typePtr || type === typeSrv || type === typeTxt

/** Measures a packet; gives one that is safe to decode, or says why there is none. */
export const guard = (packet: Uint8Array): Result.Result<Guarded, PacketError> => {
  if (packet.length < headerBytes) return fail("shorter than a header")
  if (packet.length > maxBytes) return fail("larger than multicast DNS allows")
  const bytes = new Uint8Array(packet)
  const walk = new Walk(bytes)
  const { view } = walk
  const questions = view.getUint16(4)
  const records = view.getUint16(6) + view.getUint16(8) + view.getUint16(10)
  if (questions > maxQuestions) return fail("too many questions")
  if (records > maxRecords) return fail("too many records")
  // An opcode or an error: not for multicast DNS.
  if ((view.getUint16(2) & 0x780f) !== 0) return fail("neither a question nor an answer")

  const unicast: Array<boolean> = []
  for (let i = 0; i < questions; i++) {
    const end = walk.nameEnd(walk.at)
    if (end === undefined) return fail("a question has no name")
    walk.at = end
    if (!walk.has(4)) return fail("a question is cut short")
    const kind = view.getUint16(end + 2)
    unicast.push((kind & topBit) !== 0)
    view.setUint16(end + 2, kind & ~topBit)
    walk.at = end + 4
  }
  for (let i = 0; i < records; i++) {
    const end = walk.nameEnd(walk.at)
    if (end === undefined) return fail("a record has no name")
    walk.at = end
    if (!walk.has(10)) return fail("a record is cut short")
    const type = view.getUint16(end)
    const content = end + 10
    const after = content + view.getUint16(end + 8)
    if (after > bytes.length) return fail("a record is cut short")
    if (!isRead(type)) view.setUint16(end, typeOpaque)
    else if (!walk.isWhole(type, content, after)) return fail("a record is not as its type says")
    walk.at = after
  }
  return Result.succeed({ bytes, unicast })
}
