import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ContentKey from "../../../src/data/ContentKey.ts"
import * as ActorsLayer from "../../../src/layers/actors/Actors.ts"
import * as BootstrapList from "../../../src/layers/discovery/BootstrapList.ts"
import * as RandomWalk from "../../../src/layers/discovery/RandomWalk.ts"
import { Met } from "../../../src/layers/discovery/core/Met.ts"
import * as MemoryRouting from "../../../src/layers/routing/MemoryRouting.ts"
import { type DiscoveredPeer, Discovery, layerAll } from "../../../src/services/Discovery.ts"
import {
  PeerRouting,
  type RoutedPeer,
  type RoutingError,
  type RoutingProgress
} from "../../../src/services/PeerRouting.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { failing, peerOf, routed } from "../../support/routing.ts"

const step = (learnt: ReadonlyArray<RoutedPeer>): RoutingProgress => ({
  router: "test",
  learnt,
  asked: 1,
  answered: 1,
  failed: 0,
  hops: 1,
  closest: learnt
})

/** A routing that counts the walks; `answer` is given how many there were. */
const makeRouting = (answer: (walk: number) => Stream.Stream<RoutingProgress, RoutingError>) => {
  const asked: Array<{ readonly key: Uint8Array; readonly at: number }> = []
  const state = { running: 0, most: 0 }
  const layer = Layer.succeed(PeerRouting, {
    router: "test",
    findPeer: () => Effect.die("not asked"),
    closestPeers: (key) =>
      Stream.unwrap(
        Effect.gen(function* () {
          asked.push({ key, at: yield* Clock.currentTimeMillis })
          state.most = Math.max(state.most, ++state.running)
          yield* Effect.addFinalizer(() => Effect.sync(() => state.running--))
          return answer(asked.length)
        })
      )
  })
  return { asked, state, layer }
}

const start = (routing: Layer.Layer<PeerRouting>, options?: RandomWalk.Options) =>
  Effect.gen(function* () {
    const met: Array<DiscoveredPeer> = []
    const { discovered } = yield* RandomWalk.make(options)
    yield* Effect.forkScoped(Stream.runForEach(discovered, (one) => Effect.sync(() => met.push(one))))
    yield* Effect.repeat(Effect.yieldNow, { times: 20 })
    return met
  }).pipe(Effect.provide(Layer.merge(ActorsLayer.layer, routing)))

describe("random walk", () => {
  it.effect("walks: in a day, once in ten minutes or more often, to a new key each time", () =>
    Effect.gen(function* () {
      const { asked, layer } = makeRouting((walk) => Stream.make(step([routed(walk)])))
      const met = yield* start(layer)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(asked, 1)
      for (let hour = 0; hour < 24; hour++) yield* TestClock.adjust("1 hour")
      assert.isTrue(asked.length > 24 * 6 && asked.length <= 24 * 12 + 1, `${asked.length} walks`)
      assert.strictEqual(new Set(asked.map(({ key }) => ContentKey.toText(key))).size, asked.length)
      for (const { key } of asked) assert.isTrue(ContentKey.fromMultihash(key)._tag === "Success")
      assert.isAtLeast(new Set(asked.map(({ key }) => key[2])).size, 50, "from the whole space")
      assert.lengthOf(met, asked.length)
      assert.deepStrictEqual(met[0], { ...routed(1), by: "random-walk" })
    }).pipe(Effect.scoped)
  )

  it.effect("goes less often when nobody new is met, and often again when somebody is", () =>
    Effect.gen(function* () {
      const { asked, layer } = makeRouting((walk) =>
        walk === 40
          ? Stream.make(step([routed(2)]))
          : walk % 2 === 0
            ? Stream.fail(failing("test"))
            : Stream.make(step([routed(1)]))
      )
      yield* start(layer)
      while (asked.length < 42) yield* TestClock.adjust("1 hour")
      const pauses = asked.slice(1).map(({ at }, i) => at - (asked[i]?.at ?? 0))
      assert.isAtMost(pauses[0] ?? 0, 600_000)
      for (const pause of pauses.slice(5, 38)) assert.isTrue(pause >= 3_600_000 && pause <= 7_200_000)
      assert.isAtMost(pauses[39] ?? 0, 600_000)
    }).pipe(Effect.scoped)
  )

  it.effect("never overlaps itself, and goes on after a walk that does not end", () =>
    Effect.gen(function* () {
      const { asked, layer, state } = makeRouting(() => Stream.concat(Stream.make(step([routed(1)])), Stream.never))
      yield* start(layer, { interval: "1 second", longest: "2 seconds", deadline: "30 seconds" })
      for (let minute = 0; minute < 30; minute++) yield* TestClock.adjust("1 minute")
      assert.isAtLeast(asked.length, 25)
      assert.strictEqual(state.most, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("tells of no more than so many, each once", () =>
    Effect.gen(function* () {
      const { layer } = makeRouting(() =>
        Stream.map(Stream.range(0, 900), (n) => step([routed(n % 600), routed((n + 1) % 600)]))
      )
      const met = yield* start(layer, { interval: "1 hour", first: "1 second" })
      yield* TestClock.adjust("1 second")
      assert.lengthOf(met, 200)
      assert.strictEqual(new Set(met.map(({ peer }) => peer.toString())).size, 200)
    }).pipe(Effect.scoped)
  )

  it("remembers so many peers and no more", () => {
    const met = new Met(3)
    assert.deepStrictEqual(
      ["a", "b", "a", "c", "d", "b", "a"].map((id) => met.add(id)),
      [true, true, false, true, true, true, true]
    )
    assert.strictEqual(met.size, 3)
  })
})

describe("discoveries side by side", () => {
  it.effect("tell of what each discovers, and need what each needs", () =>
    Effect.gen(function* () {
      const hub = yield* MemoryRouting.makeHub
      yield* MemoryRouting.make(hub, routed(1))
      const mine = yield* MemoryRouting.make(hub, routed(2))
      const needs = Layer.mergeAll(
        ActorsLayer.layer,
        Layer.succeed(PeerRouting, mine.peers),
        Layer.mock(PeerStore, { worth: () => 0 }),
        Layer.mock(Swarm, {
          peerId: peerOf(9),
          connections: () => Effect.succeed([]),
          forEachConnection: () => Effect.void
        })
      )
      const all = layerAll([BootstrapList.make({ list: [] }), RandomWalk.make({ first: "1 second" })])
      yield* Effect.gen(function* () {
        const { discovered } = yield* Discovery
        const found = yield* Effect.forkChild(Stream.runHead(discovered), { startImmediately: true })
        yield* Effect.repeat(Effect.yieldNow, { times: 20 })
        yield* TestClock.adjust("1 second")
        const one = Option.getOrUndefined(yield* Fiber.join(found))
        assert.deepStrictEqual(one, { ...routed(1), by: "random-walk" })
      }).pipe(Effect.provide(Layer.provide(all, needs)))
    }).pipe(Effect.scoped)
  )
})
