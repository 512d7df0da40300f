import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import { contentKey, peerRoutingSuite } from "../../../src/conformance/PeerRouting.ts"
import * as CompositeRouting from "../../../src/layers/routing/CompositeRouting.ts"
import {
  NotFound,
  type RoutedPeer,
  RoutingFailed,
  type RoutingProgress,
  RoutingTimeout,
  RoutingUnsupported
} from "../../../src/services/PeerRouting.ts"
import type { Routing } from "../../../src/services/Routing.ts"
import { failing, memoryNetwork, peerOf, routed, scripted } from "../../support/routing.ts"

const key = contentKey(0)
const settle = Effect.repeat(Effect.yieldNow, { times: 100 })

type Wrap = (mine: Effect.Effect<Routing>) => Effect.Effect<Routing>
const nobody = scripted("nobody")
const broken = scripted("broken", {
  findPeer: () => Effect.fail(failing("broken")),
  closestPeers: () => Stream.fail(failing("broken")),
  findProviders: () => Stream.fail(failing("broken")),
  provide: () => Effect.fail(failing("broken"))
})

/** The suites must pass whatever stands beside the routing that works, as long as that one does. */
const suites = (name: string, wrap: Wrap) => {
  const network = memoryNetwork([0, 1, 2, 3, 4], key, wrap)
  peerRoutingSuite(
    name,
    Effect.map(network, ({ peers, routing, silence }) => ({ routing: routing.peers, peers, silence }))
  )
  contentRoutingSuite(
    name,
    Effect.map(network, ({ others, routing, silence }) => ({
      routing: routing.content,
      key,
      providers: [routed(1), routed(2)],
      announces: { self: peerOf(0), other: others[0]?.content ?? assert.fail() },
      silence
    }))
  )
}

suites("sequential", (mine) => CompositeRouting.sequential([mine, mine]))
suites("parallel", (mine) => CompositeRouting.parallel([mine, mine]))
suites("byScope", (mine) => CompositeRouting.byScope({ mine, nobody }, () => "mine"))

const names = (found: Iterable<RoutedPeer>) => Array.from(found, ({ peer }) => peer.toString())

/** A question that hangs, and tells when it is interrupted. */
const hanging = Effect.map(Deferred.make<"interrupted">(), (ended) => ({
  ended,
  wait: Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, "interrupted"))
}))

describe("sequential", () => {
  it.effect("asks the next when one fails, and no other when one has an answer", () =>
    Effect.gen(function* () {
      let asked = 0
      const counted = scripted("counted", {
        findPeer: () => Effect.sync(() => (asked++, routed(9))),
        findProviders: () => Stream.fromEffect(Effect.sync(() => (asked++, routed(9))))
      })
      const right = scripted("right", {
        findPeer: () => Effect.succeed(routed(1)),
        findProviders: () => Stream.succeed(routed(1))
      })
      const both = yield* CompositeRouting.sequential([broken, nobody, right, counted])
      assert.deepStrictEqual(yield* both.peers.findPeer(peerOf(1)), routed(1))
      assert.deepStrictEqual(yield* Stream.runCollect(both.content.findProviders(key)), [routed(1)])
      assert.strictEqual(asked, 0)
    })
  )

  it.effect("gives each its share of the deadline", () =>
    Effect.gen(function* () {
      const silent = scripted("silent", {
        findPeer: () => Effect.never,
        findProviders: () => Stream.never,
        closestPeers: () => Stream.never
      })
      const told: Array<number | undefined> = []
      const last = scripted("last", {
        findPeer: (_, options) => Effect.sync(() => (told.push(Number(options?.deadline)), routed(1))),
        findProviders: () => Stream.succeed(routed(1))
      })
      const both = yield* CompositeRouting.sequential([silent, silent, last])
      const peer = yield* Effect.forkChild(both.peers.findPeer(peerOf(1), { deadline: "9 seconds" }))
      const providers = yield* Effect.forkChild(
        Stream.runCollect(both.content.findProviders(key, { deadline: "9 seconds" }))
      )
      yield* TestClock.adjust(5999)
      assert.isUndefined(peer.pollUnsafe())
      assert.isUndefined(providers.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(peer), routed(1))
      assert.deepStrictEqual(yield* Fiber.join(providers), [routed(1)])
      assert.deepStrictEqual(told, [3000])
    })
  )

  it.effect("does not cut off one that has found something and finds more", () =>
    Effect.gen(function* () {
      const slow = scripted("slow", {
        findProviders: () =>
          Stream.concat(Stream.succeed(routed(1)), Stream.fromEffect(Effect.as(Effect.sleep("8 seconds"), routed(2))))
      })
      const both = yield* CompositeRouting.sequential([slow, broken])
      const found = yield* Effect.forkChild(
        Stream.runCollect(both.content.findProviders(key, { deadline: "9 seconds" }))
      )
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(yield* Fiber.join(found), [routed(1), routed(2)])
    })
  )

  it.effect("keeps an answer without addresses for when nobody has a better one", () =>
    Effect.gen(function* () {
      const bare = scripted("bare", { findPeer: (peer) => Effect.succeed({ peer, addresses: [] }) })
      const right = scripted("right", { findPeer: () => Effect.succeed(routed(1)) })
      const with1 = yield* CompositeRouting.sequential([bare, right])
      assert.deepStrictEqual(yield* with1.peers.findPeer(peerOf(1)), routed(1))
      for (const combine of [CompositeRouting.sequential<typeof bare>, CompositeRouting.parallel<typeof bare>]) {
        const without = yield* combine([bare, broken])
        assert.deepStrictEqual(yield* without.peers.findPeer(peerOf(1)), { peer: peerOf(1), addresses: [] })
      }
    })
  )

  it.effect("announces with the first that can, and takes it back from all", () =>
    Effect.gen(function* () {
      const gone: Array<string> = []
      const announcing = (name: string, holders: number) =>
        scripted(name, {
          provide: () => Effect.succeed({ holders }),
          unprovide: () => Effect.sync(() => void gone.push(name)),
          provided: Effect.succeed([contentKey(1), contentKey(holders)])
        })
      const both = yield* CompositeRouting.sequential([broken, announcing("a", 3), announcing("b", 4)])
      assert.strictEqual((yield* both.content.provide(key)).holders, 3)
      yield* both.content.unprovide(key)
      assert.deepStrictEqual(gone.toSorted(), ["a", "b"])
      assert.lengthOf(yield* both.content.provided, 3)
      const all = yield* CompositeRouting.parallel([broken, announcing("a", 3), announcing("b", 4)])
      assert.strictEqual((yield* all.content.provide(key)).holders, 7)
    })
  )
})

describe("parallel", () => {
  it.effect("takes the first answer and interrupts the others", () =>
    Effect.gen(function* () {
      const { ended, wait } = yield* hanging
      const hangs = scripted("hangs", { findPeer: () => wait })
      const answers = scripted("answers", { findPeer: () => Effect.as(Effect.sleep("1 second"), routed(1)) })
      const both = yield* CompositeRouting.parallel([hangs, broken, answers])
      const found = yield* Effect.forkChild(both.peers.findPeer(peerOf(1)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(found), routed(1))
      assert.strictEqual(yield* Deferred.await(ended), "interrupted")
    })
  )

  it.effect("merges what all find, each once, although one fails", () =>
    Effect.gen(function* () {
      const a = scripted("a", { findProviders: () => Stream.make(routed(1), routed(2)) })
      const b = scripted("b", {
        findProviders: () => Stream.concat(Stream.make(routed(2, 5), routed(3)), Stream.fail(failing("b")))
      })
      const both = yield* CompositeRouting.parallel([a, b, broken])
      const found = yield* Stream.runCollect(both.content.findProviders(key))
      assert.deepStrictEqual(names(found).toSorted(), names([routed(1), routed(2), routed(3)]).toSorted())
    })
  )

  it.effect("gives the addresses of a provider that any of them knows, and one that nobody can place at the end", () =>
    Effect.gen(function* () {
      const bare = (n: number) => ({ peer: peerOf(n), addresses: [] })
      const a = scripted("a", { findProviders: () => Stream.make(bare(1), bare(2)) })
      const b = scripted("b", { findProviders: () => Stream.make(routed(3), routed(1)) })
      for (const make of [CompositeRouting.sequential, CompositeRouting.parallel]) {
        const both = yield* make([a, b])
        const found = yield* Stream.runCollect(both.content.findProviders(key))
        assert.deepStrictEqual(found, [routed(3), routed(1), bare(2)])
      }
    })
  )

  it.effect("takes a provider that nobody can place as an answer, whatever failed", () =>
    Effect.gen(function* () {
      const bare = { peer: peerOf(1), addresses: [] }
      const a = scripted("a", { findProviders: () => Stream.concat(Stream.make(bare), Stream.fail(failing("a"))) })
      for (const make of [CompositeRouting.sequential, CompositeRouting.parallel]) {
        const both = yield* make([a, broken])
        assert.deepStrictEqual(yield* Stream.runCollect(both.content.findProviders(key)), [bare])
      }
    })
  )

  it.effect("merges progress: sums of questions, and the closest of all", () =>
    Effect.gen(function* () {
      const step = (router: string, n: ReadonlyArray<number>, asked: number): RoutingProgress => {
        const peers = n.map((one) => routed(one))
        return { router, learnt: peers, asked, answered: asked - 1, failed: 1, hops: asked, closest: peers }
      }
      const a = scripted("a", { closestPeers: () => Stream.make(step("a", [1], 1), step("a", [1, 2], 2)) })
      const b = scripted("b", { closestPeers: () => Stream.make(step("b", [2], 5)) })
      const both = yield* CompositeRouting.parallel([a, b])
      const last = (yield* Stream.runCollect(both.peers.closestPeers(key))).at(-1)
      assert.deepInclude(last, { asked: 7, answered: 5, failed: 2, hops: 5 })
      assert.deepStrictEqual(names(last?.closest ?? []).toSorted(), names([routed(1), routed(2)]).toSorted())
    })
  )

  it.effect("ends all when the reader has enough, or is interrupted", () =>
    Effect.gen(function* () {
      const { ended, wait } = yield* hanging
      const hangs = scripted("hangs", { findProviders: () => Stream.fromEffect(wait) })
      const a = scripted("a", { findProviders: () => Stream.make(routed(1)) })
      const both = yield* CompositeRouting.parallel([hangs, a])
      assert.lengthOf(yield* Stream.runCollect(Stream.take(both.content.findProviders(key), 1)), 1)
      assert.strictEqual(yield* Deferred.await(ended), "interrupted")
      const again = yield* hanging
      const waits = scripted("waits", { findPeer: () => again.wait })
      const one = yield* CompositeRouting.parallel([waits, waits])
      const fiber = yield* Effect.forkChild(one.peers.findPeer(peerOf(1)))
      yield* settle
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* Deferred.await(again.ended), "interrupted")
    })
  )
})

describe("what came to nothing", () => {
  const reasonFrom = (makes: ReadonlyArray<Effect.Effect<Routing>>) =>
    Effect.gen(function* () {
      const both = yield* CompositeRouting.parallel([CompositeRouting.sequential(makes), ...makes.slice(0, 1)])
      return yield* Effect.flip(both.peers.findPeer(peerOf(1)))
    })
  const saying = (router: string, reason: Parameters<typeof failing>[1]) =>
    scripted(router, { findPeer: () => Effect.fail(failing(router, reason)) })

  it.effect("is named for each, also through composites of composites", () =>
    Effect.gen(function* () {
      const error = yield* reasonFrom([
        saying("a", new NotFound({ asked: 3 })),
        saying("b", new RoutingTimeout({ afterMs: 5, asked: 1 })),
        saying("c", new RoutingFailed({ detail: "it stops" }))
      ])
      assert.deepStrictEqual(
        error.reason._tag === "AllRoutingsFailed"
          ? error.reason.failures.map(({ reason, router }) => [router, reason._tag])
          : [],
        [
          ["a", "NotFound"],
          ["b", "RoutingTimeout"],
          ["c", "RoutingFailed"],
          ["a", "NotFound"]
        ]
      )
      for (const word of ["parallel(sequential(a, b, c), a)", "a: not found", "c: it stops"]) {
        assert.include(error.message, word)
      }
    })
  )

  it.effect("is one reason when those who could answer agree", () =>
    Effect.gen(function* () {
      const cannot = saying("c", new RoutingUnsupported({ detail: "not here" }))
      const nowhere = yield* reasonFrom([saying("a", new NotFound({ asked: 3 })), cannot])
      assert.deepStrictEqual(nowhere.reason, new NotFound({ asked: 6 }))
      const late = yield* reasonFrom([saying("a", new RoutingTimeout({ afterMs: 5, asked: 1 })), cannot])
      assert.deepStrictEqual(late.reason, new RoutingTimeout({ afterMs: 60_000, asked: 2 }))
      assert.strictEqual((yield* reasonFrom([cannot])).reason._tag, "RoutingUnsupported")
      const none = yield* CompositeRouting.parallel<Effect.Effect<Routing>>([])
      assert.strictEqual((yield* Effect.flip(none.peers.findPeer(peerOf(1)))).reason._tag, "RoutingUnsupported")
    })
  )

  it.effect("fails a stream only if all fail", () =>
    Effect.gen(function* () {
      for (const combine of [CompositeRouting.sequential<typeof broken>, CompositeRouting.parallel<typeof broken>]) {
        const one = yield* combine([broken, scripted("nobody")])
        assert.deepStrictEqual(yield* Stream.runCollect(one.content.findProviders(key)), [])
        const all = yield* combine([broken, broken])
        const error = yield* Effect.flip(Stream.runCollect(all.content.findProviders(key)))
        assert.strictEqual(error.reason._tag, "AllRoutingsFailed")
      }
    })
  )
})

describe("byScope", () => {
  it.effect("asks whom the function names, and nobody when it names none", () =>
    Effect.gen(function* () {
      const knows = (n: number) =>
        scripted(`${n}`, { findPeer: () => Effect.succeed(routed(n)), findProviders: () => Stream.succeed(routed(n)) })
      const both = yield* CompositeRouting.byScope({ lan: knows(1), wan: knows(2) }, (subject) => {
        if (subject._tag === "Closest") return undefined
        return subject._tag === "Peer" ? "lan" : "wan"
      })
      assert.deepStrictEqual(yield* both.peers.findPeer(peerOf(5)), routed(1))
      assert.deepStrictEqual(yield* Stream.runCollect(both.content.findProviders(key)), [routed(2)])
      const error = yield* Effect.flip(Stream.runCollect(both.peers.closestPeers(key)))
      assert.strictEqual(error.reason._tag, "RoutingUnsupported")
      assert.strictEqual(error.router, "byScope(lan, wan)")
    })
  )
})
