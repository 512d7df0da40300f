/** Signed peer records. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import * as Keys from "../../data/Keys.ts"
import * as NodeCrypto from "../../layers/crypto/NodeCrypto.ts"
import { Crypto } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import { openPeerRecord, peerRecordDomain, peerRecordType, seal } from "../../services/SignedEnvelope.ts"
import { addressesAt, known, portsOf, range, reasonOf, recordOf, someone, text, type Subject } from "./Kit.ts"

export const records = ({ bounds, test }: Subject): void => {
  describe("signed records", () => {
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
}
