import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scheduler, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Deadlines from "../../../src/layers/internal/Deadlines.ts"

describe("Deadlines", () => {
  it.effect("those that are due are called in their order, and none that was taken back", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      const called: Array<string> = []
      const after = (ms: number, name: string) => deadlines.after(ms, () => called.push(name))
      after(300, "third")
      after(100, "first")
      const takeBack = after(150, "never")
      after(200, "second")
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(called, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(called, ["first"])
      takeBack()
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(called, ["first", "second", "third"])
    })
  )

  it.effect("one that is set by another when that is due is called in its time", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      let called = 0
      const again = () => {
        called++
        deadlines.after(10, again)
      }
      again()
      yield* TestClock.adjust(35)
      assert.strictEqual(called, 4)
    })
  )

  it.effect("what ends in time is not touched; what does not is interrupted and has ended before the alternative", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      assert.strictEqual(yield* deadlines.within(Effect.succeed(1), 10, () => Effect.succeed(2)), 1)
      assert.deepStrictEqual(
        yield* Effect.exit(deadlines.within(Effect.fail("no"), 10, () => Effect.succeed(2))),
        Exit.fail("no")
      )
      const order: Array<string> = []
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.andThen(
          Effect.sleep(5),
          Effect.sync(() => order.push("ended"))
        )
      )
      const fiber = yield* Effect.forkChild(
        deadlines.within(slow, 10, () => Effect.sync(() => order.push("alternative"))),
        { startImmediately: true }
      )
      yield* TestClock.adjust(14)
      assert.deepStrictEqual(order, [])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(order, ["ended", "alternative"])
    })
  )

  it.effect("interrupting who waits interrupts what it waits for, and waits for its end", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      let ended = false
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => (ended = true))
        )
      )
      const fiber = yield* Effect.forkChild(
        deadlines.within(slow, 10, () => Effect.void),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(fiber)
      assert.isTrue(ended)
    })
  )

  it.effect("wherever a turn ends, an interruption leaves nothing running", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      let running = 0
      const work = Effect.acquireUseRelease(
        Effect.sync(() => running++),
        () => Effect.never,
        () => Effect.sync(() => running--)
      )
      let reached = 0
      for (let length = 3; length < 8; length++) {
        for (let turns = 0; turns < 12; turns++) {
          const waiting = deadlines.within(work, 10, () => Effect.void)
          const fiber = yield* Effect.forkChild(Effect.provideService(waiting, Scheduler.MaxOpsBeforeYield, length))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          reached += running
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(running, 0)
        }
      }
      assert.isAbove(reached, 0)
    })
  )

  it.effect("what waits after their scope has closed is ended in its time too", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const deadlines = yield* Scope.provide(Deadlines.make, scope)
      deadlines.after(10, () => {})
      yield* Scope.close(scope, Exit.void)
      const waiting = yield* Effect.forkChild(
        deadlines.within(Effect.never, 20, () => Effect.succeed("late")),
        { startImmediately: true }
      )
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* Fiber.join(waiting), "late")
    })
  )

  it.effect("a service of the caller is that of the effect", () =>
    Effect.gen(function* () {
      const deadlines = yield* Deadlines.make
      const names = yield* Effect.withSpan(
        deadlines.within(Effect.currentSpan, 10, () => Effect.die("late")),
        "asked"
      )
      assert.strictEqual(names.name, "asked")
    })
  )
})
