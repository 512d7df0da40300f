/** When a node that has just met the first peer looks itself up again. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as ActorsLayer from "../../../src/layers/actors/Actors.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import { RoutingTable } from "../../../src/layers/kad/core/RoutingTable.ts"
import * as Refresh from "../../../src/layers/kad/Refresh.ts"
import { monotonicMs } from "../../../src/layers/internal/Monotonic.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { Actors } from "../../../src/services/Actors.ts"
import { among } from "./core/lookup.ts"
import { chance, contacts } from "./core/model.ts"

const k = 4

/** Seconds at which a node looked itself up: each lookup takes so long, and finds as many peers as there are then. */
const lookups = (tookMs: number, peersAt: (seconds: number) => number) =>
  Effect.gen(function* () {
    const prng = new Prng("refresh")
    const [self, first, ...others] = contacts(prng, 10)
    if (self === undefined || first === undefined) return yield* Effect.die("no contacts")
    const table = new RoutingTable(self.key, { k, refreshEveryMs: 3_600_000 })
    table.offer(first, { groups: [], useful: true }, 0)
    const seconds: Array<number> = []
    const began = yield* monotonicMs
    const now = Effect.map(monotonicMs, (ms) => ms - began)
    const refresh = yield* Refresh.make({
      actors: yield* Actors,
      self,
      k,
      table: () => table,
      now,
      chance: chance(prng),
      count: () => {},
      lookup: ({ target }) =>
        Effect.gen(function* () {
          const at = (yield* now) / 1000
          seconds.push(at)
          yield* Effect.sleep(tookMs)
          const finished = among(target, [first, ...others].slice(0, peersAt(at)), k)
          table.refreshed(finished, yield* now)
          const closest = Key.closest(target, [first, ...others].slice(0, peersAt(at)), k)
          return { finished, closest: closest.map(({ peer }) => ({ peer, addresses: [] })), holders: [] }
        })
    })
    refresh.begin()
    yield* TestClock.adjust("10 minutes")
    return seconds
  }).pipe(Effect.scoped, Effect.provide(ActorsLayer.layer))

describe("the refresh, after the first peer has come", () => {
  it.effect("looks this node up with pauses that double, and are long when enough were found", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* lookups(0, () => 8), [0, 10, 30, 70, 150])
    })
  )

  it.effect("does so soon where few are found, and no longer once enough are", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* lookups(0, () => 2), [0, 1, 3, 7, 15, 31, 63, 127])
      assert.deepStrictEqual(yield* lookups(0, (seconds) => (seconds < 3 ? 2 : 8)), [0, 1, 3, 13, 33, 73, 153])
    })
  )

  it.effect("begins a pause when the lookup has ended", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* lookups(5000, () => 8), [0, 15, 40, 85, 170])
    })
  )
})
