/**
 * RecordStore: the distributed record store, abstract: values under keys, kept
 * in memory, on disk, by a DHT, on the local network or in a bucket. What is
 * put or got passes the validator of its key's namespace first, whatever the
 * layer. Layers: memory, SQLite, kad; mDNS and S3 by the same promises.
 *
 * A key is bytes, by convention a path in UTF-8 such as `/pk/…` or
 * `/example/name`, whose first part is its namespace.
 *
 * Specification: kad-dht/README.md, "Value storage and retrieval".
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Bytes from "../data/Bytes.ts"
import type { RoutingOptions } from "./PeerRouting.ts"
import { RoutingErrorReason } from "./PeerRouting.ts"

// ---- errors -----------------------------------------------------------------

/** No record is held under the key; in a distributed store, `asked` peers answered so. */
export class RecordNotFound extends Schema.TaggedClass<RecordNotFound>()("RecordNotFound", { asked: Schema.Finite }) {}
/** The validator of the namespace refuses the value. */
export class RecordInvalid extends Schema.TaggedClass<RecordInvalid>()("RecordInvalid", { detail: Schema.String }) {}
/** No validator is known for the namespace of the key, so nothing under it is stored or believed. */
export class UnknownNamespace extends Schema.TaggedClass<UnknownNamespace>()("UnknownNamespace", {
  namespace: Schema.String
}) {}
/** A better record is held already: see the validator's order. */
export class RecordOutdated extends Schema.TaggedClass<RecordOutdated>()("RecordOutdated", {}) {}
/** Fewer peers than asked for have the record. */
export class QuorumNotReached extends Schema.TaggedClass<QuorumNotReached>()("QuorumNotReached", {
  got: Schema.Finite,
  wanted: Schema.Finite
}) {}
/** A bound of the store was met. */
export class RecordStoreLimit extends Schema.TaggedClass<RecordStoreLimit>()("RecordStoreLimit", {
  resource: Schema.Literals(["records", "bytes", "key bytes", "value bytes"]),
  limit: Schema.Finite,
  current: Schema.Finite
}) {}
/** Who puts it has its share of what is held for others; `share` is whose: of the peer, of its network, or of all together. */
export class RecordShareFull extends Schema.TaggedClass<RecordShareFull>()("RecordShareFull", {
  share: Schema.Literals(["peer", "group", "node"])
}) {}
/** Storage failed: the disk is full, the file is damaged or of another program, another process holds it. */
export class RecordStorageFailed extends Schema.TaggedClass<RecordStorageFailed>()("RecordStorageFailed", {
  detail: Schema.String
}) {}
/** The peers that should hold it could not be asked. */
export class RecordRoutingFailed extends Schema.TaggedClass<RecordRoutingFailed>()("RecordRoutingFailed", {
  reason: RoutingErrorReason,
  detail: Schema.String
}) {}
/** This store cannot do it: a DHT, for one, forgets nothing on demand. */
export class RecordStoreUnsupported extends Schema.TaggedClass<RecordStoreUnsupported>()("RecordStoreUnsupported", {
  detail: Schema.String
}) {}

export const RecordStoreErrorReason = Schema.Union([
  RecordNotFound,
  RecordInvalid,
  UnknownNamespace,
  RecordOutdated,
  QuorumNotReached,
  RecordStoreLimit,
  RecordShareFull,
  RecordStorageFailed,
  RecordRoutingFailed,
  RecordStoreUnsupported
])
export type RecordStoreErrorReason = typeof RecordStoreErrorReason.Type

const shares = { peer: "this peer", group: "this peer's network", node: "all peers" }

const describe = (reason: RecordStoreErrorReason): string => {
  switch (reason._tag) {
    case "RecordNotFound":
      return reason.asked === 0
        ? "not found"
        : `not found; ${reason.asked} ${reason.asked === 1 ? "peer was" : "peers were"} asked`
    case "RecordInvalid":
      return `refused: ${reason.detail}`
    case "UnknownNamespace":
      return `no validator is known for the namespace ${JSON.stringify(reason.namespace)}: give one to RecordValidators.layer`
    case "RecordOutdated":
      return "a better record is held already"
    case "QuorumNotReached":
      return `${reason.got} of the ${reason.wanted} peers that were wanted have it`
    case "RecordStoreLimit":
      return `limit of ${reason.limit} ${reason.resource} reached (${reason.current})`
    case "RecordShareFull":
      return `the share of ${shares[reason.share]} in what is held for others is full`
    case "RecordStorageFailed":
    case "RecordStoreUnsupported":
    case "RecordRoutingFailed":
      return reason.detail
  }
}

const printable = (text: string | undefined): text is string =>
  text !== undefined && !/[\p{C}\p{Zl}\p{Zp}\uFFFD]/u.test(text)

/**
 * A key for people: as text where it is text that can be printed; else in
 * hexadecimal, after its namespace if it has one, such as `/pk/0x1220…`; cut
 * to 120 characters.
 */
export const keyText = (key: Uint8Array): string => {
  const start = key.subarray(0, 200)
  const text = start.length === key.length ? Bytes.toUtf8Strict(start) : Bytes.toUtf8(start)
  const name = start.indexOf(0x2f, 1) + 1
  const namespace = start[0] === 0x2f && name > 2 ? Bytes.toUtf8Strict(start.subarray(0, name)) : undefined
  const shown = printable(text)
    ? text
    : printable(namespace)
      ? `${namespace}0x${Bytes.toHex(start.subarray(name))}`
      : Bytes.toHex(start)
  return shown.length > 120 ? `${shown.slice(0, 120)}…` : shown
}

/** The store could not do it. `store` is which one, `key` is the key for people: see {@link keyText}. */
export class RecordStoreError extends Schema.TaggedError<RecordStoreError>()("RecordStoreError", {
  store: Schema.String,
  key: Schema.String,
  reason: RecordStoreErrorReason
}) {
  override get message(): string {
    return `${this.store} record store: ${this.key}: ${describe(this.reason)}`
  }
}

// ---- what is stored ---------------------------------------------------------

export interface StoredRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** In milliseconds of the node's clock, after which it is held no more; `undefined` where the store does not know. */
  readonly expiresAt: number | undefined
}

export interface PutOptions extends RoutingOptions {
  /**
   * How long it is kept. Default: 48 hours. A store may keep it for less, never
   * for longer; but for how long the peers of a distributed store keep it is theirs to say.
   */
  readonly ttl?: Duration.Input | undefined
  /** How many peers must have taken it, in a distributed store. Default: 1. */
  readonly quorum?: number | undefined
}

export interface GetOptions extends RoutingOptions {
  /** How many peers must have answered with a valid record before the best is taken, in a distributed store. Default: as the layer says. */
  readonly quorum?: number | undefined
}

export class RecordStore extends Context.Service<
  RecordStore,
  {
    /** Such as `memory`, for errors. */
    readonly store: string
    /** Validates and stores. Succeeds when it is safe, as the layer defines: in memory, on disk, with a quorum of peers. */
    readonly put: (key: Uint8Array, value: Uint8Array, options?: PutOptions) => Effect.Effect<void, RecordStoreError>
    /** The best valid record. Fails with {@link RecordNotFound} when there is none. */
    readonly get: (key: Uint8Array, options?: GetOptions) => Effect.Effect<StoredRecord, RecordStoreError>
    /** Records as they are found, each better than the one before; the last is the best. Ends without an element when there is none. */
    readonly search: (key: Uint8Array, options?: GetOptions) => Stream.Stream<StoredRecord, RecordStoreError>
    /** Forgets what is held under the key; no error when there is nothing. */
    readonly delete: (key: Uint8Array) => Effect.Effect<void, RecordStoreError>
    /** What is held here, in the order of the keys' bytes; with a prefix, what begins with it. */
    readonly list: (prefix?: Uint8Array) => Stream.Stream<StoredRecord, RecordStoreError>
  }
>()("effect-libp2p/RecordStore") {}

/** How much a store holds for others before it takes no more. */
export interface Quota {
  /** Default 65,536. */
  readonly records?: number | undefined
  /** Keys and values together, in bytes. Default 256 MiB. */
  readonly bytes?: number | undefined
  /** Of one key, in bytes. Default 1 KiB. */
  readonly keyBytes?: number | undefined
  /** Of one value, in bytes. Default 64 KiB. */
  readonly valueBytes?: number | undefined
}

/** A quota with nothing left open. */
export type QuotaBounds = { readonly [Bound in keyof Quota]-?: number }
