/** Tags, and what a peer is worth by them. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { known, range, reasonOf, type Subject } from "./Kit.ts"

export const tags = ({ bounds, test }: Subject): void => {
  describe("tags", () => {
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
}
