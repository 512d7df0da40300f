/** What every PeerRouting promises, as tests: in virtual time, or, for those on real sockets, in real time. */
import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../data/Multiaddr.ts"
import * as PeerId from "../data/PeerId.ts"
import { closest } from "../layers/routing/core/Closest.ts"
import type { PeerRouting, RoutedPeer, RoutingError, RoutingProgress } from "../services/PeerRouting.ts"

/** The network that the routing under test can reach. */
export interface PeerRoutingNetwork {
  readonly routing: PeerRouting["Service"]
  /** Peers that it can find, three or more, and where they are. */
  readonly peers: ReadonlyArray<RoutedPeer>
  /** From now on nobody answers, so that questions wait for their deadlines. Without it, that is not tested. */
  readonly silence?: Effect.Effect<void> | undefined
}

/** Runs a test to its end, and throws what it fails with. */
export type RunTest = (test: Effect.Effect<void, unknown>) => void

export interface PeerRoutingSuiteOptions {
  /** In real time, which what runs on real sockets needs. Default false. */
  readonly live?: boolean | undefined
  /** Runs a test, such as in a simulation: with it, time passes by itself, as it does with `live`. */
  readonly run?: RunTest | undefined
  /** False for a routing that cannot tell which peers are closest to a key. Default true. */
  readonly closest?: boolean | undefined
}

/** A peer that is in no network; each number is another. */
export const stranger = (n: number): PeerId.PeerId =>
  Result.getOrThrow(PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 31 }, () => 0xfe), n)))

/** The key of content that nobody has; each number is another. */
export const contentKey = (n: number): Uint8Array =>
  Uint8Array.of(0x12, 0x20, ...Array.from({ length: 31 }, () => 0xfd), n)

/** Runs a test of one routing, in the time that it needs. */
export const routingTest =
  <N, E>(make: Effect.Effect<N, E, Scope.Scope>, live: boolean, run?: RunTest) =>
  (title: string, body: (network: N) => Effect.Effect<void, RoutingError, Scope.Scope>): void => {
    const test = () => Effect.scoped(Effect.flatMap(make, body))
    const declare = live ? it.live : it.effect
    declare(title, () => (run === undefined ? test() : Effect.sync(() => run(test()))))
  }

/** Lets a question get to where it waits. */
const settle = (live: boolean): Effect.Effect<unknown> =>
  live ? Effect.sleep(30) : Effect.repeat(Effect.yieldNow, { times: 200 })

/** A deadline that is no trouble to wait for. */
export const deadlineFor = (live: boolean): Duration.Input => (live ? 150 : "10 seconds")

/** The reason for which a question that nobody answers ends with its deadline. */
export const endOf = Effect.fnUntraced(
  function* (question: Effect.Effect<unknown, RoutingError>, live: boolean) {
    const asked = yield* Effect.forkChild(Effect.flip(question), { startImmediately: true })
    yield* settle(live)
    if (!live) yield* TestClock.adjust(deadlineFor(live))
    return (yield* Fiber.join(asked)).reason
  },
  Effect.catch(() => Effect.die("it was answered"))
)

/** Interrupts a question that nobody answers; no time may be needed for that. */
export const interruptSoon = Effect.fnUntraced(function* (
  question: Effect.Effect<unknown, RoutingError>,
  live: boolean
) {
  const asked = yield* Effect.forkChild(question, { startImmediately: true })
  yield* settle(live)
  assert.isUndefined(asked.pollUnsafe(), "it waits")
  yield* Fiber.interrupt(asked)
})

/** Where a peer was found to be is where it is; more is allowed, if it is of this peer. */
export const assertFound = (found: RoutedPeer, expected: RoutedPeer): void => {
  assert.strictEqual(found.peer.toString(), expected.peer.toString())
  const addresses = found.addresses.map((address) => (Multiaddr.withoutPeer(address) ?? address).toString())
  for (const address of expected.addresses)
    assert.include(addresses, (Multiaddr.withoutPeer(address) ?? address).toString())
  assert.strictEqual(new Set(addresses).size, addresses.length, "each address once")
  for (const address of found.addresses) {
    const of = Multiaddr.peerId(address)
    assert.isTrue(of === undefined || PeerId.equals(of, found.peer), `${address.toString()} is of another peer`)
  }
}

const idsOf = (peers: ReadonlyArray<RoutedPeer>): ReadonlyArray<string> => peers.map(({ peer }) => peer.toString())

/** Declares the tests of one routing. `make` is run in each test's own scope. */
export const peerRoutingSuite = <E>(
  name: string,
  make: Effect.Effect<PeerRoutingNetwork, E, Scope.Scope>,
  options?: PeerRoutingSuiteOptions
): void => {
  const live = options?.live === true || options?.run !== undefined
  const test = routingTest(make, live, options?.run)

  describe(`${name}: where a peer is`, () => {
    test("is found, for each that is there", ({ peers, routing }) =>
      Effect.gen(function* () {
        assert.isAtLeast(peers.length, 3, "the network is too small for the tests")
        for (const expected of peers) assertFound(yield* routing.findPeer(expected.peer), expected)
      }))

    test("is found for many who ask at once", ({ peers, routing }) =>
      Effect.gen(function* () {
        const asked = [...peers, ...peers, ...peers]
        const found = yield* Effect.forEach(asked, ({ peer }) => routing.findPeer(peer), { concurrency: "unbounded" })
        for (const [i, one] of found.entries()) assert.strictEqual(one.peer.toString(), asked[i]?.peer.toString())
      }))

    test("is not found for one that is nowhere, and the error says which routing was asked for whom", ({ routing }) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(routing.findPeer(stranger(1))).pipe(
          Effect.catch(() => Effect.die("it was found"))
        )
        assert.strictEqual(error.reason._tag, "NotFound")
        assert.include(error.what, stranger(1).toString())
        assert.isNotEmpty(error.router)
        assert.include(error.message, error.router)
      }))

    test("is asked for until the deadline, when nobody answers", ({ peers, routing, silence }) =>
      Effect.gen(function* () {
        const [one] = peers
        if (silence === undefined || one === undefined) return
        yield* silence
        const reason = yield* endOf(routing.findPeer(one.peer, { deadline: deadlineFor(live) }), live)
        assert.strictEqual(reason._tag, "RoutingTimeout")
      }))

    test("is no more asked for when the question is interrupted", ({ peers, routing, silence }) =>
      Effect.gen(function* () {
        const [one] = peers
        if (silence === undefined || one === undefined) return
        yield* silence
        yield* interruptSoon(routing.findPeer(one.peer), live)
      }))
  })

  describe(`${name}: the peers closest to a key`, () => {
    if (options?.closest === false) {
      test("are not known to it, and it says so", ({ routing }) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(Stream.runDrain(routing.closestPeers(contentKey(1)))).pipe(
            Effect.catch(() => Effect.die("it was answered"))
          )
          assert.strictEqual(error.reason._tag, "RoutingUnsupported")
          assert.strictEqual(error.router, routing.router)
        }))
      return
    }

    test("are told, the closest first, each once, and steps make sense", ({ peers, routing }) =>
      Effect.gen(function* () {
        for (const key of [contentKey(1), contentKey(2), stranger(3).bytes]) {
          const steps = yield* Stream.runCollect(routing.closestPeers(key))
          const last: RoutingProgress = steps.at(-1) ?? assert.fail("it told nothing")
          const ids = idsOf(last.closest)
          assert.deepStrictEqual(ids, idsOf(closest(key, last.closest)), "sorted, and each once")
          assert.isNotEmpty(ids)
          // A routing tells of a bucket's worth; a network smaller than that is told whole.
          if (peers.length < 20) {
            for (const { peer } of peers) assert.include(ids, peer.toString())
          }
          let before = { asked: 0, answered: 0, failed: 0 }
          for (const step of steps) {
            assert.isAtMost(step.answered + step.failed, step.asked)
            assert.isTrue(
              step.asked >= before.asked && step.answered >= before.answered && step.failed >= before.failed
            )
            before = step
          }
        }
      }))

    test("are no more asked for when the reader has enough", ({ routing }) =>
      Effect.gen(function* () {
        const steps = yield* Stream.runCollect(Stream.take(routing.closestPeers(contentKey(1)), 1))
        assert.lengthOf(steps, 1)
      }))

    test("are asked for until the deadline, when nobody answers", ({ routing, silence }) =>
      Effect.gen(function* () {
        if (silence === undefined) return
        yield* silence
        const question = Stream.runDrain(routing.closestPeers(contentKey(1), { deadline: deadlineFor(live) }))
        assert.strictEqual((yield* endOf(question, live))._tag, "RoutingTimeout")
        yield* interruptSoon(Stream.runDrain(routing.closestPeers(contentKey(1))), live)
      }))
  })
}
