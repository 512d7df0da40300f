/**
 * What a node says on one link, and when: that it is there, unasked at first and
 * then to those who ask; who else is there, asked now and then; and which
 * questions for what it holds it owes an answer. Pure.
 *
 * Specification: RFC 6762, sections 5 to 8.
 */
import type * as Multiaddr from "../../../data/Multiaddr.ts"
import * as Announcement from "./Announcement.ts"
import * as Known from "./Known.ts"
import * as Links from "./Links.ts"
import * as Names from "./Names.ts"
import * as Pace from "./Pace.ts"
import * as Packet from "./Packet.ts"
import { Replies } from "./Probing.ts"

/** Who talks, and what it knows. */
export interface Speaker {
  /** Its name may change. */
  readonly self: () => Announcement.Self
  /** It asks, and answers nobody. */
  readonly watches: boolean
  /** In `[0, 1)`. */
  readonly random: () => number
  /** The services that it asks for. */
  readonly services: Iterable<string>
  /** Whether it answers this question, for itself or for what it holds. */
  readonly holds: (question: string) => boolean
  /** Whether somebody is known by a name with this digest. */
  readonly knows: (digest: number) => boolean
  /** Whether a query of another, that knows these, asks for all who are about to be forgotten. */
  readonly isAskedFor: (known: Known.Known, now: number) => boolean
  /** What a query says is known; the digests are those of names that need not answer, beside them. */
  readonly query: (service: string, link: string, digests: ReadonlyArray<number>, now: number) => Known.Known
}

/** Answers in a second to those who ask from another port: their sender may be made up, and is not to be sent much. */
const toOneASecond = 5
/** It does not answer its own query when it said so already within this time. */
const ownAnswerMs = 2000
/** Before each further announcement that nobody has asked for; RFC 6762, section 8.3. */
const unaskedMs = [1000, 2000] as const

export class Talk {
  /** Where it is said. */
  link: Links.Link
  /** Where the node can be reached by it; if nowhere, it does not say that it is there. */
  addresses: ReadonlyArray<Multiaddr.Multiaddr>
  private readonly speaker: Speaker
  private readonly asking: Pace.Asking
  private readonly hello = new Pace.Answering()
  private readonly meta = new Pace.Answering()
  /** To questions for this peer and the keys that it holds. */
  private readonly replies: Replies
  private readonly toOne: Pace.Allowance
  /** Somebody has asked for the details by name. */
  private isDirect = false
  /** Announcements that were made unasked, since something changed. */
  private unasked: number = unaskedMs.length

  constructor(speaker: Speaker, link: Links.Link, addresses: ReadonlyArray<Multiaddr.Multiaddr>, now: number) {
    this.speaker = speaker
    this.link = link
    this.addresses = addresses
    this.asking = new Pace.Asking(now, speaker.random)
    this.replies = new Replies(now)
    this.toOne = new Pace.Allowance(toOneASecond, now)
    this.announce(now)
  }

  /** When {@link due} has something. */
  get nextAt(): number {
    return Math.min(this.asking.nextAt, this.hello.nextAt, this.meta.nextAt, this.replies.nextAt)
  }

  // ---- what happens

  /** The link as it is now, and where the node can be reached by it. */
  change(link: Links.Link, addresses: ReadonlyArray<Multiaddr.Multiaddr>, now: number): void {
    if (!Links.isSame(this.link, link)) this.refresh(now)
    else if (String(this.addresses) !== String(addresses)) this.announce(now)
    this.link = link
    this.addresses = addresses
  }

  /** It asks and tells anew. */
  refresh(now: number): void {
    this.asking.restart(now, this.speaker.random)
    this.announce(now)
  }

  /** It tells unasked that it is there, and again a while later. */
  announce(now: number): void {
    if (this.speaker.watches) return
    this.unasked = 0
    this.hello.want(now, this.speaker.random)
  }

  /** Somebody has said what is not so in its name: it says at once that it is there. */
  contradict(now: number): void {
    if (!this.speaker.watches) this.hello.want(now, this.speaker.random, true)
  }

  /** Somebody is about to be forgotten. */
  hurry(now: number): void {
    this.asking.hurry(now, this.speaker.random)
  }

  /** There may be somebody whom it does not know. */
  suggest(now: number): void {
    this.asking.suggest(now, this.speaker.random)
  }

  /** Somebody asks. */
  hear(query: Packet.Message, now: number): void {
    const { holds, isAskedFor, random, watches } = this.speaker
    if (watches) return
    const self = this.speaker.self()
    const name = Announcement.instance(self)
    const known = query.answers.flatMap((rec) =>
      rec.type === "TXT" && rec.name === Names.knownOf(self.service) ? [Known.decode(rec.texts)] : []
    )[0]
    const isKnown =
      (known !== undefined && Known.isUnwanted(known, Names.digest(name))) ||
      query.answers.some((rec) => Announcement.isKnownBy(self, rec))
    for (const question of query.questions) {
      if (question.name === self.service && (question.type === "PTR" || question.type === "ANY")) {
        // Those whom who asks knows do not answer: whoever lacks one of them has to ask itself, unless it does anyway.
        if (known !== undefined && !this.asking.isQuick && this.lacks(known, name)) this.asking.suggest(now, random)
        else this.asking.overhear(now, random, known !== undefined && isAskedFor(known, now))
        if (!isKnown) this.hello.want(now, random)
      } else if (question.name === Names.meta && question.type === "PTR") {
        this.meta.want(now, random)
      } else if (Announcement.isAbout(self, question.name)) {
        this.isDirect = true
        this.hello.want(now, random, true)
      } else if (holds(question.name) && !isKnown) {
        this.replies.want(question.name, now, random)
      }
    }
  }

  // ---- what is said

  /** The answer to one alone, who asks as other resolvers do; RFC 6762, section 6.7. */
  answerOne(query: Packet.Message, now: number): Packet.Message | undefined {
    const [question, more] = query.questions
    // The question is given back with the answer: what cannot be written is not answered.
    if (question === undefined || more !== undefined || !Packet.isAsked(question.type)) return undefined
    if (this.speaker.watches || this.addresses.length === 0) return undefined
    const self = this.speaker.self()
    const isDirect = Announcement.isAbout(self, question.name)
    const isMeta = question.name === Names.meta && question.type === "PTR"
    const isService = question.name === self.service && question.type === "PTR"
    if (!(isDirect || isMeta || isService) || !this.toOne.take(now)) return undefined
    const answer = isMeta
      ? Announcement.serviceAnswer(self.service)
      : Announcement.hello(self, this.link, this.addresses, isDirect)
    return Announcement.toOne(answer, query)
  }

  /** What is said now, and the questions that are to be answered now. */
  due(now: number): { readonly messages: ReadonlyArray<Packet.Message>; readonly questions: ReadonlyArray<string> } {
    const messages: Array<Packet.Message> = []
    // Who listens nowhere on this link cannot be reached by it.
    const isThere = this.addresses.length > 0
    const self = this.speaker.self()
    if (this.hello.nextAt <= now) {
      this.hello.give(now)
      if (isThere) messages.push(Announcement.hello(self, this.link, this.addresses, this.isDirect))
      this.isDirect = false
      const pause = unaskedMs[this.unasked++]
      if (pause !== undefined) this.hello.want(now + pause, this.speaker.random)
    }
    if (this.meta.nextAt <= now) {
      this.meta.give(now)
      if (isThere) messages.push(Announcement.serviceAnswer(self.service))
    }
    if (this.asking.nextAt <= now) messages.push(this.ask(self, now))
    const questions = this.replies.due(now)
    return { messages, questions: isThere ? questions : [] }
  }

  /** Who is there? The query says whom it knows already. */
  private ask(self: Announcement.Self, now: number): Packet.Message {
    const { query, random, services, watches } = this.speaker
    this.asking.ask(now, random)
    const questions = [...services].map((name) => ({ name, type: "PTR" }))
    if (watches) questions.push({ name: Names.meta, type: "PTR" })
    // Its own query comes back to it, and is answered for those who only listen; but not again and again.
    const own = this.hello.ageMs(now) < ownAnswerMs ? [Names.digest(Announcement.instance(self))] : []
    const known = query(self.service, this.link.id, own, now)
    const answers = known.digests.length === 0 && known.shares === 1 ? [] : [Announcement.known(self.service, known)]
    return { kind: "query", questions, answers, additionals: [] }
  }

  /** Whether others know somebody whom this one does not. */
  private lacks({ digests }: Known.Known, name: string): boolean {
    const own = Names.digest(name)
    return digests.some((digest) => digest !== own && !this.speaker.knows(digest))
  }
}
