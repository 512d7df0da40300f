/**
 * Questions for a peer or for the content of a key: those that this node asks,
 * and those that it answers on a link. Pure.
 */
import { Allowance, Answering } from "./Pace.ts"

/** When a question is repeated, after it was asked. */
const repeatMs = [250, 500, 1000] as const
/** Questions that are open at once. */
const maxOpen = 256
/** Answers to one question, those of them by the word of one host, and those in the name of one peer. */
const maxAnswers = 1024
const maxOfSource = 256
const maxOfPeer = 8
/** Those beyond these, of peers that a connection has proven. */
const maxOfProven = 256
/** All of them. */
export const mostAnswers = maxAnswers + maxOfProven
/** Different questions that wait for an answer on a link. */
const maxPending = 256
/** Answers that a link is given in a second. */
const answersASecond = 50

interface Question {
  asked: number
  nextAt: number
  /** Who has answered, and what. */
  readonly found: Set<string>
  /** How often each peer has. */
  readonly byPeer: Map<string, number>
  /** Whose answers each host has told. */
  readonly bySource: Map<string, Set<string>>
}

export interface Told {
  readonly peer: string
  /** The host that says so. */
  readonly source: string
  /** Of what it says beside that it answers; empty if nothing. */
  readonly hash: string
  /** A connection proves that the peer is there. */
  readonly isProven: boolean
}

/** The questions that are asked now. */
export class Questions {
  private readonly open = new Map<string, Question>()

  get nextAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const { nextAt } of this.open.values()) at = Math.min(at, nextAt)
    return at
  }

  /** Begins to ask; nothing is done when too much is asked already. */
  begin(name: string, now: number): void {
    const known = this.open.get(name)
    if (known === undefined) {
      if (this.open.size < maxOpen)
        this.open.set(name, { asked: 0, nextAt: now, found: new Set(), byPeer: new Map(), bySource: new Map() })
    } else if (known.nextAt === Number.POSITIVE_INFINITY) {
      // Whoever asks when it was asked for the last time a while ago would wait for nothing.
      known.asked = 0
      known.nextAt = now
    }
  }

  end(name: string): void {
    this.open.delete(name)
  }

  /** Those to be asked now. */
  due(now: number): ReadonlyArray<string> {
    const names: Array<string> = []
    for (const [name, question] of this.open) {
      if (question.nextAt > now) continue
      const pause = repeatMs[question.asked]
      question.asked++
      question.nextAt = pause === undefined ? Number.POSITIVE_INFINITY : now + pause
      names.push(name)
    }
    return names
  }

  /** Whether it is asked. */
  isOpen(name: string): boolean {
    return this.open.has(name)
  }

  /**
   * Whether this is new: each peer has each answer once, and one by the word of each host, so that whoever answers in
   * the name of another before it does not keep it from being heard.
   */
  isNews(name: string, { hash, isProven, peer, source }: Told): boolean {
    const question = this.open.get(name)
    if (question === undefined || question.found.size >= (isProven ? mostAnswers : maxAnswers)) return false
    const ofSource = question.bySource.get(source) ?? new Set()
    const ofPeer = question.byPeer.get(peer) ?? 0
    if (ofSource.has(peer) || ofPeer >= maxOfPeer || (ofSource.size >= maxOfSource && !isProven)) return false
    const answer = `${peer} ${hash}`
    if (question.found.has(answer)) return false
    question.found.add(answer)
    question.byPeer.set(peer, ofPeer + 1)
    question.bySource.set(source, ofSource.add(peer))
    return true
  }
}

/** The answers that are owed on a link. */
export class Replies {
  private readonly pending = new Map<string, Answering>()
  private readonly allowance: Allowance

  constructor(now: number) {
    this.allowance = new Allowance(answersASecond, now)
  }

  get nextAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const { nextAt } of this.pending.values()) at = Math.min(at, nextAt)
    return at
  }

  /** Somebody asks. */
  want(name: string, now: number, random: () => number): void {
    const known = this.pending.get(name)
    if (known === undefined && this.pending.size >= maxPending) return
    const answering = known ?? new Answering()
    this.pending.set(name, answering)
    answering.want(now, random)
  }

  /** The questions to be answered now. */
  due(now: number): ReadonlyArray<string> {
    const names: Array<string> = []
    for (const [name, answering] of this.pending) {
      if (answering.isOver(now)) this.pending.delete(name)
      if (answering.nextAt > now) continue
      answering.give(now)
      if (this.allowance.take(now)) names.push(name)
    }
    return names
  }
}
