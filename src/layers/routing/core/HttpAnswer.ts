/**
 * Reads an answer of the delegated routing HTTP API as its bytes come: a JSON
 * object, or a record a line. Pure. Records that are not peers are passed over;
 * an answer that is no such JSON, or too large, is refused in words.
 *
 * https://specs.ipfs.tech/routing/http-routing-v1/
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../../../data/Bytes.ts"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as PeerId from "../../../data/PeerId.ts"
import type { RoutedPeer } from "../../../services/PeerRouting.ts"

export interface Limits {
  /** Of the whole answer, in bytes. */
  readonly bytes: number
  /** Of one record of an answer in lines, in bytes. */
  readonly recordBytes: number
  /** Addresses of a peer that are kept. */
  readonly addresses: number
}

export const defaults: Limits = { bytes: 4 * 2 ** 20, recordBytes: 64 * 1024, addresses: 32 }

/** The kinds of content that can be read. */
export type Kind = "json" | "ndjson"

/** What a `Content-Type` says; `undefined` for what cannot be read. */
export const kindOf = (contentType: string | undefined): Kind | undefined => {
  switch (contentType?.split(";")[0]?.trim().toLowerCase()) {
    case "application/json":
      return "json"
    case "application/x-ndjson":
      return "ndjson"
    default:
      return undefined
  }
}

// Go writes null for a list of nothing; what is wrong with one address is no fault of the others.
const Peer = Schema.Struct({
  ID: Schema.String,
  Addrs: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Unknown)))
})
const decodePeer = Schema.decodeUnknownOption(Peer)

/** The address as one of the peer, without its id; `undefined` if it is not an address, or one of another peer. */
const readAddress = (peer: PeerId.PeerId, text: unknown): Multiaddr.Multiaddr | undefined => {
  if (typeof text !== "string") return undefined
  const address = Result.getOrUndefined(Multiaddr.fromString(text))
  if (address === undefined) return undefined
  const named = Multiaddr.peerId(address)
  if (named !== undefined && !PeerId.equals(named, peer)) return undefined
  return Multiaddr.withoutPeer(address)
}

/** A record as a peer, whatever its schema is called; `undefined` if it is none. */
const readPeer = (record: unknown, limits: Limits): RoutedPeer | undefined => {
  const decoded = Option.getOrUndefined(decodePeer(record))
  if (decoded === undefined) return undefined
  const peer = Result.getOrUndefined(PeerId.fromString(decoded.ID))
  if (peer === undefined) return undefined
  const addresses = new Map<string, Multiaddr.Multiaddr>()
  for (const text of decoded.Addrs ?? []) {
    if (addresses.size === limits.addresses) break
    const address = readAddress(peer, text)
    if (address !== undefined) addresses.set(address.toString(), address)
  }
  return { peer, addresses: [...addresses.values()] }
}

const parse = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

export class AnswerReader {
  private readonly kind: Kind
  /** The name of the list in an answer that is one object. */
  private readonly field: string
  private readonly limits: Limits
  private parts: Array<Uint8Array> = []
  private pending = 0
  private total = 0

  constructor(kind: Kind, field: string, limits: Limits = defaults) {
    this.kind = kind
    this.field = field
    this.limits = limits
  }

  /** The peers that these bytes complete, or what is wrong. */
  push(bytes: Uint8Array): ReadonlyArray<RoutedPeer> | string {
    this.total += bytes.length
    if (this.total > this.limits.bytes) return `the answer is over the limit of ${this.limits.bytes} bytes`
    if (this.kind === "json") {
      this.keep(bytes)
      return []
    }
    const peers: Array<RoutedPeer> = []
    let start = 0
    for (;;) {
      const end = bytes.indexOf(0x0a, start)
      this.keep(bytes.subarray(start, end === -1 ? bytes.length : end))
      if (this.pending > this.limits.recordBytes) {
        return `a record is over the limit of ${this.limits.recordBytes} bytes`
      }
      if (end === -1) return peers
      const line = this.line()
      if (typeof line === "string") return line
      peers.push(...line)
      start = end + 1
    }
  }

  /** The peers that the end of the answer completes, or what is wrong. */
  end(): ReadonlyArray<RoutedPeer> | string {
    if (this.kind === "ndjson") return this.line()
    const parsed = parse(Bytes.toUtf8(this.take()))
    if (parsed === undefined) return "the answer is not JSON"
    const { value } = parsed
    if (typeof value !== "object" || value === null || Array.isArray(value)) return "the answer is not an object"
    const list: unknown = Object.entries(value).find(([name]) => name === this.field)?.[1] ?? []
    return Array.isArray(list) ? this.peers(list) : `${this.field} in the answer is not a list`
  }

  private peers(records: ReadonlyArray<unknown>): ReadonlyArray<RoutedPeer> {
    return records.flatMap((record) => readPeer(record, this.limits) ?? [])
  }

  private keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.parts.push(bytes.slice())
    this.pending += bytes.length
  }

  private take(): Uint8Array {
    const whole = Bytes.concat(this.parts)
    this.parts = []
    this.pending = 0
    return whole
  }

  private line(): ReadonlyArray<RoutedPeer> | string {
    const text = Bytes.toUtf8(this.take()).trim()
    if (text === "") return []
    const parsed = parse(text)
    return parsed === undefined ? "a line of the answer is not JSON" : this.peers([parsed.value])
  }
}
