/** What every ContentRouting promises, as tests: in virtual time, or, for those on real sockets, in real time. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../data/Bytes.ts"
import type { PeerId } from "../data/PeerId.ts"
import type { ContentRouting } from "../services/ContentRouting.ts"
import type { RoutedPeer } from "../services/PeerRouting.ts"
import { assertFound, contentKey, deadlineFor, endOf, interruptSoon, routingTest, type RunTest } from "./PeerRouting.ts"

/** The network that the routing under test can reach. */
export interface ContentRoutingNetwork {
  readonly routing: ContentRouting["Service"]
  /** A key, and who provides its content: two or more. */
  readonly key: Uint8Array
  readonly providers: ReadonlyArray<RoutedPeer>
  /** For a routing that announces: who it announces, and the routing of another member, which must find it. */
  readonly announces?: { readonly self: PeerId; readonly other: ContentRouting["Service"] } | undefined
  /** From now on nobody answers, so that questions wait for their deadlines. Without it, that is not tested. */
  readonly silence?: Effect.Effect<void> | undefined
}

export interface ContentRoutingSuiteOptions {
  /** In real time, which what runs on real sockets needs. Default false. */
  readonly live?: boolean | undefined
  /** Runs a test, such as in a simulation: with it, time passes by itself, as it does with `live`. */
  readonly run?: RunTest | undefined
  /** False for a routing that only finds what others announce. Default true. */
  readonly provides?: boolean | undefined
}

const hex = (keys: ReadonlyArray<Uint8Array>): ReadonlyArray<string> => keys.map(Bytes.toHex).toSorted()
const idsOf = (peers: ReadonlyArray<RoutedPeer>): ReadonlyArray<string> => peers.map(({ peer }) => peer.toString())

/** Declares the tests of one routing. `make` is run in each test's own scope. */
export const contentRoutingSuite = <E>(
  name: string,
  make: Effect.Effect<ContentRoutingNetwork, E, Scope.Scope>,
  options?: ContentRoutingSuiteOptions
): void => {
  const live = options?.live === true || options?.run !== undefined
  const test = routingTest(make, live, options?.run)

  describe(`${name}: providers`, () => {
    test("are found, each once", ({ key, providers, routing }) =>
      Effect.gen(function* () {
        assert.isAtLeast(providers.length, 2, "too few for the tests")
        const found = yield* Stream.runCollect(routing.findProviders(key))
        assert.deepStrictEqual(idsOf(found).toSorted(), idsOf(providers).toSorted())
        for (const expected of providers) {
          const one = found.find(({ peer }) => peer.toString() === expected.peer.toString())
          assertFound(one ?? assert.fail(), expected)
        }
      }))

    test("are found for many who ask at once", ({ key, providers, routing }) =>
      Effect.gen(function* () {
        const counts = yield* Effect.all(
          Array.from({ length: 8 }, () => Stream.runCount(routing.findProviders(key))),
          { concurrency: "unbounded" }
        )
        for (const count of counts) assert.strictEqual(count, providers.length)
      }))

    test("are not asked for any more when the reader has enough", ({ key, routing }) =>
      Effect.gen(function* () {
        assert.lengthOf(yield* Stream.runCollect(Stream.take(routing.findProviders(key), 1)), 1)
      }))

    test("that nobody knows of are none, and no error", ({ routing }) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Stream.runCollect(routing.findProviders(contentKey(9))), [])
      }))

    test("are asked for until the deadline, when nobody answers", ({ key, routing, silence }) =>
      Effect.gen(function* () {
        if (silence === undefined) return
        yield* silence
        const question = Stream.runDrain(routing.findProviders(key, { deadline: deadlineFor(live) }))
        assert.strictEqual((yield* endOf(question, live))._tag, "RoutingTimeout")
        yield* interruptSoon(Stream.runDrain(routing.findProviders(key)), live)
      }))
  })

  describe(`${name}: announcing`, () => {
    if (options?.provides === false) {
      test("is not for it, and it says so", ({ routing }) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(routing.provide(contentKey(5))).pipe(
            Effect.catch(() => Effect.die("it was announced"))
          )
          assert.strictEqual(error.reason._tag, "RoutingUnsupported")
          assert.strictEqual(error.router, routing.router)
          assert.deepStrictEqual(yield* routing.provided, [])
          yield* routing.unprovide(contentKey(5))
        }))
      return
    }

    test("lets others find this node, until it is announced no more", ({ announces, routing }) =>
      Effect.gen(function* () {
        if (announces === undefined) return assert.fail("the network has nobody who could find it")
        assert.deepStrictEqual(yield* routing.provided, [])
        assert.isAtLeast((yield* routing.provide(contentKey(5))).holders, 1)
        yield* routing.provide(contentKey(5))
        yield* routing.provide(contentKey(6))
        assert.deepStrictEqual(hex(yield* routing.provided), hex([contentKey(5), contentKey(6)]))
        const found = yield* Stream.runCollect(announces.other.findProviders(contentKey(5)))
        assert.deepStrictEqual(idsOf(found), [announces.self.toString()])
        yield* routing.unprovide(contentKey(5))
        yield* routing.unprovide(contentKey(7))
        assert.deepStrictEqual(hex(yield* routing.provided), hex([contentKey(6)]))
      }))

    test("keeps the key that it was given", ({ announces, routing }) =>
      Effect.gen(function* () {
        if (announces === undefined) return
        const key = contentKey(8)
        yield* routing.provide(key)
        key.fill(0)
        assert.deepStrictEqual(hex(yield* routing.provided), hex([contentKey(8)]))
      }))
  })
}
