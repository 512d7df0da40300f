/**
 * The routing table: peers in buckets by how many leading bits they share with
 * this node, at most `k` in each. It begins as one bucket; the last one, which
 * holds all that share as many bits or more, unfolds when it is full.
 *
 * Who answers stays: a newcomer to a full bucket waits as a replacement, until
 * one of those in it has failed a check, or has long been of no use. The table
 * says who is to be checked, its owner asks them and reports back. Only peers
 * that have answered, and answer others (servers), are to be added.
 *
 * Few peers of one network are taken: see Diversity.
 *
 * Specification: kad-dht/README.md, "Kademlia routing table".
 */
import { Bucket, type BucketSnapshot, Entry, type Facts, type News } from "./Bucket.ts"
import * as Key from "./Key.ts"
import type { Finished } from "./Query.ts"
import { type Options, type Settings, settings } from "./TableOptions.ts"

export type { Options } from "./TableOptions.ts"

type Contact = Key.Contact

/** What became of a peer that was offered. */
export type Offered =
  | "added"
  /** It is in the table already; what is known of it is now newer. */
  | "known"
  /** The bucket is full: it waits for a place. */
  | "waiting"
  /** It is this node; too many of its network are here; it is too slow. */
  | "self"
  | "diversity"
  | "latency"

/** Who came into the table and who left it. */
export interface Change {
  readonly added: ReadonlyArray<Contact>
  readonly removed: ReadonlyArray<Contact>
}

/** What came of a check: an answer that was of use, just an answer, or none. */
export type Checked = "useful" | "alive" | "dead"

/** A peer of an earlier run. */
interface Remembered {
  readonly contact: Contact
  /** Networks of its addresses, see `Diversity.groups`. */
  readonly groups: ReadonlyArray<string>
}

/** A bucket that is due. */
export interface Due {
  /** Leading bits that its peers share with this node. */
  readonly bucket: number
  /** The last one, which is refreshed by a lookup of this node itself. */
  readonly last: boolean
}

/** The table as a picture. */
export interface Snapshot {
  readonly size: number
  readonly buckets: ReadonlyArray<BucketSnapshot & Due>
}

/** A replacement that was heard of within this time is there still, as far as one can tell. */
const freshMs = 60_000

/** Where so many wait for a place already, others are not sought out. */
const enoughWaiting = 3

const none: Change = { added: [], removed: [] }

export class RoutingTable {
  readonly self: Key.Key
  readonly k: number
  readonly #settings: Settings
  readonly #first = new Bucket()
  readonly #buckets: Array<Bucket> = [this.#first]
  #size = 0
  /** When any peer of the table was last heard of. */
  #heardAt = Number.NEGATIVE_INFINITY
  /** A lookup has told who is closest to this node. */
  #knowsNeighbours = false

  constructor(self: Key.Key, options: Options = {}) {
    this.self = self
    this.#settings = settings(options)
    this.k = this.#settings.k
  }

  // ---- asking ---------------------------------------------------------------

  get size(): number {
    return this.#size
  }

  has(key: Key.Key): boolean {
    return this.#bucketOf(key).entries.has(key.id)
  }

  /** True when a peer that came by itself is worth a question: it is new, and there is room for it, or few wait for room. */
  wants(key: Key.Key): boolean {
    const bucket = this.#bucketOf(key)
    if (bucket.entries.has(key.id) || bucket.replacements.has(key.id) || Key.equals(key, this.self)) return false
    const unfolds = bucket === this.#buckets.at(-1) && this.#buckets.length < Key.bits
    return !this.#isFull(bucket) || unfolds || bucket.replacements.size < enoughWaiting
  }

  /** Those closest to the target, the closest first. Who is doubtful is left out while there are others. */
  nearest(target: Key.Key, count: number = this.k): ReadonlyArray<Contact> {
    const answering: Array<Entry> = []
    const doubtful: Array<Entry> = []
    for (const { entries } of this.#buckets) {
      for (const entry of entries.values()) (entry.doubtful ? doubtful : answering).push(entry)
    }
    return Key.closest(target, answering.length > 0 ? answering : doubtful, count).map(({ contact }) => contact)
  }

  /** This node, and the `k` that are closest to it; `undefined` until a lookup has told who these are. */
  neighbours(): { readonly self: Key.Key; readonly closest: ReadonlyArray<Contact> } | undefined {
    return this.#knowsNeighbours && this.#size >= this.k
      ? { self: this.self, closest: this.nearest(this.self) }
      : undefined
  }

  snapshot(now: number): Snapshot {
    const last = this.#buckets.length - 1
    return {
      size: this.#size,
      buckets: this.#buckets.map((bucket, i) => ({ bucket: i, last: i === last, ...bucket.snapshot(now) }))
    }
  }

  // ---- learning -------------------------------------------------------------

  /** A peer has answered: it is added, or waits for a place. */
  offer(contact: Contact, facts: Facts, now: number): Change & { readonly outcome: Offered } {
    const { key } = contact
    if (Key.equals(key, this.self)) return { ...none, outcome: "self" }
    const known = this.#bucketOf(key).entries.get(key.id)
    if (known !== undefined) {
      this.#heard(known, facts, now)
      return { ...none, outcome: "known" }
    }
    if ((facts.latencyMs ?? 0) > this.#settings.maxLatencyMs) return { ...none, outcome: "latency" }
    while (this.#isFull(this.#bucketOf(key)) && this.#unfold(key));
    const bucket = this.#bucketOf(key)
    const entry = new Entry(contact, facts, now)
    if (!this.#isDiverse(bucket, entry)) return { ...none, outcome: "diversity" }
    if (!this.#isFull(bucket)) {
      this.#put(bucket, entry)
      return { added: [contact], removed: [], outcome: "added" }
    }
    bucket.wait(entry, this.#settings.maxReplacements)
    return { ...none, outcome: "waiting" }
  }

  /**
   * Takes peers of an earlier run as though they had just answered: those that
   * are gone leave when they do not answer. Each bucket is due at a time of its
   * own, or nodes that start together would all refresh at once.
   */
  remember(peers: Iterable<Remembered>, now: number, chance: Key.Chance): Change {
    const added: Array<Contact> = []
    for (const { contact, groups } of peers) {
      if (this.offer(contact, { groups, useful: false }, now).outcome === "added") added.push(contact)
    }
    if (this.#size > 0) {
      this.#knowsNeighbours = true
      for (const bucket of this.#buckets) bucket.refreshedAt = now - chance() * this.#settings.refreshEveryMs
    }
    return { added, removed: [] }
  }

  /** A peer gave an answer that was of use, such as peers closer to a target. */
  useful({ key }: Contact, now: number, latencyMs?: number): void {
    this.#heard(this.#bucketOf(key).entries.get(key.id), { useful: true, latencyMs }, now)
  }

  /** A peer was heard of: it asked something, or a connection to it was made. */
  seen({ key }: Contact, now: number): void {
    this.#heard(this.#bucketOf(key).entries.get(key.id), { useful: false }, now)
  }

  /** A peer is gone for good, or answers others no more. Its replacement takes its place. */
  remove({ key }: Contact, now: number): Change {
    const bucket = this.#bucketOf(key)
    bucket.replacements.delete(key.id)
    const entry = bucket.entries.get(key.id)
    return entry === undefined ? none : this.#replace(bucket, entry, now)
  }

  // ---- checks ---------------------------------------------------------------

  /**
   * Peers to ask something now, those not heard of for longest first, at most
   * `limit`. They count as being checked until {@link checked} or for the time
   * of `checkTimeoutMs`.
   */
  toCheck(now: number, limit: number): ReadonlyArray<Contact> {
    const stale: Array<Entry> = []
    for (const bucket of this.#buckets) {
      for (const entry of bucket.entries.values()) if (this.#isStale(bucket, entry, now)) stale.push(entry)
    }
    const chosen = stale.toSorted((a, b) => a.seenAt - b.seenAt).slice(0, Math.max(0, limit))
    for (const entry of chosen) entry.checkedAt = now
    return chosen.map(({ contact }) => contact)
  }

  /**
   * What came of a check, or of any question. Who is dead leaves; so does who
   * only answers and has long been of no use, if another waits. But when nobody
   * was heard of lately it is likely this node that is cut off: then those that
   * do not answer stay for a while.
   */
  checked({ key }: Contact, result: Checked, now: number): Change {
    const bucket = this.#bucketOf(key)
    const entry = bucket.entries.get(key.id)
    if (entry === undefined) return none
    if (result === "dead") {
      if (now - this.#heardAt < this.#settings.silentAfterMs || now - entry.seenAt >= this.#settings.keepSilentMs) {
        return this.#replace(bucket, entry, now)
      }
      entry.doubtful = true
      entry.checkedAt = now
      return none
    }
    this.#heard(entry, { useful: result === "useful" }, now)
    return bucket.replacements.size > 0 && this.#isUseless(entry, now) ? this.#replace(bucket, entry, now) : none
  }

  // ---- refreshes ------------------------------------------------------------

  /** Buckets in which nothing was looked up for too long. They stay due until a lookup has ended in them. */
  due(now: number): ReadonlyArray<Due> {
    const last = this.#buckets.length - 1
    return this.#buckets.flatMap(({ refreshedAt }, bucket) =>
      refreshedAt !== undefined && now - refreshedAt < this.#settings.refreshEveryMs
        ? []
        : [{ bucket, last: bucket === last }]
    )
  }

  /**
   * A lookup has ended: its bucket is refreshed if it went to its end and
   * somebody answered. Nothing else marks a bucket.
   */
  refreshed(lookup: Finished, now: number): boolean {
    if (!lookup.complete) return false
    const bucket = this.#bucketOf(lookup.target)
    bucket.refreshedAt = now
    if (bucket === this.#buckets.at(-1)) this.#knowsNeighbours = true
    return true
  }

  // ---- inside ---------------------------------------------------------------

  #bucketOf(key: Key.Key): Bucket {
    const index = Math.min(Key.commonPrefix(this.self, key), this.#buckets.length - 1)
    return this.#buckets[index] ?? this.#first
  }

  *#entries(): Generator<Entry, void> {
    for (const bucket of this.#buckets) yield* bucket.entries.values()
  }

  #heard(entry: Entry | undefined, news: News, now: number): void {
    if (entry === undefined) return
    entry.heard(news, now)
    this.#heardAt = now
  }

  #isFull(bucket: Bucket): boolean {
    return bucket.entries.size >= this.k
  }

  /** Divides the last bucket, if that is the one of the key. */
  #unfold(key: Key.Key): boolean {
    const shared = this.#buckets.length - 1
    const last = this.#buckets[shared]
    if (last === undefined || shared >= Key.bits - 1 || Key.commonPrefix(this.self, key) < shared) return false
    this.#buckets.push(last.divide((one) => Key.commonPrefix(this.self, one) > shared))
    return true
  }

  #put(bucket: Bucket, entry: Entry): void {
    bucket.replacements.delete(entry.key.id)
    bucket.entries.set(entry.key.id, entry)
    this.#heardAt = Math.max(this.#heardAt, entry.seenAt)
    this.#size += 1
  }

  #replace(bucket: Bucket, entry: Entry, now: number): Change {
    bucket.entries.delete(entry.key.id)
    this.#size -= 1
    // The one heard of last is the likeliest to be there still.
    for (const next of [...bucket.replacements.values()].toReversed()) {
      if (!this.#isDiverse(bucket, next)) continue
      next.addedAt = now
      next.doubtful = now - next.seenAt >= freshMs
      this.#put(bucket, next)
      return { added: [next.contact], removed: [entry.contact] }
    }
    return { added: [], removed: [entry.contact] }
  }

  #isDiverse(bucket: Bucket, entry: Entry): boolean {
    const count = (entries: Iterable<Entry>, group: string) => {
      let sum = 0
      for (const one of entries) if (one.groups.includes(group)) sum += 1
      return sum
    }
    return entry.groups.every(
      (group) =>
        count(bucket.entries.values(), group) < this.#settings.diversity.perBucket &&
        count(this.#entries(), group) < this.#settings.diversity.perTable
    )
  }

  #isChecked(entry: Entry, now: number): boolean {
    return entry.checkedAt !== undefined && now - entry.checkedAt < this.#settings.checkTimeoutMs
  }

  #isUseless(entry: Entry, now: number): boolean {
    return now - (entry.usefulAt ?? entry.addedAt) >= this.#settings.uselessAfterMs
  }

  #isStale(bucket: Bucket, entry: Entry, now: number): boolean {
    if (this.#isChecked(entry, now)) return false
    if (entry.doubtful || now - entry.seenAt >= this.#settings.checkAfterMs) return true
    return bucket.replacements.size > 0 && this.#isUseless(entry, now)
  }
}
