/**
 * Who provides what, as other peers have told this node: key, providers, and
 * where these are. Records live for a time, their addresses for a shorter one.
 * All is bounded: keys, providers of a key, keys of a peer, and all of them
 * together, so that one peer cannot fill the table. Where a peer is, is kept once
 * for all that it provides. Where there are too many, the one renewed longest ago
 * gives way: who is still there renews.
 *
 * Times are given in milliseconds. What has expired is not told, and is dropped
 * at each write, a few at a time: no timers, no sweep over everything.
 *
 * Specification: kad-dht/README.md, "Content provider advertisement and discovery".
 */
import * as Bytes from "../../../data/Bytes.ts"
import type { Multiaddr } from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"

export interface Limits {
  /** Keys in all. Default 100,000. */
  readonly maxKeys?: number | undefined
  /** Providers of a key. Default 64. */
  readonly maxProviders?: number | undefined
  /** Keys of a peer. Default 10,000. */
  readonly maxKeysOfPeer?: number | undefined
  /** Announcements in all. Default 1,000,000. */
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
  /** When it last said where it is. */
  locatedAt: number
}

interface Record {
  readonly keyId: string
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

/** Records that are looked at for their age, at each write. */
const sweepSize = 16

export class Providers {
  readonly #maxKeys: number
  readonly #maxProviders: number
  readonly #maxKeysOfPeer: number
  readonly #maxRecords: number
  readonly #maxAddresses: number
  readonly #ttlMs: number
  readonly #addressTtlMs: number
  /** By the hexadecimal of the key, then by the text of the peer; those renewed longest ago first. */
  readonly #keys = new Map<string, Map<string, Record>>()
  readonly #peers = new Map<string, Announcer>()
  /** All of them, those renewed longest ago first. */
  readonly #order = new Set<Record>()

  constructor(limits: Limits = {}) {
    this.#maxKeys = limits.maxKeys ?? 100_000
    this.#maxProviders = limits.maxProviders ?? 64
    this.#maxKeysOfPeer = limits.maxKeysOfPeer ?? 10_000
    this.#maxRecords = limits.maxRecords ?? 1_000_000
    this.#maxAddresses = limits.maxAddresses ?? 32
    this.#ttlMs = limits.ttlMs ?? 48 * 3_600_000
    this.#addressTtlMs = limits.addressTtlMs ?? 24 * 3_600_000
  }

  /** What is held, with what has expired and is not yet dropped. */
  get held(): { readonly keys: number; readonly records: number; readonly peers: number } {
    return { keys: this.#keys.size, records: this.#order.size, peers: this.#peers.size }
  }

  /** A peer provides the key, or still does. Only the peer itself is to be believed. */
  add(key: Uint8Array, peer: PeerId, addresses: ReadonlyArray<Multiaddr>, now: number): void {
    this.#sweep(now)
    const keyId = Bytes.toHex(key)
    const id = peer.toString()
    const announcer = this.#peers.get(id) ?? { id, peer, records: new Set(), addresses: [], locatedAt: now }
    // A peer that renews without addresses has not moved.
    if (addresses.length > 0) announcer.addresses = fitting(addresses, this.#maxAddresses)
    announcer.locatedAt = now
    const before = this.#keys.get(keyId)?.get(id)
    if (before !== undefined) this.#drop(before)
    const { records } = announcer
    if (records.size >= this.#maxKeysOfPeer) this.#dropFirst(records)
    const ofKey = this.#keys.get(keyId)
    if (ofKey !== undefined && ofKey.size >= this.#maxProviders) this.#dropFirst(ofKey.values())
    this.#put({ keyId, announcer, renewedAt: now })
    while (this.#keys.size > this.#maxKeys || this.#order.size > this.#maxRecords) this.#dropFirst(this.#order)
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
    if (record !== undefined) this.#drop(record)
  }

  // ---- inside ---------------------------------------------------------------

  #put(record: Record): void {
    const { announcer, keyId } = record
    const ofKey = this.#keys.get(keyId) ?? new Map<string, Record>()
    this.#keys.set(keyId, ofKey.set(announcer.id, record))
    this.#peers.set(announcer.id, announcer)
    announcer.records.add(record)
    this.#order.add(record)
  }

  #drop(record: Record): void {
    const { announcer, keyId } = record
    this.#order.delete(record)
    const ofKey = this.#keys.get(keyId)
    ofKey?.delete(announcer.id)
    if (ofKey?.size === 0) this.#keys.delete(keyId)
    announcer.records.delete(record)
    if (announcer.records.size === 0) this.#peers.delete(announcer.id)
  }

  #dropFirst(records: Iterable<Record>): void {
    for (const record of records) return this.#drop(record)
  }

  #sweep(now: number): void {
    let looked = 0
    for (const record of this.#order) {
      if (looked >= sweepSize || now - record.renewedAt < this.#ttlMs) return
      this.#drop(record)
      looked += 1
    }
  }
}
