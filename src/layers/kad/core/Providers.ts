/**
 * Who provides what, as other peers have told this node: key, providers, and
 * where these are. Records live for a time, their addresses for a shorter one.
 * All is bounded: keys, providers of a key, and keys of a peer, so that one peer
 * cannot fill the table. Where there are too many, the one renewed longest ago
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

interface Record extends Provider {
  readonly keyId: string
  readonly peerId: string
  readonly renewedAt: number
}

/** Records that are looked at for their age, at each write. */
const sweepSize = 16

export class Providers {
  readonly #maxKeys: number
  readonly #maxProviders: number
  readonly #maxKeysOfPeer: number
  readonly #maxAddresses: number
  readonly #ttlMs: number
  readonly #addressTtlMs: number
  /** By the hexadecimal of the key, then by the text of the peer; those renewed longest ago first. */
  readonly #keys = new Map<string, Map<string, Record>>()
  readonly #peers = new Map<string, Set<Record>>()
  /** All of them, those renewed longest ago first. */
  readonly #order = new Set<Record>()

  constructor(limits: Limits = {}) {
    this.#maxKeys = limits.maxKeys ?? 100_000
    this.#maxProviders = limits.maxProviders ?? 64
    this.#maxKeysOfPeer = limits.maxKeysOfPeer ?? 10_000
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
    const peerId = peer.toString()
    const before = this.#keys.get(keyId)?.get(peerId)
    // A peer that renews without addresses has not moved.
    const known = before !== undefined && addresses.length === 0 ? before.addresses : addresses
    if (before !== undefined) this.#drop(before)
    const record = { keyId, peerId, peer, addresses: known.slice(0, this.#maxAddresses), renewedAt: now }
    const ofPeer = this.#peers.get(peerId)
    if (ofPeer !== undefined && ofPeer.size >= this.#maxKeysOfPeer) this.#dropFirst(ofPeer)
    const ofKey = this.#keys.get(keyId)
    if (ofKey !== undefined && ofKey.size >= this.#maxProviders) this.#dropFirst(ofKey.values())
    this.#put(record)
    while (this.#keys.size > this.#maxKeys) this.#dropFirst(this.#order)
  }

  /** Who provides the key, at most `limit`, those that told last first. */
  get(key: Uint8Array, now: number, limit: number = this.#maxProviders): ReadonlyArray<Provider> {
    const found: Array<Provider> = []
    for (const record of [...(this.#keys.get(Bytes.toHex(key))?.values() ?? [])].toReversed()) {
      if (found.length >= limit || now - record.renewedAt >= this.#ttlMs) break
      const isFresh = now - record.renewedAt < this.#addressTtlMs
      found.push({ peer: record.peer, addresses: isFresh ? record.addresses : [] })
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
    const ofKey = this.#keys.get(record.keyId) ?? new Map<string, Record>()
    this.#keys.set(record.keyId, ofKey.set(record.peerId, record))
    const ofPeer = this.#peers.get(record.peerId) ?? new Set<Record>()
    this.#peers.set(record.peerId, ofPeer.add(record))
    this.#order.add(record)
  }

  #drop(record: Record): void {
    this.#order.delete(record)
    const ofKey = this.#keys.get(record.keyId)
    ofKey?.delete(record.peerId)
    if (ofKey?.size === 0) this.#keys.delete(record.keyId)
    const ofPeer = this.#peers.get(record.peerId)
    ofPeer?.delete(record)
    if (ofPeer?.size === 0) this.#peers.delete(record.peerId)
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
