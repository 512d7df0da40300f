/**
 * When a link is asked who is there, and when it is answered. Pure: times are
 * milliseconds of a clock that only goes forward, and chance is given.
 *
 * A link is asked in quick succession at first, so that what is lost is asked
 * for again, then in pauses that double, up to half a minute. One query lets all
 * answer, and all hear the answers: whoever hears one in time need not ask.
 *
 * Specification: RFC 6762, sections 5.2, 6 and 7. An answer is repeated sooner
 * than it says, since only those answer whom a query does not know.
 */

/** Before the first query, at least and in addition; all machines may start at once, after a power cut. */
const firstMs = { least: 20, spread: 100 }
/** From one query to the next, at first. */
const quickMs = [450, 500, 550, 600, 700, 800, 1000, 2000, 4000, 8000, 16_000] as const
/** And then. */
const steadyMs = 30_000
/** A peer that is about to be forgotten, or that only others know, is asked for after this from the last query. */
const staleMs = 4000
/** One whom only others know is asked for so often, so much sooner: answers may be lost. */
const again = { times: 3, ms: 1000, spread: 500 }
/** Before an answer, at least and in addition, so that not all answer at once. */
const answerMs = { least: 20, spread: 100 }
/** From one answer to the next with the same content. */
const betweenAnswersMs = 400

/** When a link is asked. */
export class Asking {
  private round = 0
  private at: number
  private lastAt: number
  /** Somebody is about to be forgotten: it asks, unless another asks for them. */
  private isHurried = false
  /** Others know somebody whom this one does not: it asks, unless it hears of them first. */
  private isSuggested = false
  /** Queries for that, one soon after the other. */
  private suggested = 0

  constructor(now: number, random: () => number) {
    this.lastAt = now
    this.at = now + firstMs.least + random() * firstMs.spread
  }

  get nextAt(): number {
    return this.at
  }

  /** It is asked again soon, whatever others ask. */
  get isQuick(): boolean {
    return this.round < quickMs.length
  }

  /** It is asked now. */
  ask(now: number, random: () => number): void {
    this.lastAt = now
    this.suggested = this.isSuggested ? this.suggested + 1 : 0
    this.isHurried = false
    this.isSuggested = false
    const pause = quickMs[this.round] ?? steadyMs
    this.round++
    this.at = now + pause * (0.9 + 0.2 * random())
  }

  /** Another has asked, and its answers come here too; `forAll`: also those of all who are about to be forgotten. */
  overhear(now: number, random: () => number, forAll = false): void {
    if (forAll) this.isHurried = false
    if (this.isQuick || this.isHurried) return
    this.isSuggested = false
    // Nobody can keep it from asking at all.
    const latest = this.lastAt + 3 * steadyMs
    this.at = Math.max(this.at, Math.min(latest, now + steadyMs * (0.9 + 0.4 * random())))
  }

  /** Somebody is about to be forgotten. */
  hurry(now: number, random: () => number): void {
    if (this.isHurried) return
    this.isHurried = true
    this.at = Math.min(this.at, Math.max(now, this.lastAt + staleMs) + random() * 1000)
  }

  /** Others know somebody whom this one does not. It asks soon, unless another asks who lacks them too. */
  suggest(now: number, random: () => number): void {
    if (this.isQuick) return
    this.isSuggested = true
    if (now - this.lastAt > 2 * staleMs) this.suggested = 0
    const isAgain = this.suggested > 0 && this.suggested <= again.times
    const [pause, spread] = isAgain ? [again.ms, again.spread] : [staleMs, 1000]
    this.at = Math.min(this.at, Math.max(now, this.lastAt + pause) + random() * spread)
  }

  /** Something has changed: as at the start. */
  restart(now: number, random: () => number): void {
    this.round = 0
    this.at = Math.min(this.at, now + firstMs.least + random() * firstMs.spread)
  }
}

/** When one answer is given on a link; however often it is asked for, it is not given more often. */
export class Answering {
  private at = Number.POSITIVE_INFINITY
  private lastAt = Number.NEGATIVE_INFINITY

  get nextAt(): number {
    return this.at
  }

  /** How long ago it was given. */
  ageMs(now: number): number {
    return now - this.lastAt
  }

  /** It was given a while ago and is not wanted: it can be forgotten. */
  isOver(now: number): boolean {
    return this.at > now && this.ageMs(now) > 2 * betweenAnswersMs && this.ageMs(now) < Number.POSITIVE_INFINITY
  }

  /** It is wanted; `alone` when nobody else can give it, so that there is nobody to wait for. */
  want(now: number, random: () => number, alone = false): void {
    const pause = alone ? random() * answerMs.least : answerMs.least + random() * answerMs.spread
    this.at = Math.min(this.at, Math.max(now + pause, this.lastAt + betweenAnswersMs))
  }

  /** It is given now. */
  give(now: number): void {
    this.lastAt = now
    this.at = Number.POSITIVE_INFINITY
  }
}

/** What may be done so often in a second, and as often at once. */
export class Allowance {
  private readonly aSecond: number
  private left: number
  private at: number

  constructor(aSecond: number, now: number) {
    this.aSecond = aSecond
    this.left = aSecond
    this.at = now
  }

  /** Whether it may be done now, once. */
  take(now: number): boolean {
    this.left = Math.min(this.aSecond, this.left + ((now - this.at) / 1000) * this.aSecond)
    this.at = now
    if (this.left < 1) return false
    this.left--
    return true
  }
}
