/**
 * PeerStore: what this node knows of others: addresses, keys, protocols, tags,
 * metadata and signed records. Layers: memory, SQLite.
 *
 * Specifications: RFC 0002 (signed envelopes), RFC 0003 (peer records).
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PublicKey } from "../data/Keys.ts"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import type { SignedPeerRecord } from "./SignedEnvelope.ts"

// ---- errors -----------------------------------------------------------------

/** The storage failed: the disk is full, the file is damaged or of another program, another process holds it. */
export class StorageFailed extends Schema.TaggedClass<StorageFailed>()("StorageFailed", { detail: Schema.String }) {}
/** A bound of the store was met, such as the tags or the metadata of a peer. */
export class PeerStoreLimit extends Schema.TaggedClass<PeerStoreLimit>()("PeerStoreLimit", {
  resource: Schema.String,
  limit: Schema.Finite
}) {}
/** A signed record is refused. */
export class RecordRejected extends Schema.TaggedClass<RecordRejected>()("RecordRejected", { detail: Schema.String }) {}
/** The key does not belong to the peer. */
export class WrongKey extends Schema.TaggedClass<WrongKey>()("WrongKey", {}) {}

export const PeerStoreErrorReason = Schema.Union([StorageFailed, PeerStoreLimit, RecordRejected, WrongKey])
export type PeerStoreErrorReason = typeof PeerStoreErrorReason.Type

/** The store could not do it. `where` is the peer, or the file for a failure of the whole store. */
export class PeerStoreError extends Schema.TaggedError<PeerStoreError>()("PeerStoreError", {
  where: Schema.String,
  reason: PeerStoreErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "StorageFailed":
        return `peer store ${this.where}: ${reason.detail}`
      case "PeerStoreLimit":
        return `peer store: limit of ${reason.limit} ${reason.resource} of ${this.where} reached`
      case "RecordRejected":
        return `the signed record of ${this.where} is refused: ${reason.detail}`
      case "WrongKey":
        return `the public key is not that of ${this.where}`
    }
  }
}

// ---- what is known ----------------------------------------------------------

/**
 * How an address was learnt. `proven`: a connection was made by it. `certified`:
 * the peer signed it. `claimed`: hearsay, which never pushes out the others.
 */
export type Confidence = "proven" | "certified" | "claimed"

export interface PeerAddress {
  /** Without a trailing `/p2p/<id>`. */
  readonly address: Multiaddr
  readonly confidence: Confidence
  /** In milliseconds of the node's clock; forgotten after. */
  readonly expiresAt: number
}

/** What a peer is worth for a reason. The value falls to zero as its decay says. */
export interface Tag {
  readonly value: number
  /**
   * `none`: stays until it is removed. `linear`: falls evenly to zero over
   * `over`. `exponential`: halves every `over`, gone below 1.
   */
  readonly decay?: { readonly shape: "linear" | "exponential"; readonly over: Duration.Input } | undefined
}

export interface PeerInfo {
  readonly peer: PeerId
  readonly addresses: ReadonlyArray<PeerAddress>
  readonly publicKey: PublicKey | undefined
  readonly protocols: ReadonlyArray<string>
  /** Values as they are now. */
  readonly tags: Readonly<Record<string, number>>
  readonly metadata: Readonly<Record<string, Uint8Array>>
  /** The sequence number of the signed record that is held. */
  readonly recordSequence: bigint | undefined
}

/**
 * Writes take effect in the order in which they are begun, and are seen by
 * what is asked after; they succeed when they are safe, which may take the
 * disk's time.
 */
export class PeerStore extends Context.Service<
  PeerStore,
  {
    /** Everything known of a peer; `undefined` when nothing is. */
    readonly get: (peer: PeerId) => Effect.Effect<PeerInfo | undefined, PeerStoreError>
    /** Peers known, at most `limit` (default 1,000), those heard of latest first. */
    readonly peers: (limit?: number) => Effect.Effect<ReadonlyArray<PeerId>, PeerStoreError>
    /** How many peers are known. */
    readonly size: Effect.Effect<number, PeerStoreError>
    /** Forgets a peer altogether. */
    readonly forget: (peer: PeerId) => Effect.Effect<void, PeerStoreError>

    /** Addresses that have not expired: proven ones first, then certified, then claimed, the latest learnt first in each. */
    readonly addresses: (peer: PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>, PeerStoreError>
    /**
     * Learns addresses for `ttl` (default: a day for proven and certified ones,
     * an hour for claimed ones). An address keeps the better confidence and the
     * later expiry. Those of other peers (`/p2p/<another>`) and those over the
     * bound of a peer are dropped.
     */
    readonly addAddresses: (
      peer: PeerId,
      addresses: ReadonlyArray<Multiaddr>,
      how: "proven" | "claimed",
      ttl?: Duration.Input
    ) => Effect.Effect<void, PeerStoreError>
    readonly removeAddresses: (peer: PeerId, addresses: ReadonlyArray<Multiaddr>) => Effect.Effect<void, PeerStoreError>

    /**
     * Takes a peer record in a signed envelope. Its addresses replace the
     * certified ones, for `ttl` (default: a day). False when a record as new or
     * newer is held; the very same one again only lasts longer. Refuses one
     * that is malformed, not signed by the peer it is about, or about another
     * peer than `peer`. One that was opened already is not verified again.
     */
    readonly addRecord: (
      peer: PeerId,
      record: Uint8Array | SignedPeerRecord,
      ttl?: Duration.Input
    ) => Effect.Effect<boolean, PeerStoreError>
    /** The envelope that is held, to be passed on. */
    readonly record: (peer: PeerId) => Effect.Effect<Uint8Array | undefined, PeerStoreError>

    readonly setPublicKey: (peer: PeerId, key: PublicKey) => Effect.Effect<void, PeerStoreError>
    readonly setProtocols: (peer: PeerId, protocols: ReadonlyArray<string>) => Effect.Effect<void, PeerStoreError>
    /** Sets a tag, or removes it. */
    readonly setTag: (peer: PeerId, name: string, tag: Tag | undefined) => Effect.Effect<void, PeerStoreError>
    /** The sum of the peer's tags as they are now; plain code, for those who compare many peers. */
    readonly worth: (peer: PeerId) => number
    /** Sets a value of the users' own, or removes it. */
    readonly setMetadata: (
      peer: PeerId,
      name: string,
      value: Uint8Array | undefined
    ) => Effect.Effect<void, PeerStoreError>
  }
>()("effect-libp2p/PeerStore") {}

/** The uses of a store by one who goes on without it when it fails; see {@link tolerant}. */
export interface Tolerant {
  /** `undefined` when it fails. That it succeeds says nothing of storage: what is asked for may be in memory. */
  readonly read: <A>(use: Effect.Effect<A, PeerStoreError>) => Effect.Effect<A | undefined>
  readonly write: (use: Effect.Effect<unknown, PeerStoreError>) => Effect.Effect<void>
}

/**
 * For those who go on without a store that fails. That storage fails is told
 * of once, until a write succeeds again; what the store refuses for another
 * reason is of interest for debugging only.
 *
 * ```
 * const use = PeerStore.tolerant("the swarm")
 * const info = yield* use.read(store.get(peer))
 * ```
 */
export const tolerant = (who: string): Tolerant => {
  const text = `${who} goes on without the peer store`
  let failing = false
  const failed = (error: PeerStoreError) =>
    Effect.suspend(() => {
      const isNews = error.reason._tag === "StorageFailed" && !failing
      if (isNews) failing = true
      return Effect.as(isNews ? Effect.logWarning(text, error) : Effect.logDebug(text, error), undefined)
    })
  const succeeded = () => {
    failing = false
  }
  return {
    read: Effect.catch(failed),
    write: (use) => use.pipe(Effect.map(succeeded), Effect.catch(failed))
  }
}
