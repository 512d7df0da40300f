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
  /** Addresses of a peer, and of each of its names. */
  readonly addresses: number
}

export const defaults: Limits = { peers: 4096, perSource: 256, addresses: 16 }

/** Names of a peer: one for each of its services, those that it had before, and those that others made up. */
const maxNames = 8
/** A peer of which less than this share of its time is left is asked for. */
const staleShare = 0.25
/** And again after this, until it is heard or forgotten. */
const staleAgainMs = 4000
/** What was said within so long is one answer, though it may come in several packets; RFC 6762, section 10.2. */
const oneAnswerMs = 1000
/** A list of what is known has those of which more than this share of their time is left: the others are to tell it again. */
const freshShare = 0.8

/** An address as it was said under one of the peer's names. What is said of it under another is another's word. */
interface Place {
  readonly address: Multiaddr.Multiaddr
  readonly text: string
  readonly name: string
  link: string
  heardAt: number
  expiresAt: number
}

interface Name {
  readonly digest: number
  readonly service: string
  /** The host that said it first. */
  readonly source: string
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
  /** By name and text. */
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
    return entry === undefined ? undefined : this.present(entry)
  }

  all(): ReadonlyArray<Present> {
    return [...this.entries.values()].map((entry) => this.present(entry))
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
    if (!this.setName(entry, id, heard, link, source, expiresAt)) return undefined
    const isChanged = this.setPlaces(entry, heard, link, now)
    entry.lastAt = now
    this.expiryAt = Math.min(this.expiryAt, expiresAt)
    this.staleFrom = Math.min(this.staleFrom, expiresAt - heard.ttl * 1000 * staleShare)
    if (known === undefined) return { _tag: "Appeared", peer: this.present(entry) }
    return isChanged ? { _tag: "Changed", peer: this.present(entry) } : undefined
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
      for (const [key, place] of entry.places) {
        if (place.link === link) isChanged = dropPlace(entry, key, place) || isChanged
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
      for (const [key, place] of entry.places) {
        if (place.expiresAt <= now) isChanged = dropPlace(entry, key, place) || isChanged
        else this.expiryAt = Math.min(this.expiryAt, place.expiresAt)
      }
      for (const [name, { expiresAt }] of entry.names) {
        if (expiresAt <= now) isChanged = this.dropName(entry, id, name) || isChanged
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

  /** False if there is no room for another name of this peer. */
  private setName(
    entry: Entry,
    id: string,
    { name, service, ttl }: Heard,
    link: string,
    source: string,
    expiresAt: number
  ): boolean {
    const known = entry.names.get(name)
    if (known !== undefined) {
      known.expiresAt = expiresAt
      known.lastsMs = ttl * 1000
      known.byLink.set(link, expiresAt)
      return true
    }
    if (entry.names.size >= maxNames) {
      const spare = spareName(entry)
      if (spare === undefined) return false
      this.dropName(entry, id, spare)
    }
    const own = digest(name)
    const byLink = new Map([[link, expiresAt]])
    entry.names.set(name, { digest: own, service, source, expiresAt, lastsMs: ttl * 1000, byLink })
    this.digests.set(own, (this.digests.get(own) ?? 0) + 1)
    const ids = this.byName.get(name) ?? new Set()
    this.byName.set(name, ids.add(id))
    return true
  }

  /** What is said under other names is not touched: a liar under a name of its own does not take it away. */
  private setPlaces(entry: Entry, { addresses, name, replaces, ttl }: Heard, link: string, now: number): boolean {
    const expiresAt = now + ttl * 1000
    let isChanged = false
    const said = new Set<string>()
    let room = this.limits.addresses
    for (const place of entry.places.values()) if (place.name === name) room--
    for (const address of addresses) {
      const text = address.toString()
      const key = `${name} ${text}`
      said.add(key)
      const known = entry.places.get(key)
      if (known !== undefined) {
        known.link = link
        known.heardAt = now
        known.expiresAt = Math.max(expiresAt, known.expiresAt)
      } else if (room > 0) {
        room--
        isChanged ||= !isShown(entry, text)
        entry.places.set(key, { address, text, name, link, heardAt: now, expiresAt })
      }
    }
    if (!replaces) return isChanged
    for (const [key, place] of entry.places) {
      if (place.name !== name || place.link !== link || said.has(key) || now - place.heardAt < oneAnswerMs) continue
      isChanged = dropPlace(entry, key, place) || isChanged
    }
    return isChanged
  }

  /** Whether addresses have gone with it. */
  private dropName(entry: Entry, id: string, name: string): boolean {
    const own = digest(name)
    const count = (this.digests.get(own) ?? 1) - 1
    if (!entry.names.delete(name)) return false
    let isChanged = false
    if (count === 0) this.digests.delete(own)
    else this.digests.set(own, count)
    for (const [key, place] of entry.places) {
      if (place.name === name) isChanged = dropPlace(entry, key, place) || isChanged
    }
    const ids = this.byName.get(name)
    ids?.delete(id)
    if (ids?.size === 0) this.byName.delete(name)
    return isChanged
  }

  /** An entry has lost something: with its last name or address it is gone. */
  private review(entry: Entry, id: string): ReadonlyArray<Change> {
    if (entry.names.size > 0 && entry.places.size > 0) return [{ _tag: "Changed", peer: this.present(entry) }]
    const gone: Change = { _tag: "Left", peer: this.present(entry) }
    for (const name of entry.names.keys()) this.dropName(entry, id, name)
    this.entries.delete(id)
    const ofSource = (this.bySource.get(entry.source) ?? 1) - 1
    if (ofSource === 0) this.bySource.delete(entry.source)
    else this.bySource.set(entry.source, ofSource)
    return [gone]
  }

  private present(entry: Entry): Present {
    const { firstAt, lastAt, names, peer } = entry
    return {
      peer,
      addresses: addressesOf(entry, this.limits.addresses),
      services: [...new Set([...names.values()].map(({ service }) => service))],
      firstAt,
      lastAt,
      expiresAt: Math.max(0, ...[...names.values()].map(({ expiresAt }) => expiresAt))
    }
  }
}

/** Whether the address of this text is said under any name. */
const isShown = ({ places }: Entry, text: string): boolean => {
  for (const place of places.values()) if (place.text === text) return true
  return false
}

/** Whether the address is not said under another name. */
const dropPlace = (entry: Entry, key: string, { text }: Place): boolean => {
  entry.places.delete(key)
  return !isShown(entry, text)
}

/** Addresses, each once; with more than there is room for, each name has as many as any other. */
const addressesOf = ({ places }: Entry, most: number): ReadonlyArray<Multiaddr.Multiaddr> => {
  const found = new Map<string, Multiaddr.Multiaddr>()
  const byName = [...Map.groupBy(places.values(), ({ name }) => name).values()]
  for (let i = 0; i < most && found.size < most; i++) {
    for (const said of byName) {
      const place = said[i]
      if (place !== undefined && found.size < most) found.set(place.text, place.address)
    }
  }
  return [...found.values()]
}

/** Which name makes room for another: the oldest of the host that made up the most; none if each has made up one. */
const spareName = ({ names }: Entry): string | undefined => {
  const bySource = Map.groupBy(names.keys(), (name) => names.get(name)?.source)
  const most = Math.max(...[...bySource.values()].map(({ length }) => length))
  return most < 2 ? undefined : [...bySource.values()].find(({ length }) => length === most)?.[0]
}
