/**
 * The protocols that a multiaddr may name: their codes, and how each value is
 * written as text and as bytes. The text of a value is always the canonical
 * one, so that one address has one text and one binary form.
 *
 * https://github.com/multiformats/multiaddr/blob/master/protocols.csv
 */
import * as Result from "effect/Result"
import * as Bytes from "./Bytes.ts"
import * as Ip from "./IpAddress.ts"
import * as Multibase from "./Multibase.ts"
import * as PeerId from "./PeerId.ts"
import * as Varint from "./Varint.ts"

/** A value of a component: text and bytes; the peer, for `/p2p`. */
export interface Value {
  readonly text: string
  readonly bytes: Uint8Array
  readonly peer?: PeerId.PeerId
}

interface ValueCodec {
  /** Bytes of the value, or `undefined` if a length goes before it. */
  readonly size: number | undefined
  /** What a value is, for errors: "an IPv4 address". */
  readonly expected: string
  readonly parse: (text: string) => Value | undefined
  readonly read: (bytes: Uint8Array) => Value | undefined
}

/** A codec whose text form follows from its bytes. */
const codec = (
  size: number | undefined,
  expected: string,
  toBytes: (text: string) => Uint8Array | undefined,
  toText: (bytes: Uint8Array) => string | undefined
): ValueCodec => {
  const read = (bytes: Uint8Array): Value | undefined => {
    const text = toText(bytes)
    return text === undefined ? undefined : { text, bytes }
  }
  return {
    size,
    expected,
    read,
    parse: (text) => {
      const bytes = toBytes(text)
      return bytes === undefined ? undefined : read(bytes)
    }
  }
}

const ip4 = codec(4, "an IPv4 address", Ip.parse4, Ip.format4)
const ip6 = codec(16, "an IPv6 address", Ip.parse6, Ip.format6)

const readUint16 = (bytes: Uint8Array): number => ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)

const port = codec(
  2,
  "a port (0 to 65535)",
  (text) => {
    const value = /^\d{1,5}$/.test(text) ? Number(text) : 65_536
    return value > 65_535 ? undefined : Uint8Array.of(value >> 8, value & 0xff)
  },
  (bytes) => String(readUint16(bytes))
)

const prefixLength = codec(
  1,
  "a prefix length (0 to 255)",
  (text) => (/^\d{1,3}$/.test(text) && Number(text) < 256 ? Uint8Array.of(Number(text)) : undefined),
  (bytes) => String(bytes[0])
)

const uint64 = codec(
  8,
  "a number of 64 bits",
  (text) => {
    if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 1n << 64n) return undefined
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text))
    return bytes
  },
  (bytes) => String(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0))
)

// A slash would split the component in two when it is read back; white space and controls are never meant.
// oxlint-disable-next-line no-control-regex
const notInName = /[/\s\u0000-\u001f\u007f]/

/** Names and zones: UTF-8. A surrogate alone has no UTF-8, and comes back as something else. */
const name = (expected: string) =>
  codec(
    undefined,
    expected,
    (text) => (text.isWellFormed() ? Bytes.fromUtf8(text) : undefined),
    (bytes) => {
      const text = bytes.length > 255 ? undefined : Bytes.toUtf8Strict(bytes)
      return text === undefined || text === "" || notInName.test(text) ? undefined : text
    }
  )

const domain = name("a domain name")
const zone = name("a zone of an IPv6 address")

/** Paths may hold slashes: they are percent-encoded as one component, as in `/unix/%2Frun%2Fpeer.sock`. */
const path = codec(
  undefined,
  "a percent-encoded path",
  (text) => {
    try {
      const decoded = decodeURIComponent(text)
      return decoded.isWellFormed() ? Bytes.fromUtf8(decoded) : undefined
    } catch {
      return undefined
    }
  },
  (bytes) => {
    const text = Bytes.toUtf8Strict(bytes)
    return text === undefined || text === "" ? undefined : encodeURIComponent(text)
  }
)

const peerValue = (id: Result.Result<PeerId.PeerId, PeerId.PeerIdError>): Value | undefined =>
  Result.isSuccess(id) ? { text: id.success.toString(), bytes: id.success.bytes, peer: id.success } : undefined

const peer: ValueCodec = {
  size: undefined,
  expected: "a peer id",
  parse: (text) => peerValue(PeerId.fromString(text)),
  read: (bytes) => peerValue(PeerId.fromBytes(bytes))
}

/** A multihash in any base; written as base64url. */
const certhash = codec(undefined, "a multihash in multibase", Multibase.decode, (bytes) => {
  const code = Varint.decode(bytes, 0)
  if (code._tag !== "Complete") return undefined
  const length = Varint.decode(bytes, code.size)
  if (length._tag !== "Complete" || length.value === 0) return undefined
  return code.size + length.size + length.value === bytes.length ? Multibase.toBase64url(bytes) : undefined
})

/** An onion service of version 3: 35 bytes of address in base32, a port of 2 bytes that is not 0. */
const onion3 = codec(
  37,
  "an onion address of version 3 and a port",
  (text) => {
    const match = /^([a-z2-7]{56}):(\d{1,5})$/.exec(text)
    const address = Multibase.decode(`b${match?.[1] ?? "-"}`)
    const portBytes = port.parse(match?.[2] ?? "")?.bytes
    return address === undefined || portBytes === undefined ? undefined : Bytes.concat([address, portBytes])
  },
  (bytes) => {
    const number = readUint16(bytes.subarray(35))
    return number === 0 ? undefined : `${Multibase.toBase32(bytes.subarray(0, 35)).slice(1)}:${number}`
  }
)

/** Every protocol by its name; `undefined` in place of a codec for those without a value. */
const table = {
  ip4: [4, ip4],
  tcp: [6, port],
  udp: [273, port],
  ip6: [41, ip6],
  ip6zone: [42, zone],
  ipcidr: [43, prefixLength],
  dns: [53, domain],
  dns4: [54, domain],
  dns6: [55, domain],
  dnsaddr: [56, domain],
  unix: [400, path],
  p2p: [421, peer],
  https: [443, undefined],
  onion3: [445, onion3],
  tls: [448, undefined],
  sni: [449, domain],
  noise: [454, undefined],
  quic: [460, undefined],
  "quic-v1": [461, undefined],
  webtransport: [465, undefined],
  certhash: [466, certhash],
  ws: [477, undefined],
  wss: [478, undefined],
  http: [480, undefined],
  "http-path": [481, path],
  "webrtc-direct": [280, undefined],
  webrtc: [281, undefined],
  "p2p-circuit": [290, undefined],
  memory: [777, uint64]
} as const satisfies Record<string, readonly [code: number, codec: ValueCodec | undefined]>

export type ProtocolName = keyof typeof table

export interface Protocol {
  readonly name: ProtocolName
  readonly code: number
  readonly value: ValueCodec | undefined
  /** The code as it is written. */
  readonly prefix: Uint8Array
}

const isProtocolName = (key: string): key is ProtocolName => Object.hasOwn(table, key)

const make = (name: ProtocolName): Protocol => {
  const [code, value] = table[name]
  return { name, code, value, prefix: Varint.encode(code) }
}

/** The protocol of `/p2p/<id>`. */
export const p2p = make("p2p")

const all = Object.keys(table)
  .filter(isProtocolName)
  .map((name) => (name === "p2p" ? p2p : make(name)))
const byCode = new Map(all.map((protocol) => [protocol.code, protocol]))
// `ipfs` was the name of `p2p` until 2018, and is still met in configurations.
const byName = new Map<string, Protocol>([["ipfs", p2p], ...all.map((protocol) => [protocol.name, protocol] as const)])

export const ofName = (name: string): Protocol | undefined => byName.get(name)
export const ofCode = (code: number): Protocol | undefined => byCode.get(code)
