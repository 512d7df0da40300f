/** The addresses of a peer: how they are learnt, how long they last, and how many. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { address, addressesAt, known, portsOf, range, recordOf, someone, type Subject } from "./Kit.ts"

export const addresses = ({ bounds, test }: Subject): void => {
  describe("addresses", () => {
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
}
