/**
 * One peer on the local network: it asks who is there, answers those who ask,
 * and knows who was heard. It does no input and output and reads no clock:
 * packets and the time go in, packets, events and the next deadline come out.
 *
 * ```
 * receive, tick, setLinks, probe ... ──> Lan ──> takePackets, takeEvents, nextAt
 *                                         ├─ Talk a link    what is said, and when
 *                                         ├─ Table          who was heard
 *                                         └─ Questions      what is asked for
 * ```
 *
 * Specification: libp2p/specs, discovery/mdns.md; RFC 6762. Questions for a peer
 * or a key are an addition: those who do not know them do not answer.
 */
import * as Result from "effect/Result"
import type * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import type { Endpoint } from "../../../services/Net.ts"
import { type Codec, plain } from "./Codec.ts"
import * as Announcement from "./Announcement.ts"
import type { Present } from "./Hearsay.ts"
import * as Links from "./Links.ts"
import * as Names from "./Names.ts"
import * as Packet from "./Packet.ts"
import { Questions } from "./Probing.ts"
import { type Change, type Limits, Table } from "./Table.ts"
import { type Speaker, Talk } from "./Talk.ts"

export interface Options {
  readonly peer: PeerId
  /** The name of the service, of `Names.serviceOf`. */
  readonly service: string
  /** Of multicast DNS; default 5353. */
  readonly port?: number | undefined
  /** It looks at all services and answers nobody. Default false. */
  readonly watches?: boolean | undefined
  /** In `[0, 1)`. */
  readonly random: () => number
  readonly limits?: Partial<Limits> | undefined
  /** Whether there is a connection with the peer of this id. Default: with none. */
  readonly isProven?: ((id: string) => boolean) | undefined
  /** Whether it answers those who ask this question: by {@link Lan.answer}, when an event says that it is due. Default: it does not. */
  readonly holds?: ((question: string) => boolean) | undefined
  /** Default: in the clear. */
  readonly codec?: Codec | undefined
}

export interface Outgoing {
  /** The id of the link that it is sent on. */
  readonly link: string
  readonly bytes: Uint8Array
  /** To whom; default: to all on the link. */
  readonly to: Endpoint | undefined
}

export type Event =
  | Change
  | {
      readonly _tag: "Answered"
      readonly question: string
      readonly peer: Present
      /** What the answer said beside that, if anything. */
      readonly content: Uint8Array | undefined
    }
  /** A question that it holds is to be answered on a link. */
  | { readonly _tag: "Wanted"; readonly link: string; readonly question: string }

/** Counts since the start. */
export interface Counters {
  readonly sent: number
  readonly received: number
  /** Packets that are none, came from elsewhere, or from another port. */
  readonly refused: number
  readonly renamed: number
}

/** Where multicast DNS is spoken. */
export const defaultPort = 5353
/** Services that one who looks at all asks for. */
const maxServices = 16
/** New names in the life of a node: who takes it for another can make it do so without end. */
const maxRenames = 16
/** A tick that comes so late tells that the machine slept. */
const sleptMs = 10_000

export class Lan {
  private readonly options: Options
  private readonly codec: Codec
  private readonly port: number
  private readonly table: Table
  private readonly links = new Map<string, Talk>()
  private readonly speaker: Speaker
  private readonly services: Set<string>
  private readonly questions = new Questions()
  private readonly texts = new Announcement.Addresses()
  private readonly packets: Array<Outgoing> = []
  private readonly events: Array<Event> = []
  private self: Announcement.Self
  private readonly counts = { sent: 0, received: 0, refused: 0, renamed: 0 }
  private lastTickDue = Number.POSITIVE_INFINITY

  constructor(options: Options) {
    const { codec, holds, isProven, limits, peer, port, random, service, watches } = options
    this.options = options
    this.port = port ?? defaultPort
    this.codec = codec ?? plain
    this.table = new Table(limits, isProven)
    this.services = new Set([service])
    this.self = { peer, name: Names.peerName(random), service }
    this.speaker = {
      self: () => this.self,
      watches: watches === true,
      random,
      services: this.services,
      holds: holds ?? (() => false),
      knows: (digest) => this.table.knows(digest),
      isAskedFor: (known, now) => this.table.isAskedFor(known, now),
      query: (service, link, digests, now) => this.table.query(service, link, digests, now)
    }
  }

  // ---- what is there

  get peers(): ReadonlyArray<Present> {
    return this.table.all()
  }

  get size(): number {
    return this.table.size
  }

  get(id: string): Present | undefined {
    return this.table.get(id)
  }

  get counters(): Counters {
    return { ...this.counts }
  }

  /** Its peer name. */
  get name(): string {
    return this.self.name
  }

  /** Packets to be sent now, in order. */
  takePackets(now: number): ReadonlyArray<Outgoing> {
    return this.packets
      .splice(0)
      .flatMap(({ bytes, link, to }) => this.codec.encode(bytes, now).map((sent) => ({ link, bytes: sent, to })))
  }

  takeEvents(): ReadonlyArray<Event> {
    return this.events.splice(0)
  }

  /** When {@link tick} is due. */
  get nextAt(): number {
    let at = Math.min(this.table.nextAt, this.questions.nextAt)
    for (const talk of this.links.values()) at = Math.min(at, talk.nextAt)
    this.lastTickDue = at
    return at
  }

  // ---- what happens

  /** The links of the machine, as they are now, and where the node listens. What is new is announced and asked. */
  setLinks(links: ReadonlyArray<Links.Link>, addresses: ReadonlyArray<Multiaddr.Multiaddr>, now: number): void {
    const present = new Set(links.map(({ id }) => id))
    for (const id of this.links.keys()) {
      if (present.has(id)) continue
      this.links.delete(id)
      this.events.push(...this.table.leaveLink(id))
    }
    for (const link of links) {
      const usable = Links.ownOn(link, addresses)
      const talk = this.links.get(link.id)
      if (talk === undefined) this.links.set(link.id, new Talk(this.speaker, link, usable, now))
      else talk.change(link, usable, now)
    }
  }

  /** All links are asked and told anew: the machine slept, or its clock was set. */
  restart(now: number): void {
    for (const talk of this.links.values()) talk.refresh(now)
  }

  /** A packet has come on a link. Of those that come from another port than that of multicast DNS only queries count. */
  receive(id: string, from: Endpoint, bytes: Uint8Array, now: number): void {
    const talk = this.links.get(id)
    if (talk === undefined || !Links.isFrom(talk.link, from.host)) return
    const isService = from.port === this.port
    const decoded = isService || this.codec.isPlain ? this.codec.decode(bytes, from.host, now) : undefined
    const isRefused = decoded === undefined || Result.isFailure(decoded)
    if (isRefused || (!isService && decoded.success.kind !== "query")) {
      this.counts.refused++
      return
    }
    this.counts.received++
    if (!isService) this.answerOne(talk, decoded.success, from, now)
    else if (decoded.success.kind === "query") talk.hear(decoded.success, now)
    else this.receiveResponse(talk, decoded.success, from.host, now)
  }

  /** Time has passed. */
  tick(now: number): void {
    const isLate = now - this.lastTickDue > sleptMs
    const { changes, isStale } = this.table.pass(now)
    this.events.push(...changes)
    if (isLate) this.restart(now)
    for (const talk of this.links.values()) {
      if (isStale) talk.hurry(now)
      const { messages, questions } = talk.due(now)
      for (const message of messages) this.send(talk, message)
      for (const question of questions) this.events.push({ _tag: "Wanted", link: talk.link.id, question })
    }
    for (const name of this.questions.due(now)) this.sendQuestion(name)
  }

  /** Says goodbye on all links; whether there is one to say it on. */
  stop(): boolean {
    const links = [...this.links.values()].filter(({ addresses }) => addresses.length > 0)
    if (this.speaker.watches || links.length === 0) return false
    for (const talk of links) this.send(talk, Announcement.goodbye(this.self))
    return true
  }

  // ---- questions for a peer or a key

  /** Asks on all links; answers come as events until {@link endProbe}. */
  probe(question: string, now: number): void {
    this.questions.begin(question, now)
  }

  endProbe(question: string): void {
    this.questions.end(question)
  }

  /** Answers a question on a link, with the content if there is one and it fits. */
  answer(link: string, question: string, content: Uint8Array | undefined): void {
    const talk = this.links.get(link)
    if (talk === undefined || talk.addresses.length === 0) return
    this.sendBytes(link, Announcement.answer(this.self, talk.link, talk.addresses, question, content))
  }

  // ---- within

  private answerOne(talk: Talk, query: Packet.Message, { host, port }: Endpoint, now: number): void {
    const answer = talk.answerOne(query, now)
    if (answer !== undefined) this.sendBytes(talk.link.id, Packet.encode(answer), { host, port })
  }

  private receiveResponse(talk: Talk, response: Packet.Message, source: string, now: number): void {
    const said = Announcement.read(response, talk.link, this.services, this.texts)
    const mine = Announcement.instance(this.self)
    for (const heard of said.heard) {
      if (heard.peer.toString() === this.self.peer.toString()) {
        // Its own words come back to it; these are another's.
        if (heard.name === mine && !this.isOwn(talk.link, heard)) talk.contradict(now)
        continue
      }
      if (heard.name === mine) {
        this.rename(now)
        continue
      }
      const change = this.table.hear(heard, talk.link.id, source, now)
      if (change === undefined) continue
      this.events.push(change)
      // There may be more where it comes from: two networks have become one.
      if (change._tag === "Appeared") talk.suggest(now)
    }
    for (const name of said.gone) {
      if (name === mine) talk.contradict(now)
      else this.table.leave(name, now)
    }
    for (const [question, names] of said.answers) {
      if (this.questions.isOpen(question)) this.receiveAnswers(question, names, said.contents.get(question), source)
    }
    if (this.speaker.watches) {
      for (const service of said.services) if (this.addService(service)) this.restart(now)
    }
  }

  /** Whether it says this itself, on any link: two may be one wire. */
  private isOwn(on: Links.Link, { addresses, ttl }: Announcement.Heard): boolean {
    if (ttl < Announcement.ttl) return false
    for (const talk of this.links.values()) {
      if (Announcement.isOwn(this.self, on, talk.addresses, addresses)) return true
    }
    return false
  }

  private addService(service: string): boolean {
    if (this.services.has(service) || this.services.size >= maxServices) return false
    this.services.add(service)
    return true
  }

  private receiveAnswers(
    question: string,
    names: Iterable<string>,
    content: Uint8Array | undefined,
    source: string
  ): void {
    // Once for all who say it: many may, in one packet.
    const hash = content === undefined ? "" : Names.hashed(content)
    for (const name of names) {
      for (const id of this.table.named(name)) {
        const isProven = this.options.isProven?.(id) === true
        if (!this.questions.isNews(question, { peer: id, source, hash, isProven })) continue
        const peer = this.table.get(id)
        if (peer !== undefined) this.events.push({ _tag: "Answered", question, peer, content })
      }
    }
  }

  private sendQuestion(name: string): void {
    for (const talk of this.links.values()) {
      this.send(talk, { kind: "query", questions: [{ name, type: "PTR" }], answers: [], additionals: [] })
    }
  }

  /** Another has its name: it takes a new one. Its old one is the other's now, so it says no goodbye. */
  private rename(now: number): void {
    if (this.counts.renamed >= maxRenames) return
    this.counts.renamed++
    this.self = { ...this.self, name: Names.peerName(this.options.random) }
    for (const talk of this.links.values()) talk.announce(now)
  }

  private send({ link }: Talk, message: Packet.Message): void {
    this.sendBytes(link.id, Packet.encode(message))
  }

  private sendBytes(link: string, bytes: Uint8Array, to?: Endpoint): void {
    this.counts.sent++
    this.packets.push({ link, bytes, to })
  }
}
