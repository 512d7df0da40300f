/** What the groups of the suite for peer stores share. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import * as NodeCrypto from "../../layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../layers/identity/FromSeed.ts"
import { Identity } from "../../services/Identity.ts"
import type { PeerInfo, PeerStore, PeerStoreError, PeerStoreErrorReason } from "../../services/PeerStore.ts"
import { sealPeerRecord } from "../../services/SignedEnvelope.ts"

/** The bounds of the stores that the tests are run on: small ones make them quick. */
export interface PeerStoreBounds {
  readonly maxPeers: number
  readonly maxAddresses: number
  readonly maxProtocols: number
  readonly maxTags: number
  readonly maxMetadata: number
  readonly maxMetadataSize: number
  readonly maxRecordSize: number
}

export const smallBounds: PeerStoreBounds = {
  maxPeers: 8,
  maxAddresses: 6,
  maxProtocols: 5,
  maxTags: 4,
  maxMetadata: 3,
  maxMetadataSize: 16,
  maxRecordSize: 2000
}

/** Somebody who signs. */
export const someone = (seed: number): Effect.Effect<Identity["Service"]> =>
  IdentityFromSeed.make(new Uint8Array(32).fill(seed)).pipe(Effect.provide(NodeCrypto.layer), Effect.orDie)

export const address = (text: string): Multiaddr.Multiaddr => Multiaddr.fromStringUnsafe(text)

/** Addresses that differ in their port. */
export const addressesAt = (...ports: ReadonlyArray<number>): ReadonlyArray<Multiaddr.Multiaddr> =>
  ports.map((port) => address(`/ip4/192.0.2.1/tcp/${port}`))

/** The peer record that `identity` signs. */
export const recordOf = (
  identity: Identity["Service"],
  sequence: bigint,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>
): Effect.Effect<Uint8Array> => sealPeerRecord(addresses, sequence).pipe(Effect.provideService(Identity, identity))

const ports = (addresses: ReadonlyArray<Multiaddr.Multiaddr>): ReadonlyArray<number> =>
  addresses.map((known) => Number(known.components[1]?.value))

export const reasonOf = (effect: Effect.Effect<unknown, PeerStoreError>): Effect.Effect<PeerStoreErrorReason> =>
  Effect.match(effect, { onFailure: ({ reason }) => reason, onSuccess: () => assert.fail("it was not refused") })

export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Bytes.toUtf8(value)

export const known = (info: PeerInfo | undefined): PeerInfo => info ?? assert.fail("nothing is known of the peer")

export const range = (from: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, i) => from + i)

/** What is tested, in the hands of a group of tests. */
export interface Subject {
  readonly bounds: PeerStoreBounds
  /** A test with an empty store, and a peer that signs. */
  readonly test: (
    title: string,
    body: (
      store: PeerStore["Service"],
      peer: PeerId,
      identity: Identity["Service"]
    ) => Effect.Effect<void, PeerStoreError>
  ) => void
}

export const portsOf = (store: PeerStore["Service"], peer: PeerId) => Effect.map(store.addresses(peer), ports)
