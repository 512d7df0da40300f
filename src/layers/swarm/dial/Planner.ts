/**
 * The dial planner: in which order and when the addresses of one dial are tried.
 * Pure: it is told what happens and the time, and says what to begin, or until
 * when to wait. Times are in milliseconds of any one clock.
 *
 * The order: direct before relayed, loopback before private before public, QUIC
 * before WebTransport before TCP before WebSocket; among those alike, the ones
 * that worked before; among those, IPv6 and IPv4 by turns, IPv6 first.
 *
 * The time: an address is begun when the one before it has failed, or when that
 * one has not answered within the delay, so that an address that is silent costs
 * no more than its delay (RFC 8305, "Happy Eyeballs"). One that is connected
 * already, and has only the handshake left, is given the delay once more.
 * Relayed addresses wait until no direct one is left that still may answer.
 */
import type { Multiaddr } from "../../../data/Multiaddr.ts"
import { type AttemptReason, DeadlineExceeded, type DialAttempt } from "../../../services/Swarm.ts"
import * as Facts from "./Facts.ts"

/** An address that may be tried. */
export interface Candidate {
  /** Addresses with one key are one address. */
  readonly key: string
  readonly address: Multiaddr
  readonly facts: Facts.Facts
  /** Asked for by the caller, rather than known from before. */
  readonly given: boolean
  /** A connection was made by it before. */
  readonly proven: boolean
}

export interface Limits {
  /** Addresses tried at once. */
  readonly atOnce: number
  /** Addresses tried in all; the best ones, and those asked for by the caller first of all. */
  readonly addresses: number
  /** How long a loopback or private address is given before the next is tried beside it. */
  readonly privateDelayMs: number
  /** How long any other is given. */
  readonly publicDelayMs: number
  /** How long the direct addresses are given before a relayed one is tried beside them. */
  readonly relayDelayMs: number
}

export const defaults: Limits = {
  atOnce: 8,
  addresses: 32,
  privateDelayMs: 30,
  publicDelayMs: 250,
  relayDelayMs: 500
}

/** What to do now. */
export type Step =
  /** Begin this address: `begin` says that it was. */
  | { readonly _tag: "Begin"; readonly candidate: Candidate }
  /** Wait for something to happen, and until this time at most. */
  | { readonly _tag: "Wait"; readonly until: number | undefined }
  /** All have failed, unless further ones are added. */
  | { readonly _tag: "Done" }

/** An address that was begun. */
export interface Tried {
  readonly candidate: Candidate
  readonly begunAt: number
  /** When the network had connected it. */
  connectedAt: number | undefined
  /** Why it failed; `undefined` while it is in flight. */
  reason: AttemptReason | undefined
}

const waiting: Step = { _tag: "Wait", until: undefined }
const done: Step = { _tag: "Done" }

/** Which family goes next after `last`; the lower the sooner. */
const turn = (family: 4 | 6 | undefined, last: 4 | 6 | undefined): number =>
  family === undefined ? 2 : family === (last === 6 ? 4 : 6) ? 0 : 1

export class Planner {
  private readonly limits: Limits
  /** As they were added. */
  private waiting: Array<Candidate> = []
  /** As they were begun. */
  private readonly begun: Array<Tried> = []
  private readonly skipped = new Map<string, DialAttempt>()
  private readonly keys = new Set<string>()
  /** The family begun last, of each class. */
  private readonly lastFamily = new Map<number, 4 | 6>()
  /** One has failed since the last was begun. */
  private hurry = false
  private flying = 0
  private directFlying = 0

  constructor(limits: Limits = defaults) {
    this.limits = limits
  }

  /** Addresses in flight. */
  get inFlight(): number {
    return this.flying
  }

  /** Every address that was begun, in order. */
  get tried(): ReadonlyArray<Tried> {
    return this.begun
  }

  /** It is to be tried. One that is known already is not tried again; while it waits, what is known of it adds up. */
  add(candidate: Candidate): void {
    if (this.keys.has(candidate.key)) {
      this.waiting = this.waiting.map((one) =>
        one.key === candidate.key
          ? { ...one, given: one.given || candidate.given, proven: one.proven || candidate.proven }
          : one
      )
      return
    }
    this.keys.add(candidate.key)
    this.skipped.delete(candidate.key)
    this.waiting.push(candidate)
    if (this.begun.length + this.waiting.length > this.limits.addresses) this.dropWorst()
  }

  /** It is not to be tried, unless it is added. Only the first {@link Limits.addresses} are kept. */
  skip(key: string, address: string, reason: AttemptReason): void {
    if (this.keys.has(key) || this.skipped.has(key) || this.skipped.size >= this.limits.addresses) return
    this.skipped.set(key, { address, reason })
  }

  /** What to do at the time `now`. Changes nothing. */
  next(now: number): Step {
    const candidate = this.best()
    if (candidate === undefined) return this.flying === 0 ? done : waiting
    if (this.flying >= this.limits.atOnce) return waiting
    const at = this.earliest(candidate)
    return at <= now ? { _tag: "Begin", candidate } : { _tag: "Wait", until: at }
  }

  /** An address that `next` gave is begun. */
  begin(candidate: Candidate, now: number): void {
    this.waiting = this.waiting.filter((one) => one.key !== candidate.key)
    this.begun.push({ candidate, begunAt: now, connectedAt: undefined, reason: undefined })
    const { facts } = candidate
    if (facts.family !== undefined) this.lastFamily.set(Facts.rank(facts), facts.family)
    this.hurry = false
    this.flying++
    if (!facts.relayed) this.directFlying++
  }

  /** The network has connected it; the handshake is left. */
  connected(key: string, now: number): void {
    const tried = this.find(key)
    if (tried !== undefined) tried.connectedAt ??= now
  }

  failed(key: string, reason: AttemptReason): void {
    const tried = this.find(key)
    if (tried === undefined) return
    tried.reason = reason
    this.hurry = true
    this.flying--
    if (!tried.candidate.facts.relayed) this.directFlying--
  }

  /** Why each address failed, in the order in which they were begun; those not tried at the end. */
  attempts(): ReadonlyArray<DialAttempt> {
    return this.report(() => undefined)
  }

  /** As {@link attempts}, with those in flight as given up at the time `now`. */
  attemptsAt(now: number): ReadonlyArray<DialAttempt> {
    return this.report(
      ({ begunAt, connectedAt }) =>
        new DeadlineExceeded({
          stage: connectedAt === undefined ? "dialing" : "securing",
          afterMs: Math.round(now - begunAt)
        })
    )
  }

  private report(unfinished: (tried: Tried) => AttemptReason | undefined): ReadonlyArray<DialAttempt> {
    const tried = this.begun.flatMap((one) => {
      const reason = one.reason ?? unfinished(one)
      return reason === undefined ? [] : [{ address: one.candidate.address.toString(), reason }]
    })
    return [...tried, ...this.skipped.values()].slice(0, this.limits.addresses)
  }

  private find(key: string): Tried | undefined {
    return this.begun.find((one) => one.candidate.key === key && one.reason === undefined)
  }

  private best(): Candidate | undefined {
    let best: Candidate | undefined
    for (const one of this.waiting) if (best === undefined || this.compare(one, best) < 0) best = one
    return best
  }

  private compare(a: Candidate, b: Candidate): number {
    const rank = Facts.rank(a.facts)
    const by = rank - Facts.rank(b.facts) || Number(b.proven) - Number(a.proven)
    if (by !== 0) return by
    const last = this.lastFamily.get(rank)
    return turn(a.facts.family, last) - turn(b.facts.family, last)
  }

  /** When it may be begun. */
  private earliest({ facts }: Candidate): number {
    const last = this.begun.at(-1)
    if (this.flying === 0 || last === undefined) return Number.NEGATIVE_INFINITY
    const held = facts.relayed && this.directFlying > 0
    if (this.hurry && !held) return Number.NEGATIVE_INFINITY
    const { privateDelayMs, publicDelayMs, relayDelayMs } = this.limits
    const { reach, relayed } = last.candidate.facts
    const delay = held ? relayDelayMs : reach === "public" || relayed ? publicDelayMs : privateDelayMs
    let promising = Number.NEGATIVE_INFINITY
    for (const { connectedAt, reason } of this.begun) {
      if (reason === undefined && connectedAt !== undefined) promising = Math.max(promising, connectedAt)
    }
    return Math.min(Math.max(last.begunAt, promising) + delay, last.begunAt + 2 * delay)
  }

  /** The one that would be tried last of those that nobody asked for. */
  private dropWorst(): void {
    const candidates = this.waiting.some((one) => !one.given) ? this.waiting.filter((one) => !one.given) : this.waiting
    let worst: Candidate | undefined
    for (const one of candidates) if (worst === undefined || this.compare(one, worst) >= 0) worst = one
    this.waiting = this.waiting.filter((one) => one !== worst)
    if (worst !== undefined) this.keys.delete(worst.key)
  }
}
