/**
 * What a peer says of itself, and what is read from what others say. Pure.
 *
 * Specification: libp2p/specs, discovery/mdns.md; RFC 6763.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import * as Ip from "../../../data/IpAddress.ts"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import * as Known from "./Known.ts"
import { type Link, leadsTo } from "./Links.ts"
import * as Names from "./Names.ts"
import { encode, type Message, type Rec } from "./Packet.ts"

/** In seconds: what is not repeated in this time is forgotten. */
export const ttl = 120
/** What others say lasts no longer than this, whatever they say. */
const maxTtl = 600
/** Bytes of a text of a TXT record, and of all of them: a packet is to fit into a frame of Ethernet. */
const maxText = 255
const maxTexts = 800
/** Addresses that are read from one packet, of all peers. */
const maxAddresses = 64
const prefix = "dnsaddr="

export interface Self {
  readonly peer: PeerId
  /** Its peer name, without the service. */
  readonly name: string
  readonly service: string
}

/** The name under which it is in the service. */
export const instance = ({ name, service }: Self): string => `${name}.${service}`

const hostOf = ({ name }: Self): string => `${name}.p2p.local`

/** Of its addresses those that a packet has room for, with their texts. */
const fitting = (self: Self, addresses: ReadonlyArray<Multiaddr.Multiaddr>) => {
  const found: Array<{ readonly address: Multiaddr.Multiaddr; readonly text: Uint8Array }> = []
  let size = 0
  for (const address of addresses) {
    const text = Bytes.fromUtf8(`${prefix}${Multiaddr.withPeer(address, self.peer).toString()}`)
    if (text.length > maxText || size + text.length + 1 > maxTexts) continue
    found.push({ address, text })
    size += text.length + 1
  }
  return found
}

/** Whether this is what it says of its addresses itself, in any order, as far as it is read on a link. */
export const isOwn = (
  self: Self,
  link: Link,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  said: ReadonlyArray<Multiaddr.Multiaddr>
): boolean => {
  const read = fitting(self, addresses).filter(({ address }) => leadsTo(link, address))
  const own = new Set(read.map(({ address }) => address.toString()))
  return own.size === new Set(said.map(String)).size && said.every((address) => own.has(address.toString()))
}

/** The records of a peer for one link; the addresses are those that can be used there. */
const records = (
  self: Self,
  link: Link,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>
): { readonly pointer: Rec; readonly details: ReadonlyArray<Rec> } => {
  const name = instance(self)
  const host = hostOf(self)
  const texts = fitting(self, addresses).map(({ text }) => text)
  const port = addresses.map((address) => Multiaddr.toEndpoint(address)?.port).find((port) => port !== undefined)
  const hosts = link.own.flatMap((ip): ReadonlyArray<Rec> => {
    const type = ip.length === 4 ? "A" : "AAAA"
    return [{ name: host, ttl, flush: true, type, host: ip.length === 4 ? Ip.format4(ip) : Ip.format6(ip) }]
  })
  const first = (type: "A" | "AAAA") => hosts.filter((rec) => rec.type === type).slice(0, 1)
  return {
    pointer: { name: self.service, ttl, flush: false, type: "PTR", target: name },
    details: [
      { name, ttl, flush: true, type: "TXT", texts },
      { name, ttl, flush: true, type: "SRV", port: port ?? 0, target: host },
      ...first("A"),
      ...first("AAAA")
    ]
  }
}

/** That it is there: the answer to those who look for all peers. `direct`: to those who ask for its details by name. */
export const hello = (
  self: Self,
  link: Link,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  direct = false
): Message => {
  const { details, pointer } = records(self, link, addresses)
  return {
    kind: "response",
    questions: [],
    answers: direct ? [pointer, ...details] : [pointer],
    additionals: direct ? [] : details
  }
}

/** Bytes of a packet that fits into a frame of Ethernet, with what is around it. */
const maxPacket = 1400

/**
 * That it is whom a question is for, and the content that was asked for, if it
 * is small enough; of more, only that it is here.
 */
export const answer = (
  self: Self,
  link: Link,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  question: string,
  content: Uint8Array | undefined
): Uint8Array => {
  const { details, pointer } = records(self, link, addresses)
  const message: Message = {
    kind: "response",
    questions: [],
    answers: [{ ...pointer, name: question }],
    additionals: details.filter(({ type }) => type === "TXT")
  }
  const plain = encode(message)
  if (content === undefined || plain.length + content.length > maxPacket) return plain
  const texts: Array<Uint8Array> = []
  for (let at = 0; at < content.length; at += maxText) texts.push(content.subarray(at, at + maxText))
  const whole = encode({
    ...message,
    additionals: [...message.additionals, { name: question, ttl, flush: false, type: "TXT", texts }]
  })
  return whole.length > maxPacket ? plain : whole
}

/** That it goes. */
export const goodbye = (self: Self): Message => ({
  kind: "response",
  questions: [],
  answers: [{ name: self.service, ttl: 0, flush: false, type: "PTR", target: instance(self) }],
  additionals: []
})

/** Which service there is, for tools that ask for all. */
export const serviceAnswer = (service: string): Message => ({
  kind: "response",
  questions: [],
  answers: [{ name: Names.meta, ttl, flush: false, type: "PTR", target: service }],
  additionals: []
})

/** In seconds: who asks as other resolvers do does not hear what changes, and is not to remember for long. */
const briefTtl = 10

/** An answer as it is given to one alone, who asks as other resolvers do; RFC 6762, section 6.7. */
export const toOne = ({ additionals, answers, kind }: Message, { id, questions }: Message): Message => {
  const brief = (rec: Rec): Rec => ({ ...rec, ttl: Math.min(rec.ttl, briefTtl), flush: false })
  return { kind, id, questions, answers: answers.map(brief), additionals: additionals.map(brief) }
}

/** What a query knows, in the digests of names. */
export const known = (service: string, what: Known.Known): Rec => ({
  name: Names.knownOf(service),
  ttl,
  flush: false,
  type: "TXT",
  texts: Known.encode(what)
})

/** Whether a record in a query says that who asks knows this peer, and for a while yet; RFC 6762, section 7.1. */
export const isKnownBy = (self: Self, rec: Rec): boolean =>
  rec.type === "PTR" && rec.name === self.service && rec.target === instance(self) && rec.ttl * 2 >= ttl

/** Whether a question is for the details of this peer. */
export const isAbout = (self: Self, name: string): boolean => name === instance(self) || name === hostOf(self)

// ---- what others say

/** A peer of which a packet tells, under one of its names. */
export interface Heard {
  readonly peer: PeerId
  /** The whole name, such as `x…._p2p._udp.local`. */
  readonly name: string
  readonly service: string
  readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
  readonly ttl: number
  /** What was said under the name before does not hold any more. */
  readonly replaces: boolean
}

export interface Said {
  readonly heard: ReadonlyArray<Heard>
  /** Names of those that go. */
  readonly gone: ReadonlyArray<string>
  /** Answers to questions for a peer or a key, by the question's name: the whole names of who answers. */
  readonly answers: ReadonlyMap<string, ReadonlySet<string>>
  /** What is said under a question's name, beside who answers. */
  readonly contents: ReadonlyMap<string, Uint8Array>
  /** Services of which is told. */
  readonly services: ReadonlyArray<string>
}

/** The service of a peer's whole name. */
const serviceIn = (name: string): string | undefined => {
  const dot = name.indexOf(".")
  const service = name.slice(dot + 1)
  return dot > 0 && dot <= 63 && Names.isService(service) ? service : undefined
}

const isQuestion = (name: string): boolean => /^[0-9a-f]{32}\.(?:_peer|_key|_record)\./.test(name)

/** Texts whose address is remembered: the same are heard again and again, and reading one takes most of the time. */
const maxRemembered = 4096

interface Read {
  readonly peer: PeerId
  readonly address: Multiaddr.Multiaddr
  /** Without the peer. */
  readonly bare: Multiaddr.Multiaddr
}

const readAddress = (text: string): Read | undefined => {
  const address = Result.getOrUndefined(Multiaddr.fromString(text))
  if (address === undefined) return undefined
  const peer = Multiaddr.peerId(address)
  const bare = Multiaddr.withoutPeer(address)
  return peer === undefined || bare === undefined ? undefined : { peer, address, bare }
}

/** Reads the addresses of texts, each once. */
export class Addresses {
  private readonly known = new Map<string, Read | undefined>()

  read(text: string): Read | undefined {
    if (this.known.has(text)) return this.known.get(text)
    if (this.known.size >= maxRemembered) this.known.clear()
    const read = readAddress(text)
    this.known.set(text, read)
    return read
  }
}

/** The addresses of a TXT record that lead to the link, by the peers that they name. */
const addressesIn = (
  texts: ReadonlyArray<Uint8Array>,
  link: Link,
  room: () => boolean,
  addresses: Addresses
): Iterable<{ readonly peer: PeerId; readonly addresses: Array<Multiaddr.Multiaddr> }> => {
  const found = new Map<string, { readonly peer: PeerId; readonly addresses: Array<Multiaddr.Multiaddr> }>()
  for (const text of texts) {
    if (!room()) break
    const plain = Bytes.toUtf8(text)
    if (!plain.startsWith(prefix)) continue
    const read = addresses.read(plain.slice(prefix.length))
    if (read === undefined || !leadsTo(link, read.address)) continue
    const id = read.peer.toString()
    const known = found.get(id) ?? { peer: read.peer, addresses: [] }
    known.addresses.push(read.bare)
    found.set(id, known)
  }
  return found.values()
}

/** What a response says, for those who listen to these services. */
export const read = (
  message: Message,
  link: Link,
  services: ReadonlySet<string>,
  texts: Addresses = new Addresses()
): Said => {
  // Some say each address in a record of its own: together they are what is said.
  const heard = new Map<string, Heard & { readonly addresses: Array<Multiaddr.Multiaddr> }>()
  const gone: Array<string> = []
  const answers = new Map<string, Set<string>>()
  const contents = new Map<string, Uint8Array>()
  const told: Array<string> = []
  let left = maxAddresses
  const room = () => left-- > 0
  for (const rec of [...message.answers, ...message.additionals]) {
    if (rec.type === "PTR") {
      if (rec.name === Names.meta && Names.isService(rec.target)) told.push(rec.target)
      else if (services.has(rec.name) && rec.ttl === 0) gone.push(rec.target)
      else if (isQuestion(rec.name) && rec.ttl > 0) {
        answers.set(rec.name, (answers.get(rec.name) ?? new Set()).add(rec.target))
      }
      continue
    }
    if (rec.type !== "TXT") continue
    if (isQuestion(rec.name)) contents.set(rec.name, Bytes.concat(rec.texts))
    const service = serviceIn(rec.name)
    if (service === undefined || !services.has(service)) continue
    if (rec.ttl === 0) {
      gone.push(rec.name)
      continue
    }
    for (const { addresses, peer } of addressesIn(rec.texts, link, room, texts)) {
      const key = `${rec.name} ${peer.toString()}`
      const known = heard.get(key)
      if (known !== undefined) known.addresses.push(...addresses)
      else {
        const lasts = Math.min(rec.ttl, maxTtl)
        heard.set(key, { peer, name: rec.name, service, addresses, ttl: lasts, replaces: rec.flush })
      }
    }
  }
  return { heard: [...heard.values()], gone, answers, contents, services: told }
}
