/**
 * Who is on the local network, as far as was heard. All of it is hearsay that
 * anybody on the network can make up, so there is a bound on all of it: peers in
 * all, peers that one host tells of, addresses of a peer. Pure.
 *
 * A peer is forgotten when it was not heard of for as long as it said that it
 * holds, or says goodbye.
 */
import type * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import type { Heard } from "./Announcement.ts"
import { digest } from "./Names.ts"

export interface Limits {
  readonly peers: number
  /** That one host tells of, by its address. */
  readonly perSource: number
  /** Addresses of a peer. */
  readonly addresses: number
}

export const defaults: Limits = { peers: 4096, perSource: 256, addresses: 16 }

/** Names of a peer: one for each of its services, and those that it had before. */
const maxNames = 8
/** A peer of which less than this share of its time is left is asked for. */
const staleShare = 0.25
/** And again after this, until it is heard or forgotten. */
const staleAgainMs = 4000
/** What was said within so long is one answer, though it may come in several packets; RFC 6762, section 10.2. */
const oneAnswerMs = 1000
/** A list of what is known has those of which more than this share of their time is left: the others are to tell it again. */
const freshShare = 0.8

interface Place {
  readonly address: Multiaddr.Multiaddr
  /** Under which of the peer's names it was said, and on which link; another name has no say over it. */
  readonly name: string
  link: string
  heardAt: number
  expiresAt: number
}

interface Name {
  readonly digest: number
  readonly service: string
  expiresAt: number
  /** How long it lasts from when it is heard. */
  lastsMs: number
  /** When what was heard on each link ends. */
  readonly byLink: Map<string, number>
}

interface Entry {
  readonly peer: PeerId
  readonly source: string
  readonly names: Map<string, Name>
  readonly places: Map<string, Place>
  readonly firstAt: number
  lastAt: number
}

/** A peer as it is known now; times are those of the clock that the table is given. */
export interface Present {
  readonly peer: PeerId
  readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
  /** Such as `_p2p._udp.local`. */
  readonly services: ReadonlyArray<string>
  readonly firstAt: number
  readonly lastAt: number
  readonly expiresAt: number
}

export type Change = { readonly _tag: "Appeared" | "Changed" | "Left"; readonly peer: Present }

export class Table {
  private readonly limits: Limits
  private readonly entries = new Map<string, Entry>()
  /** Which peers have a name; several if somebody lies. */
  private readonly byName = new Map<string, Set<string>>()
  private readonly bySource = new Map<string, number>()
  /** How many names have a digest. */
  private readonly digests = new Map<number, number>()
  /** Nothing ends before, and nothing becomes stale. */
  private expiryAt = Number.POSITIVE_INFINITY
  private staleFrom = Number.POSITIVE_INFINITY
  /** Peers that were not taken in for want of room. */
  refused = 0

  constructor(limits: Limits = defaults) {
    this.limits = limits
  }

  get size(): number {
    return this.entries.size
  }

  /** When something ends, at the earliest. */
  get nextExpiry(): number {
    return this.expiryAt
  }

  /** When something is to be asked for again, at the earliest. */
  get nextStale(): number {
    return this.staleFrom
  }

  get(id: string): Present | undefined {
    const entry = this.entries.get(id)
    return entry === undefined ? undefined : present(entry)
  }

  all(): ReadonlyArray<Present> {
    return [...this.entries.values()].map(present)
  }

  /** The peers that have a name. */
  named(name: string): ReadonlyArray<Present> {
    return [...(this.byName.get(name) ?? [])].flatMap((id) => this.get(id) ?? [])
  }

  /** Takes in what was heard on a link from a host. */
  hear(heard: Heard, link: string, source: string, now: number): Change | undefined {
    const id = heard.peer.toString()
    const known = this.entries.get(id)
    if (known === undefined && heard.addresses.length === 0) return undefined
    const entry = known ?? this.enter(id, heard.peer, source, now)
    if (entry === undefined) return undefined
    const expiresAt = now + heard.ttl * 1000
    this.setName(entry, id, heard, link, expiresAt)
    const isChanged = this.setPlaces(entry, heard, link, now)
    entry.lastAt = now
    this.expiryAt = Math.min(this.expiryAt, expiresAt)
    this.staleFrom = Math.min(this.staleFrom, expiresAt - heard.ttl * 1000 * staleShare)
    if (known === undefined) return { _tag: "Appeared", peer: present(entry) }
    return isChanged ? { _tag: "Changed", peer: present(entry) } : undefined
  }

  /** A name says goodbye. */
  leave(name: string): ReadonlyArray<Change> {
    return [...(this.byName.get(name) ?? [])].flatMap((id) => {
      const entry = this.entries.get(id)
      if (entry === undefined) return []
      this.dropName(entry, id, name)
      return this.review(entry, id)
    })
  }

  /** What was heard on a link does not hold any more: it is gone, or leads elsewhere. */
  leaveLink(link: string): ReadonlyArray<Change> {
    return [...this.entries].flatMap(([id, entry]) => {
      let isChanged = false
      for (const { byLink } of entry.names.values()) byLink.delete(link)
      for (const [text, place] of entry.places) {
        if (place.link === link) isChanged = entry.places.delete(text)
      }
      return isChanged ? this.review(entry, id) : []
    })
  }

  /** Forgets what has ended. */
  expire(now: number): ReadonlyArray<Change> {
    if (now < this.expiryAt) return []
    const changes: Array<Change> = []
    this.expiryAt = Number.POSITIVE_INFINITY
    for (const [id, entry] of this.entries) {
      let isChanged = false
      for (const [text, { expiresAt }] of entry.places) {
        if (expiresAt <= now) isChanged = entry.places.delete(text)
        else this.expiryAt = Math.min(this.expiryAt, expiresAt)
      }
      for (const [name, { expiresAt }] of entry.names) {
        if (expiresAt <= now) this.dropName(entry, id, name)
        else this.expiryAt = Math.min(this.expiryAt, expiresAt)
      }
      if (isChanged || entry.names.size === 0) changes.push(...this.review(entry, id))
    }
    return changes
  }

  /** Whether a name is to be asked for again; also moves {@link nextStale} on. */
  hasStale(now: number): boolean {
    if (now < this.staleFrom) return false
    let isStale = false
    this.staleFrom = Number.POSITIVE_INFINITY
    for (const { names } of this.entries.values()) {
      for (const { expiresAt, lastsMs } of names.values()) {
        const from = expiresAt - lastsMs * staleShare
        if (from <= now) isStale = true
        else this.staleFrom = Math.min(this.staleFrom, from)
      }
    }
    if (isStale) this.staleFrom = Math.min(this.staleFrom, now + staleAgainMs)
    return isStale
  }

  /** The digests of the names of a service that were heard on a link a short share of their time ago. */
  fresh(service: string, link: string, now: number): ReadonlyArray<number> {
    const digests: Array<number> = []
    for (const { names } of this.entries.values()) {
      for (const name of names.values()) {
        const left = (name.byLink.get(link) ?? now) - now
        if (name.service === service && left > name.lastsMs * freshShare) digests.push(name.digest)
      }
    }
    return digests
  }

  /** Whether a name with this digest is known. */
  knows(digest: number): boolean {
    return this.digests.has(digest)
  }

  private enter(id: string, peer: PeerId, source: string, now: number): Entry | undefined {
    const ofSource = this.bySource.get(source) ?? 0
    if (this.entries.size >= this.limits.peers || ofSource >= this.limits.perSource) {
      this.refused++
      return undefined
    }
    const entry: Entry = { peer, source, names: new Map(), places: new Map(), firstAt: now, lastAt: now }
    this.entries.set(id, entry)
    this.bySource.set(source, ofSource + 1)
    return entry
  }

  private setName(entry: Entry, id: string, { name, service, ttl }: Heard, link: string, expiresAt: number): void {
    const known = entry.names.get(name)
    if (known !== undefined) {
      known.expiresAt = expiresAt
      known.lastsMs = ttl * 1000
      known.byLink.set(link, expiresAt)
      return
    }
    const [oldest] = entry.names.keys()
    if (entry.names.size >= maxNames && oldest !== undefined) this.dropName(entry, id, oldest)
    const own = digest(name)
    const byLink = new Map([[link, expiresAt]])
    entry.names.set(name, { digest: own, service, expiresAt, lastsMs: ttl * 1000, byLink })
    this.digests.set(own, (this.digests.get(own) ?? 0) + 1)
    const ids = this.byName.get(name) ?? new Set()
    this.byName.set(name, ids.add(id))
  }

  /** Addresses under another name are not touched: a liar under a name of its own does not take them away. */
  private setPlaces(entry: Entry, { addresses, name, replaces, ttl }: Heard, link: string, now: number): boolean {
    const expiresAt = now + ttl * 1000
    let isChanged = false
    const said = new Set<string>()
    for (const address of addresses) {
      const text = address.toString()
      said.add(text)
      const known = entry.places.get(text)
      if (known?.name === name) {
        known.link = link
        known.heardAt = now
        known.expiresAt = Math.max(expiresAt, known.expiresAt)
      } else if (known === undefined && entry.places.size < this.limits.addresses) {
        entry.places.set(text, { address, name, link, heardAt: now, expiresAt })
        isChanged = true
      }
    }
    if (!replaces) return isChanged
    for (const [text, place] of entry.places) {
      if (place.name !== name || place.link !== link || said.has(text) || now - place.heardAt < oneAnswerMs) continue
      isChanged = entry.places.delete(text)
    }
    return isChanged
  }

  private dropName(entry: Entry, id: string, name: string): void {
    const own = digest(name)
    const count = (this.digests.get(own) ?? 1) - 1
    if (!entry.names.delete(name)) return
    if (count === 0) this.digests.delete(own)
    else this.digests.set(own, count)
    for (const [text, place] of entry.places) if (place.name === name) entry.places.delete(text)
    const ids = this.byName.get(name)
    ids?.delete(id)
    if (ids?.size === 0) this.byName.delete(name)
  }

  /** An entry has lost something: with its last name or address it is gone. */
  private review(entry: Entry, id: string): ReadonlyArray<Change> {
    if (entry.names.size > 0 && entry.places.size > 0) return [{ _tag: "Changed", peer: present(entry) }]
    const gone: Change = { _tag: "Left", peer: present(entry) }
    for (const name of entry.names.keys()) this.dropName(entry, id, name)
    this.entries.delete(id)
    const ofSource = (this.bySource.get(entry.source) ?? 1) - 1
    if (ofSource === 0) this.bySource.delete(entry.source)
    else this.bySource.set(entry.source, ofSource)
    return [gone]
  }
}

const present = ({ firstAt, lastAt, names, peer, places }: Entry): Present => ({
  peer,
  addresses: [...places.values()].map(({ address }) => address),
  services: [...new Set([...names.values()].map(({ service }) => service))],
  firstAt,
  lastAt,
  expiresAt: Math.max(0, ...[...names.values()].map(({ expiresAt }) => expiresAt))
})
