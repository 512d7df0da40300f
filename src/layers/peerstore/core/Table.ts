/**
 * The peers that a store knows: plain code, with the time of each call given
 * in milliseconds. Nothing that has expired is told; it is dropped when its
 * peer is written to, and by a sweep that looks at some peers at each write,
 * so that no timers are needed.
 *
 * A table that keeps a journal remembers what each changed peer was before,
 * until the changes are taken: storage writes them, or has them undone.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import type { PublicKey } from "../../../data/Keys.ts"
import type { Multiaddr } from "../../../data/Multiaddr.ts"
import * as PeerId from "../../../data/PeerId.ts"
import { type PeerInfo, PeerStoreLimit, type Tag, WrongKey } from "../../../services/PeerStore.ts"
import type { SignedPeerRecord } from "../../../services/SignedEnvelope.ts"
import * as Journal from "../../internal/Journal.ts"
import * as Addresses from "./Addresses.ts"
import * as Entry from "./Entry.ts"
import type { Limits } from "./Limits.ts"
import * as Tags from "./Tags.ts"

/** What a verified record says. */
type Verified = Pick<SignedPeerRecord, keyof SignedPeerRecord>

/** What became of a peer. */
export type Change = Journal.Change<Entry.Entry>

/** Peers that are looked at for something expired, at each write. */
const sweepSize = 4

const over = (resource: string, limit: number): Result.Result<never, PeerStoreLimit> =>
  Result.fail(new PeerStoreLimit({ resource, limit }))

const sizeOf = (text: string): number => Bytes.fromUtf8(text).length

export class Table {
  readonly limits: Limits
  /** By the text of the id, those heard of longest ago first. */
  #entries = new Map<string, Entry.Entry>()
  /** Those of them that are hearsay, by the time when they were last heard of or became it. */
  #hearsay = new Set<string>()
  #bytes = 0
  #counter = 0
  #sweep: Iterator<[string, Entry.Entry], undefined>
  readonly #journal: Journal.Journal<Entry.Entry> | undefined

  constructor(limits: Limits, journalled: boolean) {
    this.limits = limits
    this.#sweep = this.#entries.entries()
    this.#journal = journalled ? new Journal.Journal() : undefined
  }

  // ---- asking ---------------------------------------------------------------

  #find(peer: PeerId.PeerId, now: number): Entry.Entry | undefined {
    const entry = this.#entries.get(peer.toString())
    return entry === undefined || now >= entry.liveUntil ? undefined : entry
  }

  get(peer: PeerId.PeerId, now: number): PeerInfo | undefined {
    const entry = this.#find(peer, now)
    return entry === undefined ? undefined : Entry.toInfo(entry, now)
  }

  /** At most `limit`, those heard of latest first. */
  peers(limit: number, now: number): ReadonlyArray<PeerId.PeerId> {
    const found: Array<PeerId.PeerId> = []
    const entries = [...this.#entries.values()]
    for (let i = entries.length - 1; i >= 0 && found.length < limit; i--) {
      const entry = entries[i]
      if (entry !== undefined && now < entry.liveUntil) found.push(entry.peer)
    }
    return found
  }

  size(now: number): number {
    let count = 0
    for (const { liveUntil } of this.#entries.values()) if (now < liveUntil) count += 1
    return count
  }

  /** Peers and bytes held, with those that have expired and are not yet dropped. */
  get held(): { readonly peers: number; readonly bytes: number } {
    return { peers: this.#entries.size, bytes: this.#bytes }
  }

  addresses(peer: PeerId.PeerId, now: number): ReadonlyArray<Multiaddr> {
    const known = this.#find(peer, now)?.addresses
    return known === undefined ? [] : Addresses.live(known, now).map(({ address }) => address)
  }

  /** The envelope of the signed record. */
  record(peer: PeerId.PeerId, now: number): Uint8Array | undefined {
    const record = this.#find(peer, now)?.record
    return record === undefined || now >= record.expiresAt ? undefined : record.envelope
  }

  worth(peer: PeerId.PeerId, now: number): number {
    const tags = this.#entries.get(peer.toString())?.tags
    if (tags === undefined || tags.size === 0) return 0
    let sum = 0
    for (const tag of tags.values()) sum += Tags.valueAt(tag, now)
    return sum
  }

  // ---- learning -------------------------------------------------------------

  addAddresses(
    peer: PeerId.PeerId,
    addresses: ReadonlyArray<Multiaddr>,
    how: "proven" | "claimed",
    ttl: number,
    now: number
  ): void {
    const given = this.#normalise(peer, addresses)
    if (given.length === 0 || !(ttl > 0)) return
    const facts = this.#facts(peer, now)
    this.#hear(facts, now, {
      addresses: Addresses.learn(facts.addresses, given, how, now + ttl, this.limits.maxAddresses)
    })
  }

  removeAddresses(peer: PeerId.PeerId, addresses: ReadonlyArray<Multiaddr>, now: number): void {
    const entry = this.#find(peer, now)
    if (entry === undefined) return
    const left = Addresses.remove(entry.addresses, this.#normalise(peer, addresses))
    if (left.length < entry.addresses.length) this.#amend(entry, now, { addresses: left })
  }

  /**
   * Takes a record that has been verified. False when one as new or newer is
   * held; the same one again makes what it says last longer.
   */
  addRecord(record: Verified, ttl: number, now: number): boolean {
    const { envelope, peer, publicKey, sequence } = record
    const facts = this.#facts(peer, now)
    const last = facts.record
    // Of one that has expired the sequence still counts against older ones, but the same may come again.
    if (last !== undefined && (last.envelope === undefined ? sequence < last.sequence : sequence <= last.sequence)) {
      if (this.holdsRecord(peer, envelope, now)) this.#prolong(facts, record, ttl, now)
      return false
    }
    if (!(ttl > 0)) return false
    this.#hear(facts, now, {
      // Most ids hold their key.
      publicKey: facts.publicKey ?? (peer.publicKey === undefined ? publicKey : undefined),
      record: { sequence, envelope: Bytes.copy(envelope), expiresAt: now + ttl },
      addresses: Addresses.certify(
        facts.addresses,
        this.#normalise(peer, record.addresses),
        now + ttl,
        this.limits.maxAddresses
      )
    })
    return true
  }

  /** True when this very envelope is held. */
  holdsRecord(peer: PeerId.PeerId, envelope: Uint8Array, now: number): boolean {
    const held = this.record(peer, now)
    return held !== undefined && Bytes.equals(held, envelope)
  }

  #prolong(facts: Entry.Facts, { addresses, peer }: Verified, ttl: number, now: number): void {
    if (facts.record === undefined || !(ttl > 0)) return
    const expiresAt = Math.max(facts.record.expiresAt, now + ttl)
    this.#hear(facts, now, {
      record: { ...facts.record, expiresAt },
      addresses: Addresses.learn(
        facts.addresses,
        this.#normalise(peer, addresses),
        "certified",
        expiresAt,
        this.limits.maxAddresses
      )
    })
  }

  setPublicKey(peer: PeerId.PeerId, publicKey: PublicKey, now: number): Result.Result<void, WrongKey> {
    if (!PeerId.matchesPublicKey(peer, publicKey)) return Result.fail(new WrongKey())
    this.#hear(this.#facts(peer, now), now, { publicKey })
    return Result.void
  }

  setProtocols(
    peer: PeerId.PeerId,
    protocols: ReadonlyArray<string>,
    now: number
  ): Result.Result<void, PeerStoreLimit> {
    const { maxProtocolBytes, maxProtocols } = this.limits
    const distinct = new Set(protocols)
    if (distinct.size > maxProtocols) return over("protocols", maxProtocols)
    let bytes = 0
    for (const protocol of distinct) bytes += sizeOf(protocol)
    if (bytes > maxProtocolBytes) return over("bytes of protocols", maxProtocolBytes)
    const facts = this.#facts(peer, now)
    const told = [...distinct]
    // Storage writes what is another object.
    const same = told.length === facts.protocols.length && told.every((name, i) => name === facts.protocols[i])
    this.#hear(facts, now, same ? {} : { protocols: told })
    return Result.void
  }

  setTag(peer: PeerId.PeerId, name: string, tag: Tag | undefined, now: number): Result.Result<void, PeerStoreLimit> {
    const facts = this.#facts(peer, now)
    const tags = new Map(facts.tags)
    const made = tag === undefined ? undefined : Tags.fromTag(tag, now)
    if (made === undefined || now >= made.expiresAt) {
      if (tags.delete(name)) this.#amend(facts, now, { tags })
      return Result.void
    }
    const { maxNameSize, maxTags } = this.limits
    if (sizeOf(name) > maxNameSize) return over("bytes of the name of a tag", maxNameSize)
    if (!tags.has(name) && tags.size >= maxTags) return over("tags", maxTags)
    this.#hear(facts, now, { tags: tags.set(name, made) })
    return Result.void
  }

  setMetadata(
    peer: PeerId.PeerId,
    name: string,
    value: Uint8Array | undefined,
    now: number
  ): Result.Result<void, PeerStoreLimit> {
    const facts = this.#facts(peer, now)
    const metadata = new Map(facts.metadata)
    if (value === undefined) {
      if (metadata.delete(name)) this.#amend(facts, now, { metadata })
      return Result.void
    }
    const { maxMetadata, maxMetadataSize, maxNameSize } = this.limits
    if (sizeOf(name) > maxNameSize) return over("bytes of the name of a metadata entry", maxNameSize)
    if (value.length > maxMetadataSize) return over("bytes of a metadata value", maxMetadataSize)
    if (!metadata.has(name) && metadata.size >= maxMetadata) return over("metadata entries", maxMetadata)
    this.#hear(facts, now, { metadata: metadata.set(name, Bytes.copy(value)) })
    return Result.void
  }

  forget(peer: PeerId.PeerId): void {
    this.#put(peer.toString(), undefined)
  }

  // ---- storage --------------------------------------------------------------

  /** What changed since the last call; the changes count as stored from here on. */
  takeChanges(): ReadonlyMap<string, Change> {
    return this.#journal?.take(this.#entries) ?? new Map()
  }

  get hasChanges(): boolean {
    return this.#journal?.isEmpty === false
  }

  /** Makes changes undone that were just taken. */
  undo(changes: ReadonlyMap<string, Change>): void {
    for (const [key, { before }] of changes) this.#put(key, before)
    this.#journal?.clear()
    this.#reorder()
  }

  /** Puts back what was stored. What is over the bounds or has expired is dropped, as a change. */
  restore(stored: ReadonlyArray<Entry.Facts>, now: number): void {
    for (const facts of stored) {
      this.#put(facts.peer.toString(), Entry.make(facts, this.limits.maxAge))
      this.#counter = Math.max(this.#counter, facts.heard, facts.number)
    }
    this.#journal?.clear()
    this.#reorder()
    for (const [key, entry] of this.#entries) this.#prune(key, entry, now)
    this.#evict(now)
  }

  // ---- inside ---------------------------------------------------------------

  #normalise(peer: PeerId.PeerId, addresses: ReadonlyArray<Multiaddr>): ReadonlyArray<Multiaddr> {
    return addresses.flatMap((address) => Addresses.normalise(peer, address) ?? [])
  }

  /** What is known now, to be changed. */
  #facts(peer: PeerId.PeerId, now: number): Entry.Facts {
    const entry = this.#find(peer, now)
    return entry === undefined ? Entry.unknown(peer, ++this.#counter) : Entry.pruned(entry, now)
  }

  /** Something new of a peer: it is now the one heard of latest. */
  #hear(facts: Entry.Facts, now: number, news: Partial<Entry.Facts>): void {
    const key = facts.peer.toString()
    const heard = ++this.#counter
    const entry = Entry.make({ ...facts, ...news, heard, heardAt: now }, this.limits.maxAge)
    this.#put(key, undefined)
    if (now < entry.liveUntil) this.#put(key, entry)
    this.#evict(now)
    this.#tidy(now)
  }

  /** Something less of a peer, which is no news of it. */
  #amend(facts: Entry.Facts, now: number, less: Partial<Entry.Facts>): void {
    const entry = Entry.make({ ...facts, ...less }, this.limits.maxAge)
    this.#put(facts.peer.toString(), now < entry.liveUntil ? entry : undefined)
    this.#tidy(now)
  }

  #put(key: string, entry: Entry.Entry | undefined): void {
    const before = this.#entries.get(key)
    this.#journal?.note(key, before)
    this.#bytes += (entry?.size ?? 0) - (before?.size ?? 0)
    if (entry === undefined) this.#entries.delete(key)
    else this.#entries.set(key, entry)
    if (entry?.hearsay === true) this.#hearsay.add(key)
    else this.#hearsay.delete(key)
  }

  /**
   * Forgets peers while there are too many: hearsay, which costs those who
   * spread it nothing, then those without a tag; of these the one heard of
   * longest ago. What has expired counts until it is swept; to look for it here
   * would cost each newcomer a walk over all peers.
   */
  #evict(now: number): void {
    while (this.#entries.size > this.limits.maxPeers || this.#bytes > this.limits.maxBytes) {
      const [hearsay] = this.#hearsay
      const victim = hearsay ?? this.#oldest(now)
      if (victim === undefined) return
      this.#put(victim, undefined)
    }
  }

  /** The peer heard of longest ago, of those without a tag if there are any. */
  #oldest(now: number): string | undefined {
    for (const [key, { taggedUntil }] of this.#entries) if (now >= taggedUntil) return key
    const [key] = this.#entries.keys()
    return key
  }

  #tidy(now: number): void {
    for (let i = 0; i < sweepSize; i++) {
      const next = this.#sweep.next()
      if (next.done === true) {
        this.#sweep = this.#entries.entries()
        return
      }
      this.#prune(next.value[0], next.value[1], now)
    }
  }

  #prune(key: string, entry: Entry.Entry, now: number): void {
    if (now >= entry.liveUntil) this.#put(key, undefined)
    else if (now >= entry.pruneAt) this.#put(key, Entry.make(Entry.pruned(entry, now), this.limits.maxAge))
  }

  #reorder(): void {
    this.#entries = new Map([...this.#entries].toSorted(([, a], [, b]) => a.heard - b.heard))
    this.#hearsay = new Set([...this.#entries].flatMap(([key, { hearsay }]) => (hearsay ? [key] : [])))
    this.#sweep = this.#entries.entries()
  }
}
