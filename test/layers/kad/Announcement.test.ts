/** The first announcement of a key, against a DHT that does as a test says. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Announcement from "../../../src/layers/kad/Announcement.ts"
import { bytes, network, refused, sure } from "./holders.ts"

const settle = Effect.repeat(Effect.yieldNow, { times: 100 })
const inScope = Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))

describe("an announcement", () => {
  it.effect("is answered when most were told; the others are told afterwards, until the layer ends", () =>
    Effect.gen(function* () {
      const scope = yield* inScope
      const { dht, seen } = network((holder) => (holder < 2 ? Effect.sleep("5 seconds") : Effect.void))
      const announce = Announcement.make({ dht, optimistic: true, scope })
      assert.deepStrictEqual(yield* announce(bytes, undefined), { told: 6, pending: 2, holders: 8 })
      assert.strictEqual(seen.told.length, 8)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(seen.interrupted, 0)
      yield* announce(bytes, undefined)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(seen.interrupted, 2)
    })
  )

  it.effect("goes on in the classic way when too few could be told, and tells nobody twice", () =>
    Effect.gen(function* () {
      const { dht, seen } = network((holder) => (holder < 4 ? Effect.fail(refused) : Effect.void))
      const announce = Announcement.make({ dht, optimistic: true, scope: yield* inScope })
      assert.deepStrictEqual(yield* announce(bytes, undefined), { told: 4, pending: 0, holders: 8 })
      assert.deepStrictEqual([seen.lookups, seen.told.length, new Set(seen.told).size], [2, 8, 8])
    })
  )

  it.effect("ends with who asked, as long as that has no answer", () =>
    Effect.gen(function* () {
      const { dht, seen } = network(() => Effect.never)
      const announce = Announcement.make({ dht, optimistic: true, scope: yield* inScope })
      const asking = yield* Effect.forkChild(announce(bytes, undefined))
      yield* settle
      assert.strictEqual(seen.told.length, 8)
      yield* Fiber.interrupt(asking)
      assert.strictEqual(seen.interrupted, 8)
    })
  )

  it.effect("waits for all of its own when many others are not done yet", () =>
    Effect.gen(function* () {
      let slow: Effect.Effect<void> = Effect.never
      const { dht } = network((holder) => (holder < 2 ? slow : Effect.void))
      const announce = Announcement.make({ dht, optimistic: true, scope: yield* inScope })
      for (let i = 0; i < 32; i++) assert.strictEqual((yield* announce(bytes, undefined)).pending, 2)
      slow = Effect.sleep("5 seconds")
      const last = yield* Effect.forkChild(announce(bytes, undefined))
      yield* settle
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(last.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(last), { told: 8, pending: 0, holders: 8 })
    })
  )

  it.effect("is the classic one unless the other is chosen, and the network's size is known well", () =>
    Effect.gen(function* () {
      for (const [optimistic, estimate] of [
        [false, sure],
        [true, undefined],
        [true, { ...sure, high: 2_000 }]
      ] as const) {
        const { dht, seen } = network(() => Effect.sleep("1 second"), estimate)
        const announce = Announcement.make({
          dht: { ...dht, sizeEstimate: Effect.succeed(estimate) },
          optimistic,
          scope: yield* inScope
        })
        const asking = yield* Effect.forkChild(announce(bytes, undefined))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Fiber.join(asking), { told: 8, pending: 0, holders: 8 })
        assert.strictEqual(seen.lookups, 1)
      }
    })
  )

  it.effect("fails when none of them could be told", () =>
    Effect.gen(function* () {
      for (const optimistic of [true, false]) {
        const { dht } = network(() => Effect.fail(refused))
        const announce = Announcement.make({ dht, optimistic, scope: yield* inScope })
        assert.strictEqual((yield* Effect.flip(announce(bytes, undefined))).reason, "refused")
      }
    })
  )
})
