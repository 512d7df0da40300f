/**
 * Who provides what, as other peers have told this node: key, providers, and
 * where these are. Records live for a time, their addresses for a shorter one.
 * All is bounded: keys, providers of a key, keys of a peer, and all of them
 * together. Where there are too many, those who have most give way, see Shares:
 * many identities of few networks push out themselves. Where a peer is, is kept
 * once for all that it provides.
 *
 * Times are given in milliseconds. What has expired is not told, and is dropped
 * at each write, a few at a time: no timers, no sweep over everything.
 *
 * Specification: kad-dht/README.md, "Content provider advertisement and discovery".
 */
import * as Bytes from "../../../data/Bytes.ts"
import type { Multiaddr } from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import * as Key from "./Key.ts"
import { type Scope, Shares } from "./Shares.ts"

export interface Limits {
  /** Keys in all. Default 100,000. */
  readonly maxKeys?: number | undefined
  /** Providers of a key. Default 64. */
  readonly maxProviders?: number | undefined
  /** Keys of a peer. Default 10,000. */
  readonly maxKeysOfPeer?: number | undefined
  /** Announcements of the peers of a network. Default a quarter of all. */
  readonly maxRecordsOfGroup?: number | undefined
  /** Announcements in all; where their addresses are more than 8 bytes for each, one of each is kept. Default 1,000,000. */
  readonly maxRecords?: number | undefined
  /** Addresses of a provider. Default 32. */
  readonly maxAddresses?: number | undefined
  /** How long a record lives. Default 48 hours. */
  readonly ttlMs?: number | undefined
  /** How long its addresses do. Default 24 hours. */
  readonly addressTtlMs?: number | undefined
}

export interface Provider {
  readonly peer: PeerId
  /** None when they have expired: who asks has to find the peer. */
  readonly addresses: ReadonlyArray<Multiaddr>
}

/** A peer that provides something. */
interface Announcer {
  readonly id: string
  readonly peer: PeerId
  readonly records: Set<Record>
  addresses: ReadonlyArray<Multiaddr>
  addressBytes: number
  /** When it last said where it is. */
  locatedAt: number
}

interface Record {
  readonly id: string
  readonly keyId: string
  /** The network that it was told from. */
  readonly group: string
  readonly announcer: Announcer
  readonly renewedAt: number
}

/** Bytes of the addresses of a provider: those of all providers of a key fit in one answer. */
const maxAddressBytes = 4096

/** As many of the addresses as may be kept, the first first. */
const fitting = (addresses: ReadonlyArray<Multiaddr>, count: number): ReadonlyArray<Multiaddr> => {
  let left = maxAddressBytes
  return addresses.slice(0, count).filter(({ bytes }) => {
    left -= bytes.length
    return left >= 0
  })
}

/**
 * Bytes of the addresses of all providers, for each announcement that may be
 * held; a hundred times as many in memory. Beyond that, each has one that is short.
 */
const addressBytesOfRecord = 8
const shortAddress = 64

/** What an announcement weighs in memory, about: 600 bytes, 3.5 KiB where each is another peer's, which are few. */
const weight = 1280

/** Announcements that a DHT may hold on a machine with so much memory: an eighth of it, at most a million. */
export const recordsFor = (memory: number): number =>
  Math.min(1_000_000, Math.max(16_384, Math.floor(memory / 8 / weight)))

const bytesOf = (addresses: ReadonlyArray<Multiaddr>): number =>
  addresses.reduce((sum, { bytes }) => sum + bytes.length, 0)

/** Records that are looked at for their age, at each write. */
const sweepSize = 16

/** Records that may have to go for one key to go. */
const triesForKey = 64

export class Providers {
  readonly #maxKeys: number
  readonly #maxProviders: number
  readonly #own: Key.Key
  readonly #maxAddresses: number
  readonly #maxAddressBytes: number
  readonly #ttlMs: number
  readonly #addressTtlMs: number
  /** By the hexadecimal of the key, then by the text of the peer; those renewed longest ago first. */
  readonly #keys = new Map<string, Map<string, Record>>()
  readonly #peers = new Map<string, Announcer>()
  /** All of them by their ids, those renewed longest ago first. */
  readonly #order = new Map<string, Record>()
  readonly #shares: Shares
  #addressBytes = 0
  readonly #counts = { refused: { peer: 0, group: 0, node: 0 }, dropped: 0 }

  /** `own` is the place of this node: what is near to it is kept rather than what is not. */
  constructor(own: Key.Key, limits: Limits = {}) {
    this.#own = own
    this.#maxKeys = limits.maxKeys ?? 100_000
    this.#maxProviders = limits.maxProviders ?? 64
    const total = limits.maxRecords ?? 1_000_000
    this.#shares = new Shares({
      total,
      group: limits.maxRecordsOfGroup ?? Math.max(1, Math.floor(total / 4)),
      peer: limits.maxKeysOfPeer ?? 10_000
    })
    this.#maxAddresses = limits.maxAddresses ?? 32
    this.#maxAddressBytes = Math.max(maxAddressBytes, addressBytesOfRecord * total)
    this.#ttlMs = limits.ttlMs ?? 48 * 3_600_000
    this.#addressTtlMs = limits.addressTtlMs ?? 24 * 3_600_000
  }

  /** What is held, with what has expired and is not yet dropped. */
  get held(): { readonly keys: number; readonly records: number; readonly peers: number } {
    return { keys: this.#keys.size, records: this.#order.size, peers: this.#peers.size }
  }

  /** What was not taken, by whose share was full, and what was dropped to make room, since the start. */
  get counts(): { readonly refused: Readonly<globalThis.Record<Scope, number>>; readonly dropped: number } {
    return { refused: { ...this.#counts.refused }, dropped: this.#counts.dropped }
  }

  /**
   * A peer provides the key, or still does. Only the peer itself is to be
   * believed. `group` is the network that it is in; without one, it is one of
   * its own. Gives whose share was full, if it was not taken.
   */
  add(
    key: Uint8Array,
    peer: PeerId,
    addresses: ReadonlyArray<Multiaddr>,
    now: number,
    group: string = peer.toString()
  ): Scope | undefined {
    this.#sweep(now, sweepSize)
    const keyId = Bytes.toHex(key)
    const peerId = peer.toString()
    const record: Omit<Record, "announcer"> = { id: `${keyId} ${peerId}`, keyId, group, renewedAt: now }
    const before = this.#order.get(record.id)
    if (before === undefined) {
      const refused = this.#makeRoom(key, peerId, record, now)
      if (refused !== undefined) {
        this.#counts.refused[refused] += 1
        return refused
      }
    } else {
      // What is renewed keeps its place in the shares: who renews from elsewhere moves nobody's.
      this.#unlink(before)
    }
    const announcer = before?.announcer ??
      this.#peers.get(peerId) ?? {
        id: peerId,
        peer,
        records: new Set(),
        addresses: [],
        addressBytes: 0,
        locatedAt: now
      }
    announcer.locatedAt = now
    this.#put({ ...record, group: before?.group ?? group, announcer })
    // A peer that renews without addresses has not moved.
    if (addresses.length > 0) this.#locate(announcer, fitting(addresses, this.#maxAddresses))
    return undefined
  }

  /** Who provides the key, at most `limit`, those that told last first. */
  get(key: Uint8Array, now: number, limit: number = this.#maxProviders): ReadonlyArray<Provider> {
    const found: Array<Provider> = []
    for (const record of [...(this.#keys.get(Bytes.toHex(key))?.values() ?? [])].toReversed()) {
      if (found.length >= limit || now - record.renewedAt >= this.#ttlMs) break
      const { addresses, locatedAt, peer } = record.announcer
      found.push({ peer, addresses: now - locatedAt < this.#addressTtlMs ? addresses : [] })
    }
    return found
  }

  /** Forgets that a peer provides a key. */
  remove(key: Uint8Array, peer: PeerId): void {
    const record = this.#keys.get(Bytes.toHex(key))?.get(peer.toString())
    this.#drop(record)
  }

  // ---- inside ---------------------------------------------------------------

  /** Room for a record that is new; gives whose share is full where there is none. */
  #makeRoom(key: Uint8Array, peer: string, record: Omit<Record, "announcer">, now: number): Scope | undefined {
    const { group, id, keyId } = record
    const claim = { id, peer, group, weight: 1, closeness: Key.commonPrefix(this.#own, Key.fromBytes(key)) }
    const isFull = this.#shares.total >= this.#shares.limits.total || this.#keys.size >= this.#maxKeys
    if (isFull) this.#sweep(now, Number.POSITIVE_INFINITY)
    const ofKey = this.#keys.get(keyId)
    if (ofKey !== undefined && ofKey.size >= this.#maxProviders) this.#drop(this.#mostOf(ofKey, group))
    // Each record that goes may take a key with it, or not; a few are tried.
    for (let tries = 0; !this.#keys.has(keyId) && this.#keys.size >= this.#maxKeys; tries++) {
      const gone = tries < triesForKey ? this.#order.get(this.#shares.yieldTo(claim) ?? "") : undefined
      if (gone === undefined) return "node"
      this.#counts.dropped += 1
      this.#drop(gone)
    }
    const { dropped, refused } = this.#shares.admit(claim)
    this.#counts.dropped += dropped.length
    for (const one of dropped) this.#drop(this.#order.get(one))
    return refused
  }

  /** Of the providers of a key, the one renewed longest ago of the network that has most of them, with the one that comes. */
  #mostOf(ofKey: ReadonlyMap<string, Record>, group: string): Record | undefined {
    const sizes = new Map<string, number>([[group, 1]])
    for (const record of ofKey.values()) sizes.set(record.group, (sizes.get(record.group) ?? 0) + 1)
    const most = Math.max(...sizes.values())
    // The network of the one that comes gives way first.
    const chosen = sizes.get(group) === most ? group : undefined
    for (const record of ofKey.values()) {
      if (chosen === undefined ? sizes.get(record.group) === most : record.group === chosen) return record
    }
    for (const record of ofKey.values()) return record
    return undefined
  }

  /**
   * Keeps where a provider is; where there is no room, one address of it. Ids
   * cost nothing, and each could bring addresses that weigh more than all that it
   * announces; but nobody is to hide others by taking all the room.
   */
  #locate(announcer: Announcer, addresses: ReadonlyArray<Multiaddr>): void {
    const left = this.#maxAddressBytes - this.#addressBytes + announcer.addressBytes
    const short = addresses.find(({ bytes }) => bytes.length <= shortAddress)
    announcer.addresses = bytesOf(addresses) <= left ? addresses : short === undefined ? [] : [short]
    this.#addressBytes -= announcer.addressBytes
    announcer.addressBytes = bytesOf(announcer.addresses)
    this.#addressBytes += announcer.addressBytes
  }

  #put(record: Record): void {
    const { announcer, id, keyId } = record
    const ofKey = this.#keys.get(keyId) ?? new Map<string, Record>()
    this.#keys.set(keyId, ofKey.set(announcer.id, record))
    if (!this.#peers.has(announcer.id)) this.#addressBytes += announcer.addressBytes
    this.#peers.set(announcer.id, announcer)
    announcer.records.add(record)
    this.#order.set(id, record)
  }

  #unlink(record: Record): void {
    const { announcer, id, keyId } = record
    this.#order.delete(id)
    const ofKey = this.#keys.get(keyId)
    ofKey?.delete(announcer.id)
    if (ofKey?.size === 0) this.#keys.delete(keyId)
    announcer.records.delete(record)
    if (announcer.records.size > 0) return
    this.#peers.delete(announcer.id)
    this.#addressBytes -= announcer.addressBytes
  }

  #drop(record: Record | undefined): void {
    if (record === undefined) return
    this.#unlink(record)
    this.#shares.remove(record.id)
  }

  #sweep(now: number, count: number): void {
    let looked = 0
    for (const record of this.#order.values()) {
      if (looked >= count || now - record.renewedAt < this.#ttlMs) return
      this.#drop(record)
      looked += 1
    }
  }
}
