/**
 * What is said of one peer: under which names, and where it is. Anybody can say
 * it, so that it is kept apart by name: who speaks for another under a name of
 * its own adds to it and takes nothing away. Pure.
 */
import type * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import type { Heard } from "./Announcement.ts"
import { digest } from "./Names.ts"

/** Names of a peer: one for each of its services, those that it had before, and those that others made up. */
const maxNames = 8
/** What was said within so long is one answer, though it may come in several packets; RFC 6762, section 10.2. */
const oneAnswerMs = 1000
/**
 * What is taken back, as by a goodbye, holds for so long, so that whoever did not take it back has said by then that it
 * does; RFC 6762, sections 10.1 and 10.2.
 */
export const takenBackMs = 750
/** A name of which less than this share of its time is left is asked for. */
const staleShare = 0.25

/** An address as it was said under one of the peer's names. */
interface Place {
  readonly address: Multiaddr.Multiaddr
  link: string
  heardAt: number
  expiresAt: number
}

export interface Name {
  readonly of: Hearsay
  readonly text: string
  readonly digest: number
  readonly service: string
  /** The host that said it first. */
  readonly source: string
  /** By text. */
  readonly places: Map<string, Place>
  /** When what was heard on each link ends. */
  readonly byLink: Map<string, number>
  expiresAt: number
  /** When it goes, having said goodbye, unless it is heard before. */
  leavesAt: number
  /** How long it lasts from when it is heard. */
  lastsMs: number
  /** From when on it is asked for. */
  staleAt: number
  /** How often it was asked for since it was heard. */
  asks: number
}

/** When the name, or an address of it, ends. */
export const endOf = ({ expiresAt, leavesAt, places }: Name): number => {
  let at = Math.min(expiresAt, leavesAt)
  for (const place of places.values()) at = Math.min(at, place.expiresAt)
  return at
}

/** A peer as it is known now; times are those of the clock that is given. */
export interface Present {
  readonly peer: PeerId
  readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
  /** Such as `_p2p._udp.local`. */
  readonly services: ReadonlyArray<string>
  readonly firstAt: number
  readonly lastAt: number
  readonly expiresAt: number
}

export class Hearsay {
  readonly peer: PeerId
  readonly firstAt: number
  readonly names = new Map<string, Name>()
  private readonly maxAddresses: number
  private lastAt: number

  constructor(peer: PeerId, maxAddresses: number, now: number) {
    this.peer = peer
    this.maxAddresses = maxAddresses
    this.firstAt = now
    this.lastAt = now
  }

  /** Whether there is nothing left that is said of it. */
  get isEmpty(): boolean {
    for (const { places } of this.names.values()) if (places.size > 0) return false
    return true
  }

  get present(): Present {
    return {
      peer: this.peer,
      addresses: this.addresses,
      services: [...new Set([...this.names.values()].map(({ service }) => service))],
      firstAt: this.firstAt,
      lastAt: this.lastAt,
      expiresAt: Math.max(0, ...[...this.names.values()].map(({ expiresAt }) => expiresAt))
    }
  }

  /** Which name must go for another; undefined if there is room. */
  get spare(): Name | "none" | undefined {
    if (this.names.size < maxNames) return undefined
    const bySource = Map.groupBy(this.names.values(), ({ source }) => source)
    const most = Math.max(...[...bySource.values()].map(({ length }) => length))
    // The latest of the host that has made up the most, if it made up more than one: what was known before stays, also
    // if it was said in the name of its own host.
    return most < 2 ? "none" : ([...bySource.values()].find(({ length }) => length === most)?.at(-1) ?? "none")
  }

  /** A name that it was not heard under before. */
  add({ name, service }: Heard, source: string): Name {
    const added: Name = {
      of: this,
      text: name,
      digest: digest(name),
      service,
      source,
      places: new Map(),
      byLink: new Map(),
      expiresAt: 0,
      leavesAt: Number.POSITIVE_INFINITY,
      lastsMs: 0,
      staleAt: 0,
      asks: 0
    }
    this.names.set(name, added)
    return added
  }

  /** Takes in what was heard of it under one of its names; whether its addresses have changed. */
  hear(name: Name, { addresses, replaces, ttl }: Heard, link: string, now: number): boolean {
    const lastsMs = ttl * 1000
    const expiresAt = now + lastsMs
    this.lastAt = now
    name.lastsMs = lastsMs
    name.expiresAt = expiresAt
    name.leavesAt = Number.POSITIVE_INFINITY
    name.staleAt = expiresAt - lastsMs * staleShare
    name.asks = 0
    name.byLink.set(link, expiresAt)
    let isChanged = false
    const said = new Set<string>()
    for (const address of addresses) {
      const text = address.toString()
      said.add(text)
      const known = name.places.get(text)
      if (known !== undefined) {
        known.link = link
        known.heardAt = now
        known.expiresAt = Math.max(expiresAt, known.expiresAt)
      } else if (name.places.size < this.maxAddresses) {
        isChanged ||= !this.isAt(text)
        name.places.set(text, { address, link, heardAt: now, expiresAt })
      }
    }
    if (!replaces) return isChanged
    for (const [text, place] of name.places) {
      if (place.link !== link || said.has(text) || now - place.heardAt < oneAnswerMs) continue
      place.expiresAt = Math.min(place.expiresAt, now + takenBackMs)
    }
    return isChanged
  }

  /** It is not known by this name any more; whether addresses have gone with it. */
  drop(name: Name): boolean {
    this.names.delete(name.text)
    for (const text of name.places.keys()) if (!this.isAt(text)) return true
    return false
  }

  /** What was heard on a link does not hold any more; whether addresses have gone with it. */
  dropLink(link: string): boolean {
    let isChanged = false
    for (const name of this.names.values()) {
      name.byLink.delete(link)
      isChanged = this.dropPlaces(name, (place) => place.link === link) || isChanged
    }
    return isChanged
  }

  /** Addresses of a name have ended; whether they have gone. */
  dropEnded(name: Name, now: number): boolean {
    return this.dropPlaces(name, ({ expiresAt }) => expiresAt <= now)
  }

  private dropPlaces({ places }: Name, isOver: (place: Place) => boolean): boolean {
    let isChanged = false
    for (const [text, place] of places) {
      if (!isOver(place)) continue
      places.delete(text)
      isChanged ||= !this.isAt(text)
    }
    return isChanged
  }

  /** Whether the address of this text is said under any name. */
  private isAt(text: string): boolean {
    for (const { places } of this.names.values()) if (places.has(text)) return true
    return false
  }

  /** Addresses, each once; with more than there is room for, each name has as many as any other. */
  private get addresses(): ReadonlyArray<Multiaddr.Multiaddr> {
    const [name, another] = this.names.values()
    // So it is of nearly all, and all that is known is asked for often.
    if (name !== undefined && another === undefined) return [...name.places.values()].map(({ address }) => address)
    const found = new Map<string, Multiaddr.Multiaddr>()
    const byName = [...this.names.values()].map(({ places }) => [...places])
    for (let i = 0; i < this.maxAddresses && found.size < this.maxAddresses; i++) {
      for (const places of byName) {
        const place = places[i]
        if (place !== undefined && found.size < this.maxAddresses) found.set(place[0], place[1].address)
      }
    }
    return [...found.values()]
  }
}
