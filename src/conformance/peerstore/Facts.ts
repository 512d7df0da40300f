/** Keys, protocols and metadata of a peer. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Bytes from "../../data/Bytes.ts"
import { known, range, reasonOf, someone, text, type Subject } from "./Kit.ts"

export const facts = ({ bounds, test }: Subject): void => {
  describe("keys, protocols, metadata", () => {
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
}
