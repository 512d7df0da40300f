/** Own records are put again in time, by a DHT that does as a test says. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as KadRecordStore from "../../../src/layers/kad/KadRecordStore.ts"
import { Kad } from "../../../src/services/Kad.ts"
import { NobodyToAsk, RoutingError } from "../../../src/services/PeerRouting.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import * as RecordValidators from "../../../src/services/RecordValidators.ts"

const hour = 3_600_000
const key = Bytes.fromUtf8("/until/one")
const until = (hours: number) => Bytes.fromUtf8(String(hours))

/** A record is valid until the hour that it says. */
const validators = RecordValidators.layer({
  until: {
    validate: (_, value, now) => (now < Number(Bytes.toUtf8(value)) * hour ? undefined : "it is over"),
    select: () => 0
  }
})

/** A store over a DHT; what was put into it since the last look. */
const storing = (
  putValue: Kad["Service"]["putValue"],
  use: (store: RecordStore["Service"], puts: Effect.Effect<number>) => Effect.Effect<void, unknown>
) => {
  let count = 0
  const kad = Kad.of({
    status: Effect.succeed([]),
    entered: Effect.void,
    tables: Effect.succeed([]),
    refresh: Effect.void,
    crawl: () => Stream.empty,
    records: undefined,
    values: () => Stream.empty,
    putValue: (key, value) => {
      count++
      return putValue(key, value)
    },
    putValueAt: () => Effect.succeed(0)
  })
  const puts = Effect.sync(() => {
    const since = count
    count = 0
    return since
  })
  return Effect.flatMap(RecordStore, (store) => use(store, puts)).pipe(
    Effect.provide(KadRecordStore.layer().pipe(Layer.provide(Layer.succeed(Kad, kad)), Layer.provide(validators)))
  )
}

describe("a record of this node", () => {
  it.effect("is tried again soon when nobody takes it, long before those who hold it forget it", () =>
    Effect.gen(function* () {
      let isAway = false
      const nobody = new RoutingError({ router: "kad", what: "it", reason: new NobodyToAsk({ detail: "away" }) })
      yield* storing(
        () => (isAway ? Effect.fail(nobody) : Effect.succeed(3)),
        (store, puts) =>
          Effect.gen(function* () {
            yield* store.put(key, until(100))
            yield* TestClock.adjust("21 hours")
            assert.strictEqual(yield* puts, 1)
            isAway = true
            yield* TestClock.adjust("90 minutes")
            assert.strictEqual(yield* puts, 1)
            isAway = false
            yield* TestClock.adjust("90 minutes")
            assert.strictEqual(yield* puts, 1, "an hour later")
            yield* TestClock.adjust("20 hours")
            assert.strictEqual(yield* puts, 0)
          })
      )
    })
  )

  it.effect("is not put again when it does not hold any more", () =>
    storing(
      () => Effect.succeed(3),
      (store, puts) =>
        Effect.gen(function* () {
          yield* store.put(key, until(10))
          yield* TestClock.adjust("40 hours")
          assert.strictEqual(yield* puts, 1)
        })
    )
  )

  it.effect("is not put again when its time is over before its turn comes", () =>
    storing(
      // A lookup may take a minute, and records have their turns one after the other.
      () => Effect.as(Effect.sleep("1 minute"), 3),
      (store, puts) =>
        Effect.gen(function* () {
          const ttl = "23 hours"
          for (let i = 0; i < 200; i++) {
            yield* Effect.forkChild(store.put(Bytes.fromUtf8(`/until/${i}`), until(100), { ttl }))
          }
          yield* TestClock.adjust("2 minutes")
          assert.strictEqual(yield* puts, 200)
          yield* TestClock.adjust("40 hours")
          assert.isAtMost(yield* puts, 61)
        })
    )
  )
})
