/** A bucket of the routing table: its peers, and those that wait for a place. */
import type * as Key from "./Key.ts"

/** A peer was heard of. */
export interface News {
  /** It answered a question of this node, and in a way that was of use. */
  readonly useful: boolean
  /** How long it took to answer. */
  readonly latencyMs?: number | undefined
}

/** What is told of a peer that is offered. */
export interface Facts extends News {
  /** Networks of its addresses, see `Diversity.groups`; of its connection first of all. */
  readonly groups: ReadonlyArray<string>
}

/** What is known of a peer. */
export class Entry {
  readonly contact: Key.Contact
  /** Networks of its addresses. */
  groups: ReadonlyArray<string>
  addedAt: number
  /** It was last heard of. */
  seenAt: number
  /** It last gave an answer that was of use. */
  usefulAt: number | undefined
  latencyMs: number | undefined
  /** A check of it was begun, and nothing was heard since. */
  checkedAt: number | undefined = undefined
  /** It may not answer: see {@link BucketSnapshot}. */
  doubtful = false

  constructor(contact: Key.Contact, facts: Facts, now: number) {
    this.contact = contact
    this.groups = facts.groups
    this.addedAt = now
    this.seenAt = now
    this.usefulAt = facts.useful ? now : undefined
    this.latencyMs = facts.latencyMs
  }

  get key(): Key.Key {
    return this.contact.key
  }

  /** It was heard of again. */
  heard(news: News, now: number): void {
    this.seenAt = now
    this.checkedAt = undefined
    this.doubtful = false
    if (news.useful) this.usefulAt = now
    this.latencyMs = news.latencyMs ?? this.latencyMs
  }
}

/** A bucket as a picture. Ages are in milliseconds. */
export interface BucketSnapshot {
  /** Since a lookup last ended in it. */
  readonly refreshedMsAgo: number | undefined
  /** Peers that wait for a place. */
  readonly replacements: number
  readonly peers: ReadonlyArray<{
    readonly contact: Key.Contact
    readonly ageMs: number
    readonly seenMsAgo: number
    readonly usefulMsAgo: number | undefined
    readonly latencyMs: number | undefined
    /**
     * It did not answer, and is kept because nobody else did either; or it took
     * a place that it had long waited for, and was not heard of since.
     */
    readonly doubtful: boolean
  }>
}

export class Bucket {
  /** By the text of the key, those added longest ago first. */
  entries = new Map<string, Entry>()
  /** By the text of the key, those heard of longest ago first. */
  replacements = new Map<string, Entry>()
  /** A lookup last ended in it. */
  refreshedAt: number | undefined

  /** Lets a peer wait for a place. The one heard of longest ago gives way. */
  wait(entry: Entry, most: number): void {
    this.replacements.delete(entry.key.id)
    this.replacements.set(entry.key.id, entry)
    const [oldest] = this.replacements.keys()
    if (this.replacements.size > most && oldest !== undefined) this.replacements.delete(oldest)
  }

  /** Gives a new bucket of those that are to move. */
  divide(moves: (key: Key.Key) => boolean): Bucket {
    const other = new Bucket()
    for (const map of ["entries", "replacements"] as const) {
      for (const [id, entry] of this[map]) {
        if (!moves(entry.key)) continue
        this[map].delete(id)
        other[map].set(id, entry)
      }
    }
    return other
  }

  /** The bucket as a picture. */
  snapshot(now: number): BucketSnapshot {
    return {
      refreshedMsAgo: this.refreshedAt === undefined ? undefined : now - this.refreshedAt,
      replacements: this.replacements.size,
      peers: [...this.entries.values()].map(({ addedAt, contact, doubtful, latencyMs, seenAt, usefulAt }) => ({
        contact,
        ageMs: now - addedAt,
        seenMsAgo: now - seenAt,
        usefulMsAgo: usefulAt === undefined ? undefined : now - usefulAt,
        latencyMs,
        doubtful
      }))
    }
  }
}
