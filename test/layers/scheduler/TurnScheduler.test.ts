import { connect, createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Queue, Scheduler } from "effect"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as TurnScheduler from "../../../src/layers/scheduler/TurnScheduler.ts"

const on = <A, E>(effect: Effect.Effect<A, E>) => Effect.provide(effect, TurnScheduler.layer)

/** What tasks logged that `schedule` put on a dispatcher, and when. */
const ran = (schedule: (dispatcher: Scheduler.SchedulerDispatcher, log: Array<string>) => void) =>
  Effect.promise(async () => {
    const log: Array<string> = []
    schedule(TurnScheduler.make().makeDispatcher(), log)
    log.push("scheduled")
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    return log
  })

describe("TurnScheduler", () => {
  it.live("runs tasks in their order, after the call that scheduled them", () =>
    Effect.gen(function* () {
      const log = yield* ran((dispatcher, log) => {
        for (const name of ["a", "b", "c"]) dispatcher.scheduleTask(() => log.push(name), 0)
      })
      assert.deepStrictEqual(log, ["scheduled", "a", "b", "c"])
    })
  )

  it.live("a lower priority number goes first, within a round", () =>
    Effect.gen(function* () {
      const log = yield* ran((dispatcher, log) => {
        dispatcher.scheduleTask(() => log.push("last"), 10)
        dispatcher.scheduleTask(() => {
          log.push("second")
          // Belongs to the next round, whatever its number.
          dispatcher.scheduleTask(() => log.push("next round"), -5)
        }, 0)
        dispatcher.scheduleTask(() => log.push("first"), -1)
        dispatcher.scheduleTask(() => log.push("third"), 0)
      })
      assert.deepStrictEqual(log, ["scheduled", "first", "second", "third", "last", "next round"])
    })
  )

  it.live("flush runs all there is at once, also what that leads to", () =>
    Effect.gen(function* () {
      const log = yield* ran((dispatcher, log) => {
        dispatcher.scheduleTask(() => dispatcher.scheduleTask(() => log.push("inner"), 0), 0)
        dispatcher.flush()
        log.push("flushed")
      })
      assert.deepStrictEqual(log, ["inner", "flushed", "scheduled"])
    })
  )

  it.live("a task that throws does not take the others with it", () =>
    Effect.gen(function* () {
      const log = yield* ran((dispatcher, log) => {
        dispatcher.scheduleTask(() => {
          throw new Error("a defect")
        }, 0)
        dispatcher.scheduleTask(() => log.push("the other"), 0)
        assert.throws(() => dispatcher.flush(), "a defect")
      })
      assert.deepStrictEqual(log, ["scheduled", "the other"])
    })
  )

  it.live("who is woken runs before the next turn of the event loop", () =>
    Effect.gen(function* () {
      let turned = false
      yield* Effect.sync(() => setImmediate(() => (turned = true)))
      for (let hop = 0; hop < 20; hop++) yield* Effect.yieldNow
      assert.isFalse(turned)
    }).pipe(on)
  )

  it.live("sockets and timers have their turn however busy the fibers are", () =>
    Effect.gen(function* () {
      const echoed = yield* Deferred.make<string>()
      const server = createServer((socket) => void socket.pipe(socket))
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => connect(port, "127.0.0.1", () => client.write("there and back"))),
        (socket) => Effect.sync(() => socket.destroy())
      )
      client.on("data", (bytes) => Deferred.doneUnsafe(echoed, Effect.succeed(bytes.toString())))
      // Neither ever has nothing to do; the second is woken by promises as well.
      yield* Effect.forkScoped(Effect.forever(Effect.void))
      yield* Effect.forkScoped(Effect.forever(Effect.promise(() => Promise.resolve())))
      assert.strictEqual(yield* Deferred.await(echoed), "there and back")
      yield* Effect.sleep(1)
    }).pipe(Effect.scoped, on)
  )

  it.live("wake-ups do not nest: 50,000 hops between two queues", () =>
    Effect.gen(function* () {
      const there = yield* Queue.unbounded<number>()
      const back = yield* Queue.unbounded<number>()
      const echo = yield* Effect.forkChild(
        Effect.forever(Effect.flatMap(Queue.take(there), (n) => Queue.offer(back, n + 1)))
      )
      let at = 0
      while (at < 50_000) {
        yield* Queue.offer(there, at)
        at = yield* Queue.take(back)
      }
      yield* Fiber.interrupt(echo)
      assert.strictEqual(at, 50_000)
    }).pipe(on)
  )

  it.live("10,000 fibers, each woken by the one before it", () =>
    Effect.gen(function* () {
      const first = yield* Queue.unbounded<number>()
      let last = first
      for (let index = 0; index < 10_000; index++) {
        const from = last
        const to = yield* Queue.unbounded<number>()
        yield* Effect.forkChild(Effect.flatMap(Queue.take(from), (n) => Queue.offer(to, n + 1)))
        last = to
      }
      yield* Queue.offer(first, 0)
      assert.strictEqual(yield* Queue.take(last), 10_000)
    }).pipe(on)
  )

  it.live("what is built on Libp2p.layerNode runs on it, all of it on one queue", () =>
    Effect.gen(function* () {
      const scheduler = Context.get(yield* Layer.build(Libp2p.layerNode), Scheduler.Scheduler)
      assert.notStrictEqual(scheduler, yield* Scheduler.Scheduler)
      assert.strictEqual(scheduler.makeDispatcher(), scheduler.makeDispatcher())
    }).pipe(Effect.scoped)
  )
})
