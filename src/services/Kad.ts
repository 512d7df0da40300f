/**
 * Kad: the Kademlia DHTs that a node is part of: what they show of themselves,
 * and the values that they hold, as records are made of them. Peers and content
 * are found by the services PeerRouting and ContentRouting.
 *
 * Specification: kad-dht/README.md.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { RoutedPeer, RoutingError, RoutingOptions } from "./PeerRouting.ts"
import type { RecordStore } from "./RecordStore.ts"

/** A server answers others and is in their tables; a client only asks. */
export type KadMode = "server" | "client"

/** A bucket of the routing table: peers that share so many leading bits with this node. */
export interface KadBucket {
  readonly bucket: number
  readonly peers: number
  /** Peers that wait for a place. */
  readonly replacements: number
  /** When the peer that has been here longest was added. */
  readonly oldestMs: number | undefined
  /** When a lookup last ended here. */
  readonly refreshedMsAgo: number | undefined
}

/** Counts since the start. */
export interface KadCounters {
  readonly lookups: number
  /** Questions about a place whose closest peers are too close to be so by chance: others around it were asked too. */
  readonly crowded: number
  /** Requests to others: sent, and what came of them. */
  readonly requests: number
  readonly requestsFailed: number
  /** Refreshes of buckets that went to their end with answers, and those that did not. */
  readonly refreshed: number
  readonly refreshesFailed: number
  /** Questions of others that were answered, were refused, or had to wait. */
  readonly questions: number
  readonly questionsRefused: number
  readonly questionsDelayed: number
}

/** What is held for others, and what was not, since the start. */
export interface KadHeld {
  readonly held: number
  /** Not taken, by whose share was full: of a peer, of its network, or of all together. */
  readonly refused: { readonly peer: number; readonly group: number; readonly node: number }
  /** Dropped to make room for others. */
  readonly dropped: number
}

/** One DHT, now. */
export interface KadStatus {
  /** `wan` or `lan`. */
  readonly realm: string
  readonly protocol: string
  readonly mode: KadMode
  /** Peers in the routing table. */
  readonly peers: number
  readonly buckets: ReadonlyArray<KadBucket>
  /** How many servers there are, as far as lookups tell. */
  readonly networkSize: number | undefined
  /** Announcements of others that are held. */
  readonly providers: number
  /** The same, with what was not taken. */
  readonly announcements: KadHeld
  /** Records of others, of all DHTs of the node; `undefined` where none are held. */
  readonly records: KadHeld | undefined
  readonly counters: KadCounters
}

/** What one peer answered for a key. */
export interface KadAnswer {
  readonly realm: string
  readonly from: RoutedPeer
  /** What it holds; `undefined` when it holds nothing. Not validated. */
  readonly value: Uint8Array | undefined
  /** Peers of the realm that are closest to the key so far, the closest first. */
  readonly closest: ReadonlyArray<RoutedPeer>
}

/** A peer that was visited by a crawl. */
export interface KadCrawled {
  readonly realm: string
  readonly peer: RoutedPeer
  /** How long it took to tell its table; `undefined` when it did not. */
  readonly ms: number | undefined
  /** Peers that it told of. */
  readonly knows: number
  /** Why it could not be visited, in words. */
  readonly failure: string | undefined
}

/** Peers of a realm: those of its table, or those that are to hold something. */
export interface KadPeers {
  readonly realm: string
  readonly peers: ReadonlyArray<RoutedPeer>
}

export class Kad extends Context.Service<
  Kad,
  {
    /** The DHTs of the node. */
    readonly status: Effect.Effect<ReadonlyArray<KadStatus>>
    /** Completes when a peer is in a table: from then on there is somebody to ask. At once, if there is one. */
    readonly entered: Effect.Effect<void>
    /** The peers in the tables: keep them, and the next run need not join. */
    readonly tables: Effect.Effect<ReadonlyArray<KadPeers>>
    /** Refreshes what is due in the tables now, and waits for it. It happens by itself. */
    readonly refresh: Effect.Effect<void>
    /** Everyone in the networks, each as it is visited: every server is asked for its whole table. At most `maxPeers`, default 100,000. */
    readonly crawl: (maxPeers?: number) => Stream.Stream<KadCrawled, RoutingError>
    /** What this node holds for others; `undefined` when it holds nothing. */
    readonly records: RecordStore["Service"] | undefined
    /** Asks for the value of a key, peer by peer towards those closest to it. */
    readonly values: (key: Uint8Array, options?: RoutingOptions) => Stream.Stream<KadAnswer, RoutingError>
    /** Has the peers closest to the key hold a value; gives how many took it. */
    readonly putValue: (
      key: Uint8Array,
      value: Uint8Array,
      options?: RoutingOptions
    ) => Effect.Effect<number, RoutingError>
    /** The same for peers that are known already: those that hold none, or another. */
    readonly putValueAt: (key: Uint8Array, value: Uint8Array, holders: KadPeers) => Effect.Effect<number>
  }
>()("effect-libp2p/Kad") {}
