/**
 * Which beacons are new: what was recorded and is sent again is refused. Pure.
 *
 * Each sender counts up in time, so that nothing of a sender that is known is
 * taken twice, nor anything that was held back for longer than a moment: how far
 * its clock is from ours is known from its last one. What was sent at once may
 * come in any order, since it is sent on several links. Of a sender that is not
 * known, all of the last ten minutes is new. A sender is forgotten once all that it has
 * said is too old to be taken from anybody.
 */

export interface Limits {
  /** Senders that are known at once. While there are so many, others are not heard. */
  readonly senders: number
  /** Of one host, by its address. Each start of a node there is one, for as long as senders are remembered. */
  readonly perSource: number
}

const defaults: Limits = { senders: 4096, perSource: 256 }

/** A beacon may be under way so much longer than the one before it. */
export const slackMs = 60_000
/** A beacon may be overtaken by one that was sent so much later. */
const reorderMs = 2000
/** Those before the latest that are remembered. */
const maxRecent = 64
/**
 * Clocks may differ by so much, and what is sent again after it is old for everybody. Machines that nothing sets, where
 * there is no other network, go wrong by some minutes a year.
 */
export const maxApartMs = 600_000
/** What is said now may be ahead by as much. */
const rememberMs = 2 * maxApartMs

export type Verdict =
  | "Fresh"
  /** It was heard before, or one that the sender has sent well after it. */
  | "Replayed"
  /** It was held back. */
  | "Late"
  /** Too many senders. */
  | "Crowded"

export interface Sent {
  readonly sender: string
  readonly source: string
  /** When it was sent, by its sender's clock. */
  readonly at: number
}

interface Known {
  readonly source: string
  /** The latest, and those shortly before it. */
  readonly at: number
  readonly recent: ReadonlyArray<number>
  /** By how much its clock is ahead of ours, which is never set. */
  readonly ahead: number
  readonly heardAt: number
}

export class BeaconWindow {
  private readonly limits: Limits
  /** The one heard of longest ago comes first. */
  private readonly senders = new Map<string, Known>()
  private readonly bySource = new Map<string, number>()

  constructor(limits: Limits = defaults) {
    this.limits = limits
  }

  get size(): number {
    return this.senders.size
  }

  /** Judges a beacon, and remembers one that is fresh; `now` is of a clock that is never set. */
  accept({ at, sender, source }: Sent, now: number): Verdict {
    this.forget(now)
    const ahead = at - now
    const known = this.senders.get(sender)
    if (known === undefined) {
      const ofSource = this.bySource.get(source) ?? 0
      if (this.senders.size >= this.limits.senders || ofSource >= this.limits.perSource) return "Crowded"
      this.senders.set(sender, { source, at, recent: [at], ahead, heardAt: now })
      this.bySource.set(source, ofSource + 1)
      return "Fresh"
    }
    const oldest = known.recent.length < maxRecent ? known.at - reorderMs : Math.min(...known.recent)
    if (at <= oldest || known.recent.includes(at)) return "Replayed"
    if (ahead < known.ahead - slackMs) return "Late"
    const latest = Math.max(at, known.at)
    const recent = [...known.recent, at].filter((one) => one > latest - reorderMs).slice(-maxRecent)
    this.senders.delete(sender)
    this.senders.set(sender, { source: known.source, at: latest, recent, ahead, heardAt: now })
    return "Fresh"
  }

  private forget(now: number): void {
    for (const [sender, { heardAt, source }] of this.senders) {
      if (now - heardAt <= rememberMs) return
      this.senders.delete(sender)
      const left = (this.bySource.get(source) ?? 1) - 1
      if (left > 0) this.bySource.set(source, left)
      else this.bySource.delete(source)
    }
  }
}
