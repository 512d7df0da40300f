/**
 * One peer on the local network: it asks who is there, answers those who ask,
 * and knows who was heard. It does no input and output and reads no clock:
 * packets and the time go in, packets, changes and the next deadline come out.
 *
 * ```
 * receive, tick, setLinks, probe ... ──> Lan ──> takePackets, takeEvents, nextAt
 * ```
 *
 * Specification: libp2p/specs, discovery/mdns.md; RFC 6762. Questions for a peer
 * or a key are an addition: those who do not know them do not answer.
 */
import * as Result from "effect/Result"
import type * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import { type Codec, plain } from "./Codec.ts"
import * as Announcement from "./Announcement.ts"
import * as Known from "./Known.ts"
import * as Links from "./Links.ts"
import * as Names from "./Names.ts"
import * as Pace from "./Pace.ts"
import * as Packet from "./Packet.ts"
import { Questions, Replies } from "./Probing.ts"
import type { Present } from "./Hearsay.ts"
import { type Change, type Limits, Table } from "./Table.ts"

export interface Options {
  readonly peer: PeerId
  /** The name of the service, of `Names.serviceOf`. */
  readonly service: string
  /** It looks at all services and answers nobody. Default false. */
  readonly watches?: boolean | undefined
  /** In `[0, 1)`. */
  readonly random: () => number
  readonly limits?: Partial<Limits> | undefined
  /** Whether there is a connection with the peer of this id. Default: with none. */
  readonly isProven?: ((id: string) => boolean) | undefined
  /** Default: in the clear. */
  readonly codec?: Codec | undefined
}

export interface Outgoing {
  /** The id of the link that it is sent on. */
  readonly link: string
  readonly bytes: Uint8Array
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

/** Counts since the start. */
export interface Counters {
  readonly sent: number
  readonly received: number
  /** Packets that are none, came from elsewhere, or from another port. */
  readonly refused: number
  readonly renamed: number
}

interface LinkState {
  link: Links.Link
  addresses: ReadonlyArray<Multiaddr.Multiaddr>
  readonly asking: Pace.Asking
  readonly hello: Pace.Answering
  readonly meta: Pace.Answering
  /** Somebody has asked for the details by name. */
  isDirect: boolean
  /** Announcements that were made unasked, since something changed. */
  unasked: number
  /** To questions for this peer and the keys that it holds. */
  readonly replies: Replies
}

/** Services that one who looks at all asks for. */
const maxServices = 16
/** New names in the life of a node: who takes it for another can make it do so without end. */
const maxRenames = 16
/** It does not answer its own query when it said so already within this time. */
const ownAnswerMs = 2000
/** Before each further announcement that nobody has asked for; RFC 6762, section 8.3. */
const unaskedMs = [1000, 2000] as const
/** A tick that comes so late tells that the machine slept. */
const sleptMs = 10_000

export class Lan {
  private readonly options: Options
  private readonly codec: Codec
  private readonly table: Table
  private readonly links = new Map<string, LinkState>()
  private readonly services: Set<string>
  private readonly questions = new Questions()
  private readonly held = new Map<string, Uint8Array | undefined>()
  private readonly texts = new Announcement.Addresses()
  private readonly packets: Array<Outgoing> = []
  private readonly events: Array<Event> = []
  private self: Announcement.Self
  private readonly counts = { sent: 0, received: 0, refused: 0, renamed: 0 }
  private lastTickDue = Number.POSITIVE_INFINITY

  constructor(options: Options) {
    const { codec, isProven, limits, peer, random, service } = options
    this.options = options
    this.codec = codec ?? plain
    this.table = new Table(limits, isProven)
    this.services = new Set([service])
    this.self = { peer, name: Names.peerName(random), service }
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
      .flatMap(({ bytes, link }) => this.codec.encode(bytes, now).map((sent) => ({ link, bytes: sent })))
  }

  takeEvents(): ReadonlyArray<Event> {
    return this.events.splice(0)
  }

  /** When {@link tick} is due. */
  get nextAt(): number {
    let at = this.table.nextAt
    for (const { asking, hello, meta, replies } of this.links.values()) {
      at = Math.min(at, asking.nextAt, hello.nextAt, meta.nextAt, replies.nextAt)
    }
    at = Math.min(at, this.questions.nextAt)
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
      const known = this.links.get(link.id)
      if (known === undefined) {
        this.links.set(link.id, this.newLink(link, usable, now))
        continue
      }
      if (!Links.isSame(known.link, link)) this.refresh(known, now)
      else if (String(known.addresses) !== String(usable)) this.announce(known, now)
      known.link = link
      known.addresses = usable
    }
  }

  /** All links are asked and told anew: the machine slept, or its clock was set. */
  restart(now: number): void {
    for (const state of this.links.values()) this.refresh(state, now)
  }

  /** A packet has come on a link. `isService` is whether its sender's port is that of multicast DNS. */
  receive(id: string, from: { readonly host: string; readonly isService: boolean }, bytes: Uint8Array, now: number) {
    const state = this.links.get(id)
    if (state === undefined || !Links.isFrom(state.link, from.host)) return
    const decoded = from.isService ? this.codec.decode(bytes, from.host, now) : undefined
    if (decoded === undefined || Result.isFailure(decoded)) {
      this.counts.refused++
      return
    }
    this.counts.received++
    if (decoded.success.kind === "query") this.receiveQuery(state, decoded.success, now)
    else this.receiveResponse(state, decoded.success, from.host, now)
  }

  /** Time has passed. */
  tick(now: number): void {
    const isLate = now - this.lastTickDue > sleptMs
    const { changes, isStale } = this.table.pass(now)
    this.events.push(...changes)
    if (isLate) this.restart(now)
    if (isStale) {
      for (const { asking } of this.links.values()) asking.hurry(now, this.options.random)
    }
    for (const state of this.links.values()) this.serve(state, now)
    for (const question of this.questions.due(now)) this.sendQuestion(question)
  }

  /** Says goodbye on all links. */
  stop(): void {
    if (this.options.watches === true) return
    for (const state of this.links.values()) {
      if (state.addresses.length > 0) this.send(state, Announcement.goodbye(this.self))
    }
  }

  // ---- questions for a peer or a key

  /** Asks on all links; answers come as events until {@link endProbe}. */
  probe(question: string, now: number): void {
    this.questions.begin(question, now)
  }

  endProbe(question: string): void {
    this.questions.end(question)
  }

  /** Answers those who ask this question, with the content if there is one and it fits. */
  hold(question: string, content?: Uint8Array): void {
    this.held.set(question, content)
  }

  release(question: string): void {
    this.held.delete(question)
    for (const { replies } of this.links.values()) replies.forget(question)
  }

  // ---- within

  private newLink(link: Links.Link, addresses: ReadonlyArray<Multiaddr.Multiaddr>, now: number): LinkState {
    const state: LinkState = {
      link,
      addresses,
      asking: new Pace.Asking(now, this.options.random),
      hello: new Pace.Answering(),
      meta: new Pace.Answering(),
      isDirect: false,
      unasked: unaskedMs.length,
      replies: new Replies(now)
    }
    this.announce(state, now)
    return state
  }

  private refresh(state: LinkState, now: number): void {
    state.asking.restart(now, this.options.random)
    this.announce(state, now)
  }

  /** Tells unasked that it is there, and again a while later. */
  private announce(state: LinkState, now: number): void {
    if (this.options.watches === true) return
    state.unasked = 0
    state.hello.want(now, this.options.random)
  }

  private serve(state: LinkState, now: number): void {
    const { asking, hello, meta, replies } = state
    if (hello.nextAt <= now) {
      hello.give(now)
      // Who listens nowhere on this link cannot be reached by it.
      if (state.addresses.length > 0) {
        this.send(state, Announcement.hello(this.self, state.link, state.addresses, state.isDirect))
      }
      state.isDirect = false
      const pause = unaskedMs[state.unasked++]
      if (pause !== undefined) hello.want(now + pause, this.options.random)
    }
    if (meta.nextAt <= now) {
      meta.give(now)
      if (state.addresses.length > 0) this.send(state, Announcement.serviceAnswer(this.self.service))
    }
    if (asking.nextAt <= now) this.ask(state, now)
    for (const question of replies.due(now)) this.answerQuestion(state, question)
  }

  /** Who is there? The query says whom it knows already. */
  private ask(state: LinkState, now: number): void {
    const { random, service, watches } = this.options
    state.asking.ask(now, random)
    const questions = [...this.services].map((name) => ({ name, type: "PTR" }))
    if (watches === true) questions.push({ name: Names.meta, type: "PTR" })
    // Its own query comes back to it, and is answered for those who only listen; but not again and again.
    const own = state.hello.ageMs(now) < ownAnswerMs ? [Names.digest(Announcement.instance(this.self))] : []
    const known = this.table.query(service, state.link.id, own, now)
    this.send(state, { kind: "query", questions, answers: this.knownAnswer(service, known), additionals: [] })
  }

  private knownAnswer(service: string, known: Known.Known): ReadonlyArray<Packet.Rec> {
    if (known.digests.length === 0 && known.shares === 1) return []
    return [
      { name: Names.knownOf(service), ttl: Announcement.ttl, flush: false, type: "TXT", texts: Known.encode(known) }
    ]
  }

  private receiveQuery(state: LinkState, query: Packet.Message, now: number): void {
    const { random, service, watches } = this.options
    if (watches === true) return
    const known = query.answers.flatMap((rec) =>
      rec.type === "TXT" && rec.name === Names.knownOf(service) ? [Known.decode(rec.texts)] : []
    )[0]
    const name = Announcement.instance(this.self)
    const isKnown =
      (known !== undefined && Known.isUnwanted(known, Names.digest(name))) ||
      query.answers.some(
        (rec) => rec.type === "PTR" && rec.name === service && rec.target === name && rec.ttl * 2 >= Announcement.ttl
      )
    for (const question of query.questions) {
      if (question.name === service && (question.type === "PTR" || question.type === "ANY")) {
        // Those whom who asks knows do not answer: whoever lacks one of them has to ask itself, unless it does anyway.
        if (known !== undefined && !state.asking.isQuick && this.lacks(known)) state.asking.suggest(now, random)
        else state.asking.overhear(now, random)
        if (!isKnown) state.hello.want(now, random)
      } else if (question.name === Names.meta && question.type === "PTR") {
        state.meta.want(now, random)
      } else if (Announcement.isAbout(this.self, question.name)) {
        state.isDirect = true
        state.hello.want(now, random, true)
      } else if (this.held.has(question.name) && !isKnown) {
        state.replies.want(question.name, now, random)
      }
    }
  }

  /** Whether others know somebody whom this one does not. */
  private lacks({ digests }: Known.Known): boolean {
    const own = Names.digest(Announcement.instance(this.self))
    return digests.some((digest) => digest !== own && !this.table.knows(digest))
  }

  private answerQuestion({ addresses, link }: LinkState, question: string): void {
    if (addresses.length === 0) return
    this.sendBytes(link.id, Announcement.answer(this.self, link, addresses, question, this.held.get(question)))
  }

  private receiveResponse(state: LinkState, response: Packet.Message, source: string, now: number): void {
    const said = Announcement.read(response, state.link, this.services, this.texts)
    const mine = Announcement.instance(this.self)
    for (const heard of said.heard) {
      if (heard.peer.toString() === this.self.peer.toString()) {
        // Its own words come back to it; these are another's.
        if (heard.name === mine && heard.ttl < Announcement.ttl) this.contradict(state, now)
        continue
      }
      if (heard.name === mine) {
        this.rename(now)
        continue
      }
      const change = this.table.hear(heard, state.link.id, source, now)
      if (change === undefined) continue
      this.events.push(change)
      // There may be more where it comes from: two networks have become one.
      if (change._tag === "Appeared") state.asking.suggest(now, this.options.random)
    }
    for (const name of said.gone) {
      if (name === mine) this.contradict(state, now)
      else this.events.push(...this.table.leave(name))
    }
    for (const [question, names] of said.answers) {
      if (this.questions.isOpen(question)) this.receiveAnswers(question, names, said.contents.get(question), source)
    }
    if (this.options.watches === true) {
      for (const service of said.services) if (this.addService(service)) this.restart(now)
    }
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
    for (const name of names) {
      for (const id of this.table.named(name)) {
        const isProven = this.options.isProven?.(id) === true
        if (!this.questions.isNews(question, { peer: id, source, content, isProven })) continue
        const peer = this.table.get(id)
        if (peer !== undefined) this.events.push({ _tag: "Answered", question, peer, content })
      }
    }
  }

  private sendQuestion(name: string): void {
    for (const state of this.links.values()) {
      this.send(state, { kind: "query", questions: [{ name, type: "PTR" }], answers: [], additionals: [] })
    }
  }

  /** Somebody has said goodbye in its name: it says that it is there. */
  private contradict({ hello }: LinkState, now: number): void {
    if (this.options.watches !== true) hello.want(now, this.options.random, true)
  }

  /** Another has its name: it takes a new one. Its old one is the other's now, so it says no goodbye. */
  private rename(now: number): void {
    if (this.counts.renamed >= maxRenames) return
    this.counts.renamed++
    this.self = { ...this.self, name: Names.peerName(this.options.random) }
    for (const state of this.links.values()) this.announce(state, now)
  }

  private send({ link }: LinkState, message: Packet.Message): void {
    this.sendBytes(link.id, Packet.encode(message))
  }

  private sendBytes(link: string, bytes: Uint8Array): void {
    this.counts.sent++
    this.packets.push({ link, bytes })
  }
}
