/** What is known of one peer: a value, which each change replaces. */
import * as Bytes from "../../../data/Bytes.ts"
import type { PublicKey } from "../../../data/Keys.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import type { PeerInfo } from "../../../services/PeerStore.ts"
import * as Addresses from "./Addresses.ts"
import * as Tags from "./Tags.ts"

/** A signed record. When it has expired its sequence is still known, so that an older one cannot come back. */
export interface KeptRecord {
  readonly sequence: bigint
  readonly envelope: Uint8Array | undefined
  readonly expiresAt: number
}

export interface Facts {
  readonly peer: PeerId
  /** Names the peer in storage; no other peer has or had it. */
  readonly number: number
  /** Of two peers, the one with the greater number was heard of later. */
  readonly heard: number
  /** In milliseconds. */
  readonly heardAt: number
  readonly addresses: Addresses.Addresses
  readonly publicKey: PublicKey | undefined
  readonly protocols: ReadonlyArray<string>
  readonly tags: ReadonlyMap<string, Tags.KeptTag>
  readonly metadata: ReadonlyMap<string, Uint8Array>
  readonly record: KeptRecord | undefined
}

export interface Entry extends Facts {
  /** From then on nothing of it may be told. */
  readonly liveUntil: number
  /** From then on no tag is left. */
  readonly taggedUntil: number
  /** From then on some of it has expired. */
  readonly pruneAt: number
  /** This node has never met the peer, nor does its user hold anything by it: no proven address, no tag, no metadata. */
  readonly hearsay: boolean
  /** Bytes of memory, estimated. */
  readonly size: number
}

const none: ReadonlyArray<never> = []
const nothing: ReadonlyMap<string, never> = new Map<string, never>()

/** A peer of which nothing is known yet. */
export const unknown = (peer: PeerId, number: number): Facts => ({
  peer,
  number,
  heard: number,
  heardAt: 0,
  addresses: none,
  publicKey: undefined,
  protocols: none,
  tags: nothing,
  metadata: nothing,
  record: undefined
})

/** Works out, once for each change, what the table must know at once. */
export const make = (facts: Facts, maxAge: number): Entry => {
  let size = 512
  let pruneAt = Number.POSITIVE_INFINITY
  let liveUntil = facts.publicKey !== undefined || facts.protocols.length > 0 ? facts.heardAt + maxAge : 0
  let taggedUntil = 0
  let hearsay = facts.tags.size === 0 && facts.metadata.size === 0
  const ends = (expiresAt: number): void => {
    liveUntil = Math.max(liveUntil, expiresAt)
    pruneAt = Math.min(pruneAt, expiresAt)
  }
  // An address is kept as bytes, as text, and as a list of its parts.
  for (const { address, confidence, expiresAt } of facts.addresses) {
    size += 256 + 4 * address.bytes.length
    if (confidence === "proven") hearsay = false
    ends(expiresAt)
  }
  for (const [name, { expiresAt }] of facts.tags) {
    size += 128 + name.length
    taggedUntil = Math.max(taggedUntil, expiresAt)
    ends(expiresAt)
  }
  for (const [name, value] of facts.metadata) {
    size += 128 + name.length + value.length
    liveUntil = Number.POSITIVE_INFINITY
  }
  for (const protocol of facts.protocols) size += 32 + protocol.length
  if (facts.publicKey !== undefined) size += 64 + facts.publicKey.bytes.length
  if (facts.record?.envelope !== undefined) {
    size += 128 + facts.record.envelope.length
    ends(facts.record.expiresAt)
  }
  return { ...facts, size, hearsay, liveUntil, taggedUntil, pruneAt: Math.min(pruneAt, liveUntil) }
}

const liveTags = (tags: Facts["tags"], now: number): Facts["tags"] => {
  for (const { expiresAt } of tags.values()) {
    if (now >= expiresAt) return new Map([...tags].filter(([, tag]) => now < tag.expiresAt))
  }
  return tags
}

/** Without what has expired. The parts of which nothing has expired are the same objects as before. */
export const pruned = (facts: Facts, now: number): Facts => ({
  ...facts,
  addresses: Addresses.live(facts.addresses, now),
  tags: liveTags(facts.tags, now),
  record:
    facts.record?.envelope === undefined || now < facts.record.expiresAt
      ? facts.record
      : { ...facts.record, envelope: undefined }
})

/** The peer as users see it. */
export const toInfo = (facts: Facts, now: number): PeerInfo => {
  const { addresses, metadata, peer, protocols, publicKey, record, tags } = pruned(facts, now)
  return {
    peer,
    addresses,
    publicKey: publicKey ?? peer.publicKey,
    protocols,
    tags: Object.fromEntries([...tags].map(([name, tag]) => [name, Tags.valueAt(tag, now)])),
    metadata: Object.fromEntries([...metadata].map(([name, value]) => [name, Bytes.copy(value)])),
    recordSequence: record?.envelope === undefined ? undefined : record.sequence
  }
}
