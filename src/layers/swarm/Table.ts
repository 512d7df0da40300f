/**
 * The open connections of a swarm. Anybody reads it at any time; only the
 * swarm's actor changes it.
 */
import type * as Scope from "effect/Scope"
import type { PeerId } from "../../data/PeerId.ts"
import type { Connection } from "../../services/Swarm.ts"

/** What is known of an open connection besides itself. */
export interface Entry {
  readonly connection: Connection
  readonly scope: Scope.Closeable
  /** False once one end has said goodbye: it is still there, but gives no streams. */
  readonly isOpen: () => boolean
  /** Streams of both directions, since the start. */
  readonly streamsBegun: () => number
  readonly standing: Standing
}

/** Which connection does the work of this one; see Duplicates. It outlives the entry: whoever holds the connection goes on. */
export interface Standing {
  successor: Entry | undefined
}

/** The connection to open streams on instead, if there is one and it gives some. */
export const successor = ({ successor: entry }: Standing): Connection | undefined =>
  entry?.isOpen() === true ? entry.connection : undefined

export class Table {
  private readonly byId = new Map<number, Entry>()
  private readonly byPeer = new Map<string, ReadonlyArray<Entry>>()

  get size(): number {
    return this.byId.size
  }

  get peers(): number {
    return this.byPeer.size
  }

  /** Oldest first. */
  all(): ReadonlyArray<Entry> {
    return [...this.byId.values()]
  }

  /** Those with one peer, oldest first. */
  of(peer: PeerId): ReadonlyArray<Entry> {
    return this.byPeer.get(peer.toString()) ?? []
  }

  /**
   * The connection that streams to the peer go to: the newest that still gives
   * some, since a peer that has connected again may have lost an older one,
   * which this end cannot know before the keep-alive tells. A surplus one stands
   * back for its successor.
   */
  usable(peer: PeerId): Connection | undefined {
    const newest = this.of(peer).findLast((entry) => entry.isOpen())
    return newest === undefined ? undefined : (successor(newest.standing) ?? newest.connection)
  }

  add(entry: Entry): void {
    const { id, remotePeer } = entry.connection
    this.byId.set(id, entry)
    this.byPeer.set(remotePeer.toString(), [...this.of(remotePeer), entry])
  }

  /** Takes a connection out; `undefined` if it is not here. */
  remove(id: number): Entry | undefined {
    const entry = this.byId.get(id)
    if (entry === undefined) return undefined
    this.byId.delete(id)
    const peer = entry.connection.remotePeer
    const left = this.of(peer).filter((other) => other !== entry)
    if (left.length === 0) this.byPeer.delete(peer.toString())
    else this.byPeer.set(peer.toString(), left)
    return entry
  }

  clear(): void {
    this.byId.clear()
    this.byPeer.clear()
  }
}
