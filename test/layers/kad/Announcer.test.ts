/** What is announced again, and when, against a DHT that does as a test says. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Announcer from "../../../src/layers/kad/Announcer.ts"
import { bytes, network, refused } from "./holders.ts"

const limits = { everyMs: 22 * 3_600_000, maxKeys: 10, store: undefined, optimistic: false }

describe("the announcer", () => {
  it.effect("tries a key again soon, and then less often, until half of those who are to hold it were told", () =>
    Effect.gen(function* () {
      let willing = 3
      const { dht, seen } = network((holder) => (holder < willing ? Effect.void : Effect.fail(refused)))
      const announcer = yield* Announcer.make(dht, () => 0.5, limits)
      const told = Effect.map(
        Effect.sync(() => seen.told.splice(0).length),
        (count) => count > 0
      )
      yield* announcer.add(bytes)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(yield* told)
      yield* TestClock.adjust("9 minutes")
      assert.isFalse(yield* told)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(yield* told, "again after ten minutes")
      yield* TestClock.adjust("19 minutes")
      assert.isFalse(yield* told)
      willing = 4
      yield* TestClock.adjust("1 minute")
      assert.isTrue(yield* told, "again after twenty")
      yield* TestClock.adjust("90 minutes")
      assert.isFalse(yield* told, "four of eight is enough")
      yield* TestClock.adjust("1 day")
      assert.isTrue(yield* told)
    })
  )

  it.effect("leaves to the next sweep what was announced for the first time to too few", () =>
    Effect.gen(function* () {
      let willing = 1
      const { dht, seen } = network((holder) => (holder < willing ? Effect.void : Effect.fail(refused)))
      const announcer = yield* Announcer.make(dht, () => 0.5, limits)
      yield* announcer.add(bytes)
      assert.strictEqual((yield* announcer.announce(bytes, undefined)).told, 1)
      seen.told.length = 0
      willing = 8
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(seen.told, 8)
    })
  )

  it.effect("is not held up by a holder that takes each of many keys as slowly as it may", () =>
    Effect.gen(function* () {
      // So few that all keys are in one region.
      const few = { size: 10, low: 9, high: 11, lookups: 40 }
      const { dht, seen } = network((holder) => (holder === 0 ? Effect.sleep("9 seconds") : Effect.void), few)
      const announcer = yield* Announcer.make(dht, () => 0.5, { ...limits, maxKeys: 1_000 })
      const toldBy = (holder: number) => seen.told.filter((one) => one === holder).length
      for (let i = 0; i < 240; i++) yield* announcer.add(Uint8Array.of(0x12, 1, i))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(toldBy(1), 240)
      yield* TestClock.adjust("3 minutes")
      const slow = toldBy(0)
      assert.isAbove(slow, 0)
      yield* announcer.add(Uint8Array.of(0x12, 1, 250))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(toldBy(1), 241, "what is new does not wait")
      assert.isBelow(toldBy(0), 2 * slow)
      assert.strictEqual(seen.interrupted, 0)
    })
  )
})
