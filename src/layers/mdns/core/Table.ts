/**
 * Who is on the local network, as far as was heard. All of it is hearsay that
 * anybody on the network can make up, in the name of any host, so there is a
 * bound on all of it: peers in all, those that one link and one host tell of,
 * names and addresses of a peer, peers that have one name. Pure.
 *
 * Nobody makes room for another: whoever is known stays for as long as it is
 * heard, and who comes when all is full is not taken in. Only of those whom a
 * connection has proven to be there some more are, so that whoever makes up
 * peers without end keeps none of them out.
 *
 * A peer is forgotten when it was not heard of for as long as it said that it
 * holds, or says goodbye. Each of its names waits in one heap for what comes
 * first: that it is to be asked for again, or that something of it ends. What is
 * heard costs as much as that heap is deep, however much is known.
 */
import type { PeerId } from "../../../data/PeerId.ts"
import { Expiries } from "../../internal/Expiries.ts"
import type { Heard } from "./Announcement.ts"
import { endOf, Hearsay, type Name, type Present, takenBackMs } from "./Hearsay.ts"
import * as Known from "./Known.ts"

export interface Limits {
  readonly peers: number
  /** That are heard of on one link. */
  readonly perLink: number
  /** That one host tells of, by its address. */
  readonly perSource: number
  /** That are taken in beyond these, since a connection has proven them. */
  readonly proven: number
  /** Addresses of a peer, and of each of its names. */
  readonly addresses: number
}

const defaults: Limits = { peers: 4096, perLink: 2048, perSource: 256, proven: 512, addresses: 16 }

/** Peers that have one name, but for proven ones. It is a name of one peer, unless somebody lies. */
const maxNamesakes = 8
/** A peer that was asked for is asked for again after this, until it is heard or forgotten. */
const staleAgainMs = 4000
/** Who is nearly forgotten is asked for by others as well as by oneself, unless so little time is left, or there are so many. */
const bySelfMs = 10_000
const maxByOthers = 64
/** A list of what is known has those of which more than this share of their time is left: the others are to tell it again. */
const freshShare = 0.8
/** Of those that are asked for in shares, the share of one of which less than this is left comes first. */
const wantedShare = 0.4
/** Of so many queries for a share, one is for the share whose turn it is; the others, for the one that is wanted most. */
const turnOf = 4
/** Who did not answer so many queries is wanted less than who was not asked. */
const patience = 3
/** Entries of the heap that do not count any more, above which they are dropped if they are the most. */
const maxIdle = 256

export type Change = { readonly _tag: "Appeared" | "Changed" | "Left"; readonly peer: Present }

interface Entry {
  readonly hearsay: Hearsay
  /** It counts for a bound no more. */
  readonly uncount: () => void
}

/** When a name is looked at. */
interface Due {
  readonly expiresAt: number
  name: Name | undefined
}

/** How many there are of each. */
class Counts {
  private readonly counts = new Map<string, number>()

  of(key: string): number {
    return this.counts.get(key) ?? 0
  }

  add(key: string, more: number): void {
    const count = this.of(key) + more
    if (count > 0) this.counts.set(key, count)
    else this.counts.delete(key)
  }
}

export class Table {
  private readonly limits: Limits
  private readonly isProven: (id: string) => boolean
  private readonly entries = new Map<string, Entry>()
  /** Which peers have a name; several if somebody lies. */
  private readonly byName = new Map<string, Set<string>>()
  private readonly bySource = new Counts()
  private readonly byLink = new Counts()
  /** Of those that were taken in beyond the other bounds. */
  private beyond = 0
  /** How many names have a digest. */
  private readonly digests = new Map<number, number>()
  /** Those that are asked for, since they are nearly forgotten. */
  private readonly stale = new Set<Name>()
  private readonly dues = new Expiries<Due>()
  private readonly dueOf = new Map<Name, Due>()
  private idle = 0
  private queries = 0
  /** Names that were looked at because their time had come, since the start: what it costs, where time would not tell. */
  looked = 0

  /** `isProven`: whether there is a connection with the peer of this id. */
  constructor(limits: Partial<Limits> = {}, isProven: (id: string) => boolean = () => false) {
    this.limits = { ...defaults, ...limits }
    this.isProven = isProven
  }

  get size(): number {
    return this.entries.size
  }

  /** When {@link pass} is due, at the earliest. */
  get nextAt(): number {
    return this.dues.next
  }

  get(id: string): Present | undefined {
    return this.entries.get(id)?.hearsay.present
  }

  all(): ReadonlyArray<Present> {
    return [...this.entries.values()].map(({ hearsay }) => hearsay.present)
  }

  /** The ids of the peers that have a name. */
  named(name: string): Iterable<string> {
    return this.byName.get(name) ?? []
  }

  /** Takes in what was heard on a link from a host. */
  hear(heard: Heard, link: string, source: string, now: number): Change | undefined {
    const id = heard.peer.toString()
    const known = this.entries.get(id)
    if (known === undefined && heard.addresses.length === 0) return undefined
    if (!this.mayBeNamed(id, heard.name)) return undefined
    const entry = known ?? this.enter(id, heard.peer, link, source, now)
    if (entry === undefined) return undefined
    const { hearsay } = entry
    const name = hearsay.names.get(heard.name) ?? this.addName(id, hearsay, heard, source)
    if (name === undefined) return undefined
    const isChanged = hearsay.hear(name, heard, link, now)
    this.stale.delete(name)
    this.schedule(name)
    if (known === undefined) return { _tag: "Appeared", peer: hearsay.present }
    return isChanged ? { _tag: "Changed", peer: hearsay.present } : undefined
  }

  /** A name says goodbye, or somebody in its place: it goes soon, unless it is heard before. */
  leave(text: string, now: number): void {
    for (const id of this.named(text)) {
      const name = this.entries.get(id)?.hearsay.names.get(text)
      if (name === undefined) continue
      name.leavesAt = Math.min(name.leavesAt, now + takenBackMs)
      this.schedule(name)
    }
  }

  /** What was heard on a link does not hold any more: it is gone, or leads elsewhere. */
  leaveLink(link: string): ReadonlyArray<Change> {
    return [...this.entries].flatMap(([id, { hearsay }]) => (hearsay.dropLink(link) ? this.review(id, hearsay) : []))
  }

  /** Time has passed: forgets what has ended, and says whether somebody is to be asked for again. */
  pass(now: number): { readonly changes: ReadonlyArray<Change>; readonly isStale: boolean } {
    const less = new Map<string, Hearsay>()
    let isStale = false
    for (let due = this.dues.takeDue(now); due !== undefined; due = this.dues.takeDue(now)) {
      this.looked++
      const { name } = due
      if (name === undefined) {
        this.idle--
        continue
      }
      this.dueOf.delete(name)
      const { of: hearsay } = name
      const id = hearsay.peer.toString()
      // With whom there is a connection, that did not say it.
      if (name.leavesAt <= now && this.isProven(id)) {
        name.leavesAt = Number.POSITIVE_INFINITY
        name.staleAt = now
      }
      const isOver = Math.min(name.expiresAt, name.leavesAt) <= now
      const isChanged = isOver ? this.dropName(id, name) : hearsay.dropEnded(name, now)
      if (isChanged || hearsay.isEmpty) less.set(id, hearsay)
      if (isOver) continue
      if (name.staleAt <= now) {
        isStale = true
        this.stale.add(name)
        name.staleAt = now + staleAgainMs
      }
      this.schedule(name)
    }
    return { changes: [...less].flatMap(([id, hearsay]) => this.review(id, hearsay)), isStale }
  }

  /**
   * What a query on a link says is known of a service: who was heard a short share of its time ago need not answer. Of
   * very many it asks for a share: most often for that of the one whose time is nearly over. Of several, that is one that
   * is proven before one that is not, and one that has been known for longer before one that may be made up. `own` are
   * digests that need not answer, either.
   */
  query(service: string, link: string, own: ReadonlyArray<number>, now: number): Known.Known {
    const fresh = [...own]
    const ending: Array<Name> = []
    for (const { hearsay } of this.entries.values()) {
      for (const name of hearsay.names.values()) {
        if (name.service !== service) continue
        const endsAt = name.byLink.get(link)
        // On a link that it was not heard on it is asked for like those that are not known.
        if (endsAt === undefined) continue
        const left = endsAt - now
        if (left <= name.lastsMs * wantedShare) ending.push(name)
        // Who made up a name with the digest of another's would keep that one from answering.
        else if (left > name.lastsMs * freshShare && this.digests.get(name.digest) === 1) fresh.push(name.digest)
      }
    }
    const shares = Known.sharesOf(fresh.length)
    const turn = this.queries++
    const isInTurn = turn % turnOf === 0
    const wanted = shares === 1 || isInTurn ? undefined : this.mostWanted(ending)
    const share = wanted === undefined ? Math.floor(turn / turnOf) % shares : wanted.digest % shares
    for (const name of ending) if (name.digest % shares === share) name.asks++
    return Known.make(fresh, shares, share)
  }

  /** Whether a query of another asks for all who are nearly forgotten: their answers are heard here, too. */
  isAskedFor(known: Known.Known, now: number): boolean {
    if (this.stale.size > maxByOthers) return false
    for (const { digest, expiresAt } of this.stale) {
      if (expiresAt - now < bySelfMs || Known.isUnwanted(known, digest)) return false
    }
    return true
  }

  /** Whether a name with this digest is known. */
  knows(digest: number): boolean {
    return this.digests.has(digest)
  }

  private mostWanted(names: ReadonlyArray<Name>): Name | undefined {
    let most: Name | undefined
    let rankOfMost: ReadonlyArray<number> = []
    for (const name of names) {
      const { asks, of: hearsay } = name
      const proven = this.isProven(hearsay.peer.toString())
      const rank = [asks < patience ? 0 : 1, proven ? 0 : 1, hearsay.firstAt]
      const i = rank.findIndex((value, i) => value !== rankOfMost[i])
      if (most === undefined || (i >= 0 && (rank[i] ?? 0) < (rankOfMost[i] ?? 0))) {
        most = name
        rankOfMost = rank
      }
    }
    return most
  }

  private mayBeNamed(id: string, name: string): boolean {
    const ids = this.byName.get(name)
    return ids === undefined || ids.has(id) || ids.size < maxNamesakes || this.isProven(id)
  }

  private enter(id: string, peer: PeerId, link: string, source: string, now: number): Entry | undefined {
    const uncount = this.count(id, link, source)
    if (uncount === undefined) return undefined
    const entry: Entry = { hearsay: new Hearsay(peer, this.limits.addresses, now), uncount }
    this.entries.set(id, entry)
    return entry
  }

  /** Counts one more, if there is room. */
  private count(id: string, link: string, source: string): (() => void) | undefined {
    const { peers, perLink, perSource, proven } = this.limits
    const hasRoom =
      this.entries.size - this.beyond < peers && this.byLink.of(link) < perLink && this.bySource.of(source) < perSource
    if (hasRoom) {
      this.byLink.add(link, 1)
      this.bySource.add(source, 1)
      return () => {
        this.byLink.add(link, -1)
        this.bySource.add(source, -1)
      }
    }
    if (this.beyond >= proven || !this.isProven(id)) return undefined
    this.beyond++
    return () => void this.beyond--
  }

  /** Undefined if there is no room for another name of this peer. */
  private addName(id: string, hearsay: Hearsay, heard: Heard, source: string): Name | undefined {
    const { spare } = hearsay
    if (spare === "none") return undefined
    if (spare !== undefined) this.dropName(id, spare)
    const name = hearsay.add(heard, source)
    this.digests.set(name.digest, (this.digests.get(name.digest) ?? 0) + 1)
    this.byName.set(name.text, (this.byName.get(name.text) ?? new Set()).add(id))
    return name
  }

  /** Whether addresses have gone with it. */
  private dropName(id: string, name: Name): boolean {
    this.unschedule(name)
    this.stale.delete(name)
    const count = (this.digests.get(name.digest) ?? 1) - 1
    if (count === 0) this.digests.delete(name.digest)
    else this.digests.set(name.digest, count)
    const ids = this.byName.get(name.text)
    ids?.delete(id)
    if (ids?.size === 0) this.byName.delete(name.text)
    return name.of.drop(name)
  }

  /** Of a peer something was lost: with its last name or address it is gone. */
  private review(id: string, hearsay: Hearsay): ReadonlyArray<Change> {
    if (!hearsay.isEmpty) return [{ _tag: "Changed", peer: hearsay.present }]
    const gone: Change = { _tag: "Left", peer: hearsay.present }
    for (const name of hearsay.names.values()) this.dropName(id, name)
    this.entries.get(id)?.uncount()
    this.entries.delete(id)
    return [gone]
  }

  /** Has a name looked at when its time comes. A time that has moved back is noticed when it would have come. */
  private schedule(name: Name): void {
    const expiresAt = Math.min(name.staleAt, endOf(name))
    const before = this.dueOf.get(name)
    if (before !== undefined && before.expiresAt <= expiresAt) return
    this.unschedule(name)
    const due: Due = { expiresAt, name }
    this.dueOf.set(name, due)
    this.dues.add(due)
  }

  private unschedule(name: Name): void {
    const due = this.dueOf.get(name)
    if (due === undefined) return
    this.dueOf.delete(name)
    due.name = undefined
    if (++this.idle <= maxIdle || this.idle * 2 <= this.dues.size) return
    this.dues.keep((other) => other.name !== undefined)
    this.idle = 0
  }
}
