import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope, Stream } from "effect"
import { beyond, type FiberLedger, resources } from "../support/leaks.ts"
import type { TestNode } from "../support/nodes.ts"
import { eventually, liar, mute, realNode, runNodes, silentListener, stillServes } from "../support/peers.ts"

interface Pair {
  readonly a: TestNode
  readonly b: TestNode
}

/** Two nodes that are connected and identified; `b` has handlers that never answer. */
const pair = Effect.gen(function* () {
  const a = yield* realNode({ seed: 1 })
  const b = yield* realNode({ seed: 2 })
  yield* b.protocols.handle("/sleeps", () => Effect.never)
  const connection = yield* a.swarm.dial(b.address)
  yield* a.identify.identified(connection)
  yield* eventually(
    () => connection.streamCount() === 0,
    () => "identify is not over"
  )
  return { a, b }
})

/** Starts what must block, interrupts it, and proves that all of it is gone while the nodes go on. */
const interrupted = (
  blocked: (pair: Pair) => Effect.Effect<Effect.Effect<unknown, unknown, Scope.Scope>, unknown, Scope.Scope>
) =>
  runNodes((ledger: FiberLedger) =>
    Effect.gen(function* () {
      const nodes = yield* pair
      const effect = yield* blocked(nodes)
      // What the preparation itself has started comes to rest.
      yield* Effect.sleep(50)
      const fibers = ledger.alive
      const open = resources()
      const fiber = yield* Effect.forkChild(Effect.scoped(effect))
      yield* Effect.sleep(50)
      assert.isUndefined(fiber.pollUnsafe(), "it did not block")
      yield* Effect.timeout(Fiber.interrupt(fiber), "5 seconds")
      yield* eventually(
        () => ledger.alive <= fibers,
        () => `${ledger.alive - fibers} fibers are left`,
        2000
      )
      yield* eventually(
        () => beyond(open).length === 0,
        () => `left open: ${beyond(open).join(", ")}`,
        2000
      )
      yield* stillServes(nodes.a, nodes.b)
    })
  )

describe("interrupting", () => {
  it.live("read", () =>
    interrupted(({ a, b }) =>
      Effect.map(a.swarm.openStream(b.address, "/sleeps"), (stream) =>
        Effect.andThen(stream.write(new Uint8Array(1)), stream.read)
      )
    )
  )

  it.live("write, with the window closed", () =>
    interrupted(({ a, b }) =>
      Effect.map(a.swarm.openStream(b.address, "/sleeps"), (stream) =>
        Effect.forever(stream.write(new Uint8Array(65_536)))
      )
    )
  )

  it.live("dial, of a listener that says nothing", () =>
    interrupted(({ a }) => Effect.map(silentListener, ({ address }) => a.swarm.dial(address)))
  )

  it.live("openStream, that dials", () =>
    interrupted(({ a }) => Effect.map(silentListener, ({ address }) => a.swarm.openStream(address, "/sleeps")))
  )

  it.live("openStream, of a remote that agrees to nothing", () =>
    interrupted(({ a }) =>
      Effect.gen(function* () {
        const connection = yield* a.swarm.dial(yield* mute(9))
        return yield* Effect.succeed(connection.openStream(["/one", "/two"]))
      })
    )
  )

  it.live("openStream, of a remote that acknowledges no stream", () =>
    interrupted(({ a }) =>
      Effect.gen(function* () {
        const connection = yield* a.swarm.dial(yield* mute(9))
        // One is taken by identify.
        yield* Effect.forEach(Array.from({ length: 255 }), () => connection.openStream("/one"))
        return yield* Effect.succeed(connection.openStream("/one"))
      })
    )
  )

  it.live("the muxer's ping", () =>
    interrupted(({ a }) => Effect.map(Effect.flatMap(mute(9), a.swarm.dial), (connection) => connection.ping))
  )

  it.live("ping, of a peer that does not echo", () =>
    interrupted(({ a }) =>
      Effect.gen(function* () {
        const connection = yield* a.swarm.dial(yield* mute(9))
        return yield* Effect.succeed(Stream.runCollect(a.ping.ping(connection.remotePeer)))
      })
    )
  )

  it.live("ping, between two pings", () =>
    interrupted(({ a, b }) => Effect.succeed(Stream.runCollect(a.ping.ping(b.address, { interval: "1 hour" }))))
  )

  it.live("identified, awaitClosed and a subscription to events", () =>
    interrupted(({ a, b }) =>
      Effect.gen(function* () {
        const unidentified = yield* a.swarm.dial(yield* liar(9, () => Effect.never))
        const connection = yield* a.swarm.dial(b.address)
        return yield* Effect.succeed(
          Effect.all(
            [
              a.identify.identified(unidentified),
              connection.awaitClosed,
              Stream.runDrain(a.swarm.events),
              Stream.runDrain(a.identify.events)
            ],
            { concurrency: "unbounded" }
          )
        )
      })
    )
  )

  it.live("perf in full flow", () =>
    interrupted(({ a, b }) => Effect.succeed(a.perf.measure(b.address, { uploadBytes: 1e12, downloadBytes: 1e12 })))
  )

  it.live("one of two who share a dial does not end it for the other", () =>
    runNodes(
      Effect.gen(function* () {
        const a = yield* realNode({ seed: 1, swarm: { dialDeadline: 400 } })
        const { address } = yield* silentListener
        const first = yield* Effect.forkChild(Effect.flip(a.swarm.dial(address)), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.flip(a.swarm.dial(address)), { startImmediately: true })
        yield* Effect.sleep(50)
        yield* Fiber.interrupt(first)
        const error = yield* Effect.timeout(Fiber.join(second), "5 seconds")
        assert.strictEqual(error.attempts[0]?.reason._tag, "DeadlineExceeded")
        assert.strictEqual((yield* a.swarm.counters).dialsFailed, 1)
      })
    )
  )

  it.live("a dial that nobody waits for is given up, and the next one starts anew", () =>
    runNodes(
      Effect.gen(function* () {
        const a = yield* realNode({ seed: 1, swarm: { dialDeadline: "1 minute" } })
        const { address, sockets } = yield* silentListener
        for (let i = 1; i <= 3; i++) {
          const dialing = yield* Effect.forkChild(a.swarm.dial(address))
          yield* eventually(
            () => sockets.size === i,
            () => "it was not dialled"
          )
          yield* Fiber.interrupt(dialing)
        }
        const idle = Effect.map(a.actors.tree, (tree) =>
          tree.some(({ detail, name }) => name === "swarm" && detail === "0 connections with 0 peers, 0 dials")
        )
        yield* eventually(idle, () => "the dial goes on")
        assert.strictEqual((yield* a.swarm.counters).dialsFailed, 0)
      })
    )
  )
})
