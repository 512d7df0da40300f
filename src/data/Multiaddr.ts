/**
 * Multiaddr: how to reach a peer, as a path of protocols:
 * `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…`. It has one binary form, which
 * travels, and one text form, which is always the canonical one.
 *
 * https://github.com/libp2p/specs/blob/master/addressing/README.md
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Bytes from "./Bytes.ts"
import * as Ip from "./IpAddress.ts"
import * as Protocols from "./MultiaddrProtocols.ts"
import type { PeerId } from "./PeerId.ts"
import * as Varint from "./Varint.ts"

/** The longest address read, in bytes. */
export const maxSize = 1024
/** The longest text read, in characters: a byte of a path may take three. */
const maxText = 4 * maxSize
/** The most components of an address read. */
export const maxComponents = 32

/** Text or bytes are not a multiaddr. `input` is the text, or the bytes in hexadecimal, cut to 200 characters. */
export class MultiaddrError extends Schema.TaggedError<MultiaddrError>()("MultiaddrError", {
  input: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.input}: ${this.detail}`
  }
}

const cut = (input: string): string => (input.length > 200 ? `${input.slice(0, 200)}…` : input)

const fail = (input: string, detail: string): Result.Result<never, MultiaddrError> =>
  Result.fail(new MultiaddrError({ input: cut(input), detail }))

/** One step of an address: `{ name: "tcp", value: "4001" }`, `{ name: "ws" }`. */
export interface Component {
  readonly name: Protocols.ProtocolName
  /** The value in its canonical text; absent for protocols that have none. */
  readonly value?: string
}

/** A component with what was worked out while reading it. */
interface Part {
  readonly protocol: Protocols.Protocol
  readonly value: Protocols.Value | undefined
}

const toComponent = ({ protocol, value }: Part): Component =>
  value === undefined ? { name: protocol.name } : { name: protocol.name, value: value.text }

const toText = ({ protocol, value }: Part): string =>
  value === undefined ? `/${protocol.name}` : `/${protocol.name}/${value.text}`

const toBytes = (parts: ReadonlyArray<Part>): Uint8Array => {
  const pieces: Array<Uint8Array> = []
  for (const { protocol, value } of parts) {
    pieces.push(protocol.prefix)
    if (value === undefined) continue
    if (protocol.value?.size === undefined) pieces.push(Varint.encode(value.bytes.length))
    pieces.push(value.bytes)
  }
  return Bytes.concat(pieces)
}

/** An address. Immutable; equal addresses are equal to Effect's `Equal`. */
export class Multiaddr implements Equal.Equal {
  /** The binary form. Do not change it. */
  readonly bytes: Uint8Array
  readonly components: ReadonlyArray<Component>
  readonly #parts: ReadonlyArray<Part>
  readonly #text: string
  #hash: number | undefined
  #reach: Reach | undefined

  /** @internal Use `fromString` or `fromBytes`. */
  constructor(parts: ReadonlyArray<Part>) {
    this.#parts = parts
    this.bytes = toBytes(parts)
    this.components = parts.map(toComponent)
    this.#text = parts.map(toText).join("")
  }

  /** @internal */
  static parts(address: Multiaddr): ReadonlyArray<Part> {
    return address.#parts
  }

  /** @internal Asked of an address again and again, and always the same. */
  static reach(address: Multiaddr): Reach {
    address.#reach ??= reachOf(address)
    return address.#reach
  }

  toString(): string {
    return this.#text
  }

  toJSON(): string {
    return this.#text
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Multiaddr(${this.#text})`
  }

  [Equal.symbol](that: unknown): boolean {
    return that instanceof Multiaddr && Bytes.equals(this.bytes, that.bytes)
  }

  [Hash.symbol](): number {
    this.#hash ??= Hash.string(this.#text)
    return this.#hash
  }
}

const quoted = (text: string): string => `"${text.length > 64 ? `${text.slice(0, 64)}…` : text}"`

const parse = (text: string): ReadonlyArray<Part> | string => {
  if (text === "" || text === "/") return "an address has at least one component"
  if (!text.startsWith("/")) return "an address starts with /"
  if (text.length > maxText) return `${text.length} characters, over the limit of ${maxText}`
  const words = (text.endsWith("/") ? text.slice(1, -1) : text.slice(1)).split("/")
  const parts: Array<Part> = []
  for (let i = 0; i < words.length; i++) {
    const name = words[i] ?? ""
    const protocol = Protocols.ofName(name)
    if (protocol === undefined) return `${quoted(name)} is not a protocol`
    if (parts.length === maxComponents) return `over the limit of ${maxComponents} components`
    if (protocol.value === undefined) {
      parts.push({ protocol, value: undefined })
      continue
    }
    const word = words[++i]
    if (word === undefined) return `"${name}" needs ${protocol.value.expected} after it`
    const value = protocol.value.parse(word)
    if (value === undefined) return `${quoted(word)} is not ${protocol.value.expected}`
    parts.push({ protocol, value })
  }
  return parts
}

/**
 * Reads an address. One slash at its end is forgiven; `/ipfs/<id>` is read as
 * `/p2p/<id>`. At most 1024 bytes and 32 components. The error names the part
 * that is wrong: `/ip4/999.1.1.1/tcp/1: "999.1.1.1" is not an IPv4 address`.
 */
export const fromString = (text: string): Result.Result<Multiaddr, MultiaddrError> => {
  const parts = parse(text)
  if (typeof parts === "string") return fail(text === "" ? '""' : text, parts)
  const address = new Multiaddr(parts)
  return address.bytes.length > maxSize
    ? fail(text, `${address.bytes.length} bytes, over the limit of ${maxSize}`)
    : Result.succeed(address)
}

/** `fromString` for literals in code: it throws a `MultiaddrError`, so never give it text from outside. */
export const fromStringUnsafe = (text: string): Multiaddr => Result.getOrThrow(fromString(text))

const read = (bytes: Uint8Array): ReadonlyArray<Part> | string => {
  if (bytes.length === 0) return "an address has at least one component"
  if (bytes.length > maxSize) return `${bytes.length} bytes, over the limit of ${maxSize}`
  const parts: Array<Part> = []
  let offset = 0
  while (offset < bytes.length) {
    const code = Varint.decode(bytes, offset)
    if (code._tag !== "Complete") return `no code of a protocol at byte ${offset}`
    const protocol = Protocols.ofCode(code.value)
    if (protocol === undefined) return `no protocol has the code ${code.value}, at byte ${offset}`
    if (parts.length === maxComponents) return `over the limit of ${maxComponents} components`
    offset += code.size
    if (protocol.value === undefined) {
      parts.push({ protocol, value: undefined })
      continue
    }
    let size = protocol.value.size
    if (size === undefined) {
      const length = Varint.decode(bytes, offset)
      if (length._tag !== "Complete") return `no length of the value of "${protocol.name}" at byte ${offset}`
      offset += length.size
      size = length.value
    }
    if (size > bytes.length - offset) return `the value of "${protocol.name}" at byte ${offset} is cut short`
    const value = protocol.value.read(bytes.slice(offset, offset + size))
    if (value === undefined)
      return `the value of "${protocol.name}" at byte ${offset} is not ${protocol.value.expected}`
    parts.push({ protocol, value })
    offset += size
  }
  return parts
}

/** Reads the binary form, with the bounds of `fromString`. The address has memory of its own. */
export const fromBytes = (bytes: Uint8Array): Result.Result<Multiaddr, MultiaddrError> => {
  const parts = read(bytes)
  return typeof parts === "string"
    ? fail(`0x${Bytes.toHex(bytes.subarray(0, 100))}`, parts)
    : Result.succeed(new Multiaddr(parts))
}

/** `b` after `a`. The bounds hold for addresses that are read: the sum of two may be larger. */
export const encapsulate = (a: Multiaddr, b: Multiaddr): Multiaddr =>
  new Multiaddr([...Multiaddr.parts(a), ...Multiaddr.parts(b)])

const beforePeer = (address: Multiaddr): ReadonlyArray<Part> => {
  const parts = Multiaddr.parts(address)
  return parts.at(-1)?.protocol === Protocols.p2p ? parts.slice(0, -1) : parts
}

/** The address with `/p2p/<id>` at its end, in place of one that is there. */
export const withPeer = (address: Multiaddr, id: PeerId): Multiaddr =>
  new Multiaddr([
    ...beforePeer(address),
    { protocol: Protocols.p2p, value: { text: id.toString(), bytes: id.bytes, peer: id } }
  ])

/** The address without `/p2p/<id>` at its end; `undefined` when nothing else is left. */
export const withoutPeer = (address: Multiaddr): Multiaddr | undefined => {
  const parts = beforePeer(address)
  if (parts.length === address.components.length) return address
  return parts.length === 0 ? undefined : new Multiaddr(parts)
}

/**
 * The peer that the address leads to: of the last `/p2p/<id>`, unless a
 * `/p2p-circuit` follows it, since that one is only the relay.
 */
export const peerId = (address: Multiaddr): PeerId | undefined => {
  const last = Multiaddr.parts(address).findLast(
    ({ protocol }) => protocol === Protocols.p2p || protocol.name === "p2p-circuit"
  )
  return last?.value?.peer
}

/** Where a socket goes. `host` is a literal address; an IPv6 zone is written `fe80::1%eth0`. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly family: 4 | 6
  readonly transport: "tcp" | "udp"
}

/**
 * The endpoint of an address that is an IP address and a TCP or UDP port and
 * nothing more (a `/p2p/<id>` at its end does not matter); `undefined` for all
 * others, such as those of QUIC or WebSocket.
 */
export const toEndpoint = (address: Multiaddr): Endpoint | undefined => {
  const components = address.components
  const zone = components[0]?.name === "ip6zone" ? components[0] : undefined
  const start = zone === undefined ? 0 : 1
  const [ip, transport, peer, ...rest] = components.slice(start)
  if (ip?.value === undefined || transport?.value === undefined || rest.length > 0) return undefined
  if (peer !== undefined && peer.name !== "p2p") return undefined
  if (transport.name !== "tcp" && transport.name !== "udp") return undefined
  const port = Number(transport.value)
  if (ip.name === "ip4" && zone === undefined) return { host: ip.value, port, family: 4, transport: transport.name }
  if (ip.name !== "ip6") return undefined
  const host = zone?.value === undefined ? ip.value : `${ip.value}%${zone.value}`
  return { host, port, family: 6, transport: transport.name }
}

/**
 * The address of an endpoint. `host` is a literal address; a zone becomes
 * `/ip6zone`, and an IPv4-mapped IPv6 address, as sockets of both families
 * report it, becomes `/ip4`.
 */
export const fromEndpoint = (
  host: string,
  port: number,
  transport: "tcp" | "udp"
): Result.Result<Multiaddr, MultiaddrError> => {
  // What follows is built as text, in which a slash would start another component.
  if (host.includes("/")) return fail(host, "it is not an IP address")
  const percent = host.indexOf("%")
  const address = percent === -1 ? host : host.slice(0, percent)
  const rest = `/${transport}/${port}`
  if (!address.includes(":")) return fromString(`/ip4/${host}${rest}`)
  const bytes = Ip.parse6(address)
  const mapped = bytes === undefined ? undefined : Ip.mapped4(bytes)
  if (mapped !== undefined) return fromString(`/ip4/${Ip.format4(mapped)}${rest}`)
  return fromString(`${percent === -1 ? "" : `/ip6zone/${host.slice(percent + 1)}`}/ip6/${address}${rest}`)
}

/** A name that must be looked up before the address can be dialled. */
export interface DnsName {
  readonly kind: "dns" | "dns4" | "dns6" | "dnsaddr"
  readonly name: string
}

/** The name that the address starts with, if it starts with one. */
export const dnsName = (address: Multiaddr): DnsName | undefined => {
  const first = address.components[0]
  if (first?.value === undefined) return undefined
  switch (first.name) {
    case "dns":
    case "dns4":
    case "dns6":
    case "dnsaddr":
      return { kind: first.name, name: first.value }
    default:
      return undefined
  }
}

/** The bytes of the IP address that the address starts with, 4 or 16. */
export const ipBytes = (address: Multiaddr): Uint8Array | undefined => {
  const parts = Multiaddr.parts(address)
  const first = parts[0]?.protocol.name === "ip6zone" ? parts[1] : parts[0]
  return first?.protocol.name === "ip4" || first?.protocol.name === "ip6" ? first.value?.bytes : undefined
}

const whenIp =
  (test: (ip: Uint8Array) => boolean) =>
  (address: Multiaddr): boolean => {
    const ip = ipBytes(address)
    return ip !== undefined && test(ip)
  }

/** It starts with an address of 127.0.0.0/8, or ::1. */
export const isLoopback = whenIp(Ip.isLoopback)

/** It starts with an address of a private, shared, link-local or unique-local network. Loopback is not one. */
export const isPrivate = whenIp(Ip.isPrivate)

/** It starts with 0.0.0.0 or ::, which stand for all addresses of a machine. */
export const isUnspecified = whenIp(Ip.isUnspecified)

/** How far an address leads: to this machine, into a private network, or anywhere. */
export type Reach = "loopback" | "private" | "public"

const reachOfIp = (ip: Uint8Array): Reach =>
  Ip.isLoopback(ip) || Ip.isUnspecified(ip) ? "loopback" : Ip.isPrivate(ip) ? "private" : "public"

/**
 * Domains that the public name servers do not have: of multicast DNS (RFC 6762),
 * of homes (RFC 8375), reserved for private use (`internal`), and those that are
 * used so all the same (RFC 6762, appendix G).
 */
const privateDomains = /(^|\.)(local|home\.arpa|internal|localdomain|intranet|private|corp|home|lan)$/

const reachOfName = (written: string): Reach => {
  const name = written.toLowerCase().replace(/\.$/, "")
  if (/(^|\.)localhost$/.test(name) || name === "localhost.localdomain") return "loopback"
  const ip = Ip.parse4(name) ?? Ip.parse6(name)
  if (ip !== undefined) return reachOfIp(ip)
  // One word alone is a host of the network that it is asked in.
  return !name.includes(".") || privateDomains.test(name) ? "private" : "public"
}

const reachOf = (address: Multiaddr): Reach => {
  const ip = ipBytes(address)
  if (ip !== undefined) return reachOfIp(ip)
  const dns = dnsName(address)
  if (dns !== undefined) return reachOfName(dns.name)
  const first = address.components[0]?.name
  return first === "memory" || first === "unix" ? "loopback" : "public"
}

/**
 * How far the address leads. Those of this machine that are no IP addresses
 * count as loopback, as does 0.0.0.0, which systems connect to themselves, and
 * `localhost`. A name counts as private when it is one word, or of a domain that
 * the public name servers do not have, such as `local`, and as public else: it
 * is not looked up.
 */
export const reach = (address: Multiaddr): Reach => Multiaddr.reach(address)

export const equals = (a: Multiaddr, b: Multiaddr): boolean => a === b || Bytes.equals(a.bytes, b.bytes)

export const isMultiaddr = (value: unknown): value is Multiaddr => value instanceof Multiaddr

/** Schema of an address itself. */
export const schema = Schema.declare(isMultiaddr, { identifier: "Multiaddr", expected: "a multiaddr" })

/** Schema that reads an address from text, and writes the canonical text. */
export const FromString = Schema.String.pipe(
  Schema.decodeTo(
    schema,
    SchemaTransformation.transformEffect({
      decode: (text: string, options) =>
        Result.match(fromString(text), {
          onSuccess: (address) => Effect.succeed(address),
          onFailure: (error) =>
            Effect.fail(new SchemaIssue.InvalidValue({ expected: `a multiaddr (${error.detail})` }, text, options))
        }),
      encode: (address: Multiaddr) => Effect.succeed(address.toString())
    })
  )
)
