/**
 * Whom to try next, of a list whose half may be dead. Pure: the time, in
 * milliseconds of the node's clock, and chance are given.
 *
 * Those that answered last come first, the latest first; then those never
 * tried, in the order of the list; then those that failed, those that failed
 * least first. One that failed is left alone for a while that grows.
 */
import type { Multiaddr } from "../../../data/Multiaddr.ts"
import type { RoutedPeer } from "../../../services/PeerRouting.ts"
import { type Pauses, pauseMs } from "../../internal/Retry.ts"

/** A peer that was connected for long. `seenAt` is when that was known last. */
export interface Learnt extends RoutedPeer {
  readonly seenAt: number
}

export interface Candidate extends RoutedPeer {
  /** Given by the user, or learnt to be stable. */
  readonly source: "given" | "learnt"
  readonly failures: number
  /** When it answered last; `undefined` if it never has. */
  readonly seenAt: number | undefined
  /** It is not tried before. */
  readonly retryAt: number
}

export interface Limits {
  readonly pauses: Pauses
  /** Peers learnt that are kept; the one seen longest ago makes room. */
  readonly learnt: number
  /** Of one peer. */
  readonly addresses: number
}

export const defaults: Limits = {
  pauses: { firstMs: 30_000, longestMs: 3_600_000 },
  learnt: 64,
  addresses: 8
}

/** The addresses, those of `first` first, each once. */
const union = (first: ReadonlyArray<Multiaddr>, second: ReadonlyArray<Multiaddr>, limit: number) =>
  [...new Map([...first, ...second].map((address) => [address.toString(), address])).values()].slice(0, limit)

/** Where in the order: answered last, never tried, failed. */
const rank = ({ failures, seenAt }: Candidate): number => {
  if (failures > 0) return 2
  return seenAt === undefined ? 1 : 0
}

const compare = (a: Candidate, b: Candidate): number =>
  rank(a) - rank(b) || a.failures - b.failures || (b.seenAt ?? 0) - (a.seenAt ?? 0)

export class Candidates {
  private readonly limits: Limits
  /** By peer id, in the order in which they came. */
  private readonly entries = new Map<string, Candidate>()

  constructor(limits: Limits = defaults) {
    this.limits = limits
  }

  /** Puts a peer of the user's list on it. There is no bound: it is the user's. */
  give({ addresses, peer }: RoutedPeer): void {
    const id = peer.toString()
    const known = this.entries.get(id)
    this.entries.set(id, {
      peer,
      addresses: union(addresses, known?.addresses ?? [], Number.POSITIVE_INFINITY),
      source: "given",
      failures: known?.failures ?? 0,
      seenAt: known?.seenAt,
      retryAt: known?.retryAt ?? 0
    })
  }

  /** A peer has turned out to be stable. */
  learn({ addresses, peer, seenAt }: Learnt): void {
    const id = peer.toString()
    const known = this.entries.get(id)
    const isGiven = known?.source === "given"
    this.entries.set(id, {
      peer,
      // The user's addresses stay, whatever was learnt.
      addresses: isGiven ? known.addresses : union(addresses, known?.addresses ?? [], this.limits.addresses),
      source: isGiven ? "given" : "learnt",
      failures: 0,
      seenAt: Math.max(seenAt, known?.seenAt ?? seenAt),
      retryAt: 0
    })
    const learnt = this.learnt()
    const oldest = learnt.at(-1)
    if (learnt.length > this.limits.learnt && oldest !== undefined) this.entries.delete(oldest.peer.toString())
  }

  /** At most `count` to be tried now, in order; none that is `busy`. */
  choose(count: number, now: number, busy: (id: string) => boolean): ReadonlyArray<Candidate> {
    return [...this.entries]
      .filter(([id, candidate]) => this.waits(candidate, now) === 0 && !busy(id))
      .map(([, candidate]) => candidate)
      .toSorted(compare)
      .slice(0, Math.max(0, count))
  }

  /** In how long the next may be tried that is not `busy`; `undefined` if there is none. */
  nextIn(now: number, busy: (id: string) => boolean): number | undefined {
    const waits = [...this.entries].flatMap(([id, candidate]) => (busy(id) ? [] : [this.waits(candidate, now)]))
    return waits.length === 0 ? undefined : Math.min(...waits)
  }

  /** It could not be reached. `random` is in `[0, 1)`. */
  failed(id: string, now: number, random: number): void {
    const known = this.entries.get(id)
    if (known === undefined) return
    const failures = known.failures + 1
    this.entries.set(id, { ...known, failures, retryAt: now + pauseMs(failures, this.limits.pauses, random) })
  }

  /** It was reached. */
  succeeded(id: string, now: number): void {
    const known = this.entries.get(id)
    if (known !== undefined) this.entries.set(id, { ...known, failures: 0, seenAt: now, retryAt: 0 })
  }

  has(id: string): boolean {
    return this.entries.has(id)
  }

  all(): ReadonlyArray<Candidate> {
    return [...this.entries.values()]
  }

  /** What was learnt, the latest seen first. */
  learnt(): ReadonlyArray<Learnt> {
    return [...this.entries.values()]
      .flatMap(({ addresses, peer, seenAt, source }) =>
        source === "learnt" ? [{ peer, addresses, seenAt: seenAt ?? 0 }] : []
      )
      .toSorted((a, b) => b.seenAt - a.seenAt)
  }

  /** For how long it is left alone. A clock that was set back keeps nobody waiting for longer than the longest pause. */
  private waits({ retryAt }: Candidate, now: number): number {
    const wait = retryAt - now
    return wait > 0 && wait <= this.limits.pauses.longestMs ? wait : 0
  }
}
