/** What every PeerStore promises, as tests in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Bytes from "../data/Bytes.ts"
import * as Keys from "../data/Keys.ts"
import * as Multiaddr from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import * as NodeCrypto from "../layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../layers/identity/FromSeed.ts"
import { Crypto } from "../services/Crypto.ts"
import { Identity } from "../services/Identity.ts"
import type { PeerInfo, PeerStore, PeerStoreError, PeerStoreErrorReason } from "../services/PeerStore.ts"
import { openPeerRecord, peerRecordDomain, peerRecordType, seal, sealPeerRecord } from "../services/SignedEnvelope.ts"

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

const reasonOf = (effect: Effect.Effect<unknown, PeerStoreError>): Effect.Effect<PeerStoreErrorReason> =>
  Effect.match(effect, { onFailure: ({ reason }) => reason, onSuccess: () => assert.fail("it was not refused") })

const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Bytes.toUtf8(value)

const known = (info: PeerInfo | undefined): PeerInfo => info ?? assert.fail("nothing is known of the peer")

const range = (from: number, count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => from + i)

/** Declares the tests of one implementation. `make` is run in each test's own scope, and gives an empty store each time. */
export const peerStoreSuite = <E>(
  name: string,
  make: Effect.Effect<PeerStore["Service"], E, Scope.Scope>,
  bounds: PeerStoreBounds
): void => {
  const test = (
    title: string,
    body: (
      store: PeerStore["Service"],
      peer: PeerId,
      identity: Identity["Service"]
    ) => Effect.Effect<void, PeerStoreError>
  ) =>
    it.effect(title, () =>
      Effect.gen(function* () {
        const identity = yield* someone(1)
        yield* body(yield* make, identity.peerId, identity)
      })
    )
  const portsOf = (store: PeerStore["Service"], peer: PeerId) => Effect.map(store.addresses(peer), ports)

  describe(`${name}: addresses`, () => {
    test("of a peer of which nothing is known there is nothing", (store, peer) =>
      Effect.gen(function* () {
        assert.isUndefined(yield* store.get(peer))
        assert.deepStrictEqual(yield* store.addresses(peer), [])
        assert.isUndefined(yield* store.record(peer))
        assert.deepStrictEqual(yield* store.peers(), [])
        assert.strictEqual(yield* store.size, 0)
        assert.strictEqual(store.worth(peer), 0)
        yield* store.forget(peer)
        yield* store.removeAddresses(peer, addressesAt(1))
        yield* store.setTag(peer, "tag", undefined)
        yield* store.setMetadata(peer, "name", undefined)
        assert.isUndefined(yield* store.get(peer))
      }))

    test("are forgotten when their time is over: a day, an hour, or as said", (store, peer) =>
      Effect.gen(function* () {
        yield* store.addAddresses(peer, addressesAt(1), "proven")
        yield* store.addAddresses(peer, addressesAt(2), "claimed")
        yield* store.addAddresses(peer, addressesAt(3), "claimed", "10 seconds")
        yield* store.addAddresses(peer, addressesAt(4), "claimed", 0)
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 3, 2])
        yield* TestClock.adjust("9999 millis")
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 3, 2])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 2])
        yield* TestClock.setTime(3_600_000 - 1)
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 2])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* portsOf(store, peer), [1])
        yield* TestClock.setTime(86_400_000 - 1)
        assert.strictEqual(yield* store.size, 1)
        yield* TestClock.adjust("1 millis")
        assert.isUndefined(yield* store.get(peer))
        assert.strictEqual(yield* store.size, 0)
        assert.deepStrictEqual(yield* store.peers(), [])
      }))

    test("come proven first, then certified, then claimed, the latest learnt first in each", (store, peer, identity) =>
      Effect.gen(function* () {
        yield* store.addAddresses(peer, addressesAt(1), "claimed")
        yield* store.addRecord(peer, yield* recordOf(identity, 1n, addressesAt(2, 3)))
        yield* store.addAddresses(peer, addressesAt(4), "proven")
        yield* store.addAddresses(peer, addressesAt(5), "claimed")
        yield* store.addAddresses(peer, addressesAt(6), "proven")
        assert.deepStrictEqual(yield* portsOf(store, peer), [6, 4, 2, 3, 5, 1])
        yield* store.addAddresses(peer, addressesAt(1), "claimed")
        assert.deepStrictEqual(yield* portsOf(store, peer), [6, 4, 2, 3, 1, 5])
        const { addresses } = known(yield* store.get(peer))
        assert.deepStrictEqual(
          addresses.map(({ confidence }) => confidence),
          ["proven", "proven", "certified", "certified", "claimed", "claimed"]
        )
        assert.deepStrictEqual(
          addresses.map(({ expiresAt }) => expiresAt),
          [86_400_000, 86_400_000, 86_400_000, 86_400_000, 3_600_000, 3_600_000]
        )
      }))

    test("keep the better confidence and the later expiry", (store, peer) =>
      Effect.gen(function* () {
        yield* store.addAddresses(peer, addressesAt(1, 2), "proven", "1 minute")
        yield* store.addAddresses(peer, addressesAt(1), "claimed", "2 minutes")
        yield* store.addAddresses(peer, addressesAt(2), "proven", "1 second")
        const { addresses } = known(yield* store.get(peer))
        assert.deepStrictEqual(
          new Map(addresses.map((one) => [Number(one.address.components[1]?.value), [one.confidence, one.expiresAt]])),
          new Map([
            [1, ["proven", 120_000]],
            [2, ["proven", 60_000]]
          ])
        )
      }))

    test("that have expired lend nothing to the same ones learnt anew", (store, peer) =>
      Effect.gen(function* () {
        yield* store.addAddresses(peer, addressesAt(1), "proven", "1 second")
        yield* TestClock.adjust("1 second")
        yield* store.addAddresses(peer, addressesAt(1), "claimed")
        assert.deepStrictEqual(
          known(yield* store.get(peer)).addresses.map(({ confidence }) => confidence),
          ["claimed"]
        )
      }))

    test("lose the name of their peer, and those of other peers are dropped", (store, peer) =>
      Effect.gen(function* () {
        const other = (yield* someone(2)).peerId
        const [plain] = addressesAt(1)
        const relay = address(`/ip4/192.0.2.9/tcp/9/p2p/${other.toString()}/p2p-circuit`)
        if (plain === undefined) return assert.fail()
        yield* store.addAddresses(
          peer,
          [
            Multiaddr.withPeer(plain, peer),
            Multiaddr.withPeer(address("/ip4/192.0.2.1/tcp/2"), other),
            address(`/p2p/${peer.toString()}`),
            Multiaddr.withPeer(relay, peer),
            plain
          ],
          "claimed"
        )
        assert.deepStrictEqual(
          (yield* store.addresses(peer)).map((one) => one.toString()),
          [plain.toString(), relay.toString()]
        )
        yield* store.removeAddresses(peer, [Multiaddr.withPeer(plain, peer)])
        assert.deepStrictEqual(
          (yield* store.addresses(peer)).map((one) => one.toString()),
          [relay.toString()]
        )
      }))

    test("are bounded, and what is claimed pushes out nothing better", (store, peer, identity) =>
      Effect.gen(function* () {
        const max = bounds.maxAddresses
        yield* store.addAddresses(peer, addressesAt(...range(100, 3 * max)), "claimed")
        assert.deepStrictEqual(yield* portsOf(store, peer), range(100, max))
        yield* store.addRecord(peer, yield* recordOf(identity, 1n, addressesAt(1, 2)))
        yield* store.addAddresses(peer, addressesAt(3), "proven")
        assert.deepStrictEqual(yield* portsOf(store, peer), [3, 1, 2, ...range(100, max - 3)])
        yield* store.addAddresses(peer, addressesAt(...range(500, 3 * max)), "claimed")
        assert.deepStrictEqual(yield* portsOf(store, peer), [3, 1, 2, ...range(500, max - 3)])
        yield* store.addRecord(peer, yield* recordOf(identity, 2n, addressesAt(...range(200, 2 * max))))
        assert.deepStrictEqual(yield* portsOf(store, peer), [3, ...range(200, max - 1)])
        yield* store.addAddresses(peer, addressesAt(...range(300, max)), "proven")
        assert.deepStrictEqual(yield* portsOf(store, peer), range(300, max))
      }))
  })

  describe(`${name}: signed records`, () => {
    test("a newer one replaces the certified addresses, an older or equal one is not taken", (store, peer, identity) =>
      Effect.gen(function* () {
        const first = yield* recordOf(identity, 2n ** 63n, addressesAt(1, 2))
        const second = yield* recordOf(identity, 2n ** 63n + 1n, addressesAt(2, 3))
        assert.isTrue(yield* store.addRecord(peer, first))
        yield* store.addAddresses(peer, addressesAt(1), "proven")
        assert.isFalse(yield* store.addRecord(peer, first))
        assert.isTrue(yield* store.addRecord(peer, second))
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 2, 3])
        assert.isFalse(yield* store.addRecord(peer, first))
        assert.isFalse(
          yield* store.addRecord(peer, yield* recordOf(identity, 2n ** 63n + 1n, addressesAt(7))),
          "another one of the same number"
        )
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 2, 3])
        assert.deepStrictEqual(yield* store.record(peer), second)
        const info = known(yield* store.get(peer))
        assert.strictEqual(info.recordSequence, 2n ** 63n + 1n)
        assert.isTrue(info.publicKey !== undefined && Keys.equals(info.publicKey, identity.publicKey))
        assert.isTrue(yield* store.addRecord(peer, yield* recordOf(identity, 2n ** 64n - 1n, [])))
        assert.deepStrictEqual(yield* portsOf(store, peer), [1])
      }))

    test("that were opened before are taken as well, and only of the peer", (store, peer, identity) =>
      Effect.gen(function* () {
        const envelope = yield* recordOf(identity, 1n, addressesAt(1, 2))
        const crypto = yield* Effect.provide(Crypto, NodeCrypto.layer)
        const opened = Result.getOrThrow(openPeerRecord(crypto, envelope))
        const other = yield* someone(2)
        assert.strictEqual((yield* reasonOf(store.addRecord(other.peerId, opened)))._tag, "RecordRejected")
        assert.isTrue(yield* store.addRecord(peer, opened))
        assert.isFalse(yield* store.addRecord(peer, envelope), "the very same")
        assert.deepStrictEqual(yield* store.record(peer), envelope)
        assert.deepStrictEqual(yield* portsOf(store, peer), [1, 2])
      }))

    test("last for a day or as said, and longer when they come again", (store, peer, identity) =>
      Effect.gen(function* () {
        const record = yield* recordOf(identity, 5n, addressesAt(1))
        yield* store.addRecord(peer, record)
        yield* TestClock.setTime(86_400_000 - 1)
        assert.deepStrictEqual(yield* store.record(peer), record)
        assert.isFalse(yield* store.addRecord(peer, record, "1 minute"))
        yield* TestClock.adjust("59999 millis")
        assert.deepStrictEqual(yield* store.record(peer), record)
        assert.deepStrictEqual(yield* portsOf(store, peer), [1])
        yield* TestClock.adjust("1 millis")
        assert.isUndefined(yield* store.record(peer))
        assert.deepStrictEqual(yield* portsOf(store, peer), [])
        assert.isTrue(yield* store.addRecord(peer, record), "the same one may come back")
        assert.deepStrictEqual(yield* portsOf(store, peer), [1])
      }))

    test("of another peer, for another purpose, altered or too large are refused", (store, peer, identity) =>
      Effect.gen(function* () {
        const other = yield* someone(2)
        const good = yield* recordOf(identity, 1n, addressesAt(1))
        const altered = good.slice()
        altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1
        const wrongType = yield* seal(peerRecordDomain, Uint8Array.of(1), new Uint8Array(3)).pipe(
          Effect.provideService(Identity, identity)
        )
        const wrongDomain = yield* seal("libp2p-routing-state", peerRecordType, new Uint8Array(3)).pipe(
          Effect.provideService(Identity, identity)
        )
        const large = yield* recordOf(identity, 9n, addressesAt(...range(1, bounds.maxRecordSize / 8)))
        assert.isAbove(large.length, bounds.maxRecordSize)
        const refused: ReadonlyArray<Uint8Array> = [
          yield* recordOf(other, 1n, addressesAt(1)),
          altered,
          good.subarray(0, good.length - 1),
          new Uint8Array(0),
          wrongType,
          wrongDomain,
          large
        ]
        for (const envelope of refused) {
          assert.strictEqual((yield* reasonOf(store.addRecord(peer, envelope)))._tag, "RecordRejected")
        }
        assert.isUndefined(yield* store.get(peer))
        assert.isUndefined(yield* store.get(other.peerId))
      }))

    test("are the store's own: changing what went in or came out changes nothing", (store, peer, identity) =>
      Effect.gen(function* () {
        const record = yield* recordOf(identity, 1n, addressesAt(1))
        // As programs on Node have them: slices of a Buffer share its memory.
        const given = Buffer.from(record)
        yield* store.addRecord(peer, given)
        given.fill(0)
        ;(yield* store.record(peer))?.fill(0)
        assert.deepStrictEqual(yield* store.record(peer), record)
        const value = Buffer.from("value")
        yield* store.setMetadata(peer, "name", value)
        value.fill(0)
        known(yield* store.get(peer)).metadata["name"]?.fill(0)
        assert.strictEqual(text(known(yield* store.get(peer)).metadata["name"]), "value")
      }))
  })

  describe(`${name}: keys, protocols, metadata`, () => {
    test("a key must be that of the peer", (store, peer, identity) =>
      Effect.gen(function* () {
        const other = yield* someone(2)
        assert.strictEqual((yield* reasonOf(store.setPublicKey(peer, other.publicKey)))._tag, "WrongKey")
        assert.isUndefined(yield* store.get(peer))
        yield* store.setPublicKey(peer, identity.publicKey)
        assert.deepStrictEqual(known(yield* store.get(peer)).publicKey, identity.publicKey)
      }))

    test("protocols replace those before, and are bounded", (store, peer) =>
      Effect.gen(function* () {
        yield* store.setProtocols(peer, ["/a", "/b", "/a"])
        assert.deepStrictEqual(known(yield* store.get(peer)).protocols, ["/a", "/b"])
        const many = range(0, bounds.maxProtocols + 1).map((n) => `/${n}`)
        const reason = yield* reasonOf(store.setProtocols(peer, many))
        assert.isTrue(reason._tag === "PeerStoreLimit" && reason.limit === bounds.maxProtocols)
        assert.deepStrictEqual(known(yield* store.get(peer)).protocols, ["/a", "/b"])
        yield* store.setProtocols(peer, many.slice(1))
        assert.deepStrictEqual(known(yield* store.get(peer)).protocols, many.slice(1))
        yield* store.setProtocols(peer, [])
        assert.deepStrictEqual((yield* store.get(peer))?.protocols ?? [], [])
      }))

    test("metadata is set, replaced, removed and bounded; any name will do", (store, peer) =>
      Effect.gen(function* () {
        const set = (key: string, value: string | undefined) =>
          store.setMetadata(peer, key, value === undefined ? undefined : Bytes.fromUtf8(value))
        const all = Effect.map(store.get(peer), (info) =>
          Object.entries(info?.metadata ?? {}).map(([key, value]) => `${key}=${text(value)}`)
        )
        yield* set("__proto__", "1")
        yield* set("ü", "")
        yield* set("__proto__", "2")
        assert.deepStrictEqual((yield* all).toSorted(), ["__proto__=2", "ü="])
        for (const n of range(2, bounds.maxMetadata - 2)) yield* set(`${n}`, "x")
        const many = yield* reasonOf(set("one more", "x"))
        assert.isTrue(many._tag === "PeerStoreLimit" && many.limit === bounds.maxMetadata)
        yield* set("ü", "y".repeat(bounds.maxMetadataSize))
        const large = yield* reasonOf(set("ü", "y".repeat(bounds.maxMetadataSize + 1)))
        assert.isTrue(large._tag === "PeerStoreLimit" && large.limit === bounds.maxMetadataSize)
        assert.strictEqual((yield* reasonOf(set("n".repeat(100_000), "x")))._tag, "PeerStoreLimit")
        yield* TestClock.adjust("1000 days")
        assert.lengthOf(yield* all, bounds.maxMetadata)
        yield* set("__proto__", undefined)
        yield* set("one more", "x")
        assert.notInclude(yield* all, "__proto__=2")
        for (const key of Object.keys(known(yield* store.get(peer)).metadata)) yield* set(key, undefined)
        assert.isUndefined(yield* store.get(peer))
      }))
  })

  describe(`${name}: tags`, () => {
    test("decay: none, linear, exponential", (store, peer) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("1 hour")
        yield* store.setTag(peer, "fixed", { value: 1 })
        yield* store.setTag(peer, "linear", { value: 100, decay: { shape: "linear", over: "10 seconds" } })
        yield* store.setTag(peer, "halving", { value: 8, decay: { shape: "exponential", over: "1 second" } })
        const tags = Effect.map(store.get(peer), (info) => known(info).tags)
        const after = (time: number) => TestClock.setTime(3_600_000 + time)
        assert.deepStrictEqual(yield* tags, { fixed: 1, linear: 100, halving: 8 })
        assert.strictEqual(store.worth(peer), 109)
        yield* after(1000)
        assert.deepStrictEqual(yield* tags, { fixed: 1, linear: 90, halving: 4 })
        assert.strictEqual(store.worth(peer), 95)
        yield* after(2500)
        assert.closeTo((yield* tags)["halving"] ?? 0, Math.SQRT2, 1e-9)
        assert.strictEqual((yield* tags)["linear"], 75)
        yield* after(3000)
        assert.deepStrictEqual(yield* tags, { fixed: 1, linear: 70, halving: 1 })
        yield* after(3001)
        assert.hasAllKeys(yield* tags, ["fixed", "linear"])
        yield* after(9999)
        assert.closeTo(store.worth(peer), 1.01, 1e-9)
        yield* after(10_000)
        assert.deepStrictEqual(yield* tags, { fixed: 1 })
        yield* TestClock.adjust("1000 days")
        assert.deepStrictEqual(yield* tags, { fixed: 1 })
        yield* store.setTag(peer, "fixed", undefined)
        assert.isUndefined(yield* store.get(peer))
        assert.strictEqual(store.worth(peer), 0)
      }))

    test("are replaced and bounded, and make room when they are gone", (store, peer) =>
      Effect.gen(function* () {
        const names = range(0, bounds.maxTags).map((n) => `tag ${n}`)
        for (const tag of names) {
          yield* store.setTag(peer, tag, { value: 2, decay: { shape: "linear", over: "1 second" } })
        }
        yield* store.setTag(peer, "tag 0", { value: -3, decay: { shape: "linear", over: "1 second" } })
        const reason = yield* reasonOf(store.setTag(peer, "one more", { value: 1 }))
        assert.isTrue(reason._tag === "PeerStoreLimit" && reason.limit === bounds.maxTags)
        assert.strictEqual(store.worth(peer), 2 * (bounds.maxTags - 1) - 3)
        yield* TestClock.adjust("1 second")
        yield* store.setTag(peer, "one more", { value: 1 })
        assert.deepStrictEqual(known(yield* store.get(peer)).tags, { "one more": 1 })
      }))

    test("that are nothing from the start are not kept", (store, peer) =>
      Effect.gen(function* () {
        yield* store.setTag(peer, "small", { value: 0.5, decay: { shape: "exponential", over: "1 hour" } })
        yield* store.setTag(peer, "short", { value: 5, decay: { shape: "linear", over: 0 } })
        yield* store.setTag(peer, "zero", { value: 0, decay: { shape: "linear", over: "1 hour" } })
        assert.isUndefined(yield* store.get(peer))
      }))
  })

  describe(`${name}: peers`, () => {
    const several = (count: number) =>
      Effect.forEach(range(10, count), (seed) => Effect.map(someone(seed), (one) => one.peerId))
    const texts = (peers: ReadonlyArray<PeerId>) => peers.map((one) => one.toString())

    test("are told by when they were heard of, the latest first, and as many as asked for", (store) =>
      Effect.gen(function* () {
        const [a, b, c] = yield* several(3)
        if (a === undefined || b === undefined || c === undefined) return assert.fail()
        yield* store.addAddresses(a, addressesAt(1), "claimed")
        yield* store.setProtocols(b, ["/b"])
        yield* store.setMetadata(c, "c", new Uint8Array(1))
        assert.deepStrictEqual(texts(yield* store.peers()), texts([c, b, a]))
        yield* store.addAddresses(a, addressesAt(1), "claimed")
        assert.deepStrictEqual(texts(yield* store.peers()), texts([a, c, b]))
        assert.deepStrictEqual(texts(yield* store.peers(2)), texts([a, c]))
        assert.deepStrictEqual(texts(yield* store.peers(0)), [])
        assert.strictEqual(yield* store.size, 3)
        yield* store.forget(a)
        assert.deepStrictEqual(texts(yield* store.peers()), texts([c, b]))
        assert.isUndefined(yield* store.get(a))
        yield* TestClock.adjust("365 days")
        assert.include(texts(yield* store.peers()), c.toString())
      }))

    test("are bounded: the one heard of longest ago goes first", (store) =>
      Effect.gen(function* () {
        const all = yield* several(bounds.maxPeers + 2)
        for (const peer of all) yield* store.addAddresses(peer, addressesAt(1), "claimed")
        assert.strictEqual(yield* store.size, bounds.maxPeers)
        assert.deepStrictEqual(texts(yield* store.peers()), texts(all.slice(2).toReversed()))
      }))

    test("one with a tag goes only when all have one", (store) =>
      Effect.gen(function* () {
        const all = yield* several(bounds.maxPeers + 2)
        const [first, second, third] = all
        if (first === undefined || second === undefined || third === undefined) return assert.fail()
        yield* store.setTag(first, "kept", { value: 1, decay: { shape: "linear", over: "1 hour" } })
        yield* store.setTag(second, "gone", { value: 1, decay: { shape: "linear", over: "1 second" } })
        yield* TestClock.adjust("1 second")
        for (const peer of all.slice(1)) yield* store.addAddresses(peer, addressesAt(1), "claimed")
        assert.deepStrictEqual(texts(yield* store.peers()), texts([...all.slice(3).toReversed(), first]))
        for (const peer of all.slice(3)) yield* store.setTag(peer, "kept", { value: 1 })
        yield* store.addAddresses(second, addressesAt(1), "proven")
        assert.isUndefined(yield* store.get(second), "all the others have a tag")
        yield* store.setTag(third, "kept", { value: 1 })
        assert.deepStrictEqual(texts(yield* store.peers()), texts([third, ...all.slice(3).toReversed()]))
      }))
  })
}
