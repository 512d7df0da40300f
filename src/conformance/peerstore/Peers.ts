/** Which peers are kept, and which go. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import type { PeerId } from "../../data/PeerId.ts"
import { addressesAt, range, someone, type Subject } from "./Kit.ts"

export const peers = ({ bounds, test }: Subject): void => {
  describe("peers", () => {
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
