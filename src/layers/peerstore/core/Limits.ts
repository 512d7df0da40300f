/** What a store of peers may hold. Everything that others can make grow has its bound here. */
import * as Duration from "effect/Duration"

export interface Options {
  /**
   * Peers remembered. Over it, the one heard of longest ago is forgotten: first
   * of those that are hearsay (no address proven, no tag, no metadata), then of
   * those without a tag, then of all. Default 10,000.
   */
  readonly maxPeers?: number | undefined
  /** Bytes that all peers together may take, as estimated from what is known of each. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** How long key and protocols of a peer are kept of which nothing else is known, since it was heard of. Default a day. */
  readonly maxAge?: Duration.Input | undefined
  /** Addresses of a peer: proven ones go before certified, and those before claimed. Default 32. */
  readonly maxAddresses?: number | undefined
  /** Protocols of a peer. Default 1,024. */
  readonly maxProtocols?: number | undefined
  /** Bytes of all the protocols of a peer, as UTF-8. Default 64 KiB. */
  readonly maxProtocolBytes?: number | undefined
  /** Tags of a peer. Default 64. */
  readonly maxTags?: number | undefined
  /** Metadata entries of a peer. Default 64. */
  readonly maxMetadata?: number | undefined
  /** Bytes of a metadata value. Default 4 KiB. */
  readonly maxMetadataSize?: number | undefined
  /** Bytes of the name of a tag or of a metadata entry, as UTF-8. Default 256. */
  readonly maxNameSize?: number | undefined
  /** Bytes of a signed record with its envelope; over 64 KiB none is read. Default 64 KiB. */
  readonly maxRecordSize?: number | undefined
}

/** The options with their defaults; durations in milliseconds. */
export interface Limits {
  readonly maxPeers: number
  readonly maxBytes: number
  readonly maxAge: number
  readonly maxAddresses: number
  readonly maxProtocols: number
  readonly maxProtocolBytes: number
  readonly maxTags: number
  readonly maxMetadata: number
  readonly maxMetadataSize: number
  readonly maxNameSize: number
  readonly maxRecordSize: number
}

export const fromOptions = (options: Options = {}): Limits => ({
  maxPeers: options.maxPeers ?? 10_000,
  maxBytes: options.maxBytes ?? 64 * 1024 * 1024,
  maxAge: Duration.toMillis(options.maxAge ?? "1 day"),
  maxAddresses: options.maxAddresses ?? 32,
  maxProtocols: options.maxProtocols ?? 1024,
  maxProtocolBytes: options.maxProtocolBytes ?? 64 * 1024,
  maxTags: options.maxTags ?? 64,
  maxMetadata: options.maxMetadata ?? 64,
  maxMetadataSize: options.maxMetadataSize ?? 4096,
  maxNameSize: options.maxNameSize ?? 256,
  maxRecordSize: options.maxRecordSize ?? 64 * 1024
})

const day = 24 * 60 * 60 * 1000

/** How long an address is kept unless the caller says otherwise, in milliseconds. */
export const defaultTtl = { proven: day, certified: day, claimed: 60 * 60 * 1000 } as const
