import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as ActorsLayer from "../../../src/layers/actors/Actors.ts"
import { Actors, formatTree, type Reply } from "../../../src/services/Actors.ts"

type Message =
  | { readonly _tag: "Add"; readonly n: number }
  | { readonly _tag: "Get"; readonly reply: Reply<number> }
  | { readonly _tag: "Never"; readonly reply: Reply<number> }
  | { readonly _tag: "Fail" }
  | { readonly _tag: "Stop" }

const counter = Effect.fnUntraced(function* (
  restart: "stop" | "escalate" | { times: number; within: "1 minute" },
  mailbox = 8
) {
  const actors = yield* Actors
  return yield* actors.spawn<Message, string, never>({
    name: "counter",
    mailbox,
    restart,
    make: () =>
      Effect.sync(() => {
        let total = 0
        return {
          receive: (message: Message): Effect.Effect<void | "stop", string> => {
            switch (message._tag) {
              case "Add":
                total += message.n
                return Effect.void
              case "Get":
                return Effect.asVoid(Deferred.succeed(message.reply, total))
              case "Never":
                return Effect.void
              case "Fail":
                return Effect.fail("asked to")
              case "Stop":
                return Effect.succeed("stop")
            }
          },
          detail: () => `total ${total}`
        }
      })
  })
})

const get = (reply: Reply<number>): Message => ({ _tag: "Get", reply })
const quiet = Layer.mergeAll(ActorsLayer.layer, Logger.layer([]))

describe("Actors", () => {
  it.effect("handles messages in order and answers questions", () =>
    Effect.gen(function* () {
      const ref = yield* counter("stop")
      yield* ref.tell({ _tag: "Add", n: 2 })
      yield* ref.tell({ _tag: "Add", n: 3 })
      assert.strictEqual(yield* ref.ask(get, "1 second"), 5)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("a question that nobody answers ends at its deadline", () =>
    Effect.gen(function* () {
      const ref = yield* counter("stop")
      const asking = yield* Effect.forkChild(
        Effect.flip(ref.ask((reply: Reply<number>) => ({ _tag: "Never", reply }), "2 seconds"))
      )
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(asking)
      assert.deepStrictEqual([error.actor, error.reason._tag], ["counter", "AskTimeout"])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("restarts with fresh state, fails open questions, and stops after too many failures", () =>
    Effect.gen(function* () {
      const ref = yield* counter({ times: 2, within: "1 minute" })
      yield* ref.tell({ _tag: "Add", n: 2 })
      const open = yield* Effect.forkChild(
        Effect.flip(ref.ask((reply: Reply<number>) => ({ _tag: "Never", reply }), "1 hour")),
        { startImmediately: true }
      )
      yield* ref.tell({ _tag: "Fail" })
      assert.strictEqual((yield* Fiber.join(open)).reason._tag, "ActorRestarted")
      assert.strictEqual(yield* ref.ask(get, "1 second"), 0)
      yield* ref.tell({ _tag: "Fail" })
      assert.strictEqual(yield* ref.ask(get, "1 second"), 0)
      assert.strictEqual((yield* (yield* Actors).tree)[0]?.restarts, 2)
      yield* ref.tell({ _tag: "Fail" })
      yield* ref.awaitStopped
      assert.strictEqual((yield* Effect.flip(ref.ask(get, "1 second"))).reason._tag, "ActorStopped")
      assert.deepStrictEqual(yield* (yield* Actors).tree, [])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("failures spread over time do not use up the restarts", () =>
    Effect.gen(function* () {
      const ref = yield* counter({ times: 1, within: "1 minute" })
      for (let i = 0; i < 5; i++) {
        yield* ref.tell({ _tag: "Fail" })
        assert.strictEqual(yield* ref.ask(get, "1 second"), 0)
        yield* TestClock.adjust("2 minutes")
      }
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("a full mailbox refuses tellUnsafe and makes tell wait", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      const gate = yield* Deferred.make<void>()
      const ref = yield* actors.spawn<number, never, never>({
        name: "slow",
        mailbox: 2,
        restart: "stop",
        make: () => Effect.succeed({ receive: () => Deferred.await(gate) })
      })
      yield* ref.tell(0)
      yield* Effect.yieldNow
      assert.isTrue(ref.tellUnsafe(1))
      assert.isTrue(ref.tellUnsafe(2))
      assert.isFalse(ref.tellUnsafe(3))
      const waiting = yield* Effect.forkChild(ref.tell(3), { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(waiting)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("children end with their parent, and an escalating child takes it down", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      let childScopes = 0
      const parent = yield* actors.spawn<"spawn" | "break", never, Scope.Scope>({
        name: "parent",
        restart: "stop",
        make: () =>
          Effect.gen(function* () {
            const scope = yield* Effect.scope
            const child = yield* Scope.provide(
              actors.spawn<"break", string, Scope.Scope>({
                name: "child",
                restart: "escalate",
                make: () =>
                  Effect.gen(function* () {
                    childScopes++
                    yield* Effect.addFinalizer(() => Effect.sync(() => childScopes--))
                    return { receive: () => Effect.fail("broken") }
                  })
              }),
              scope
            )
            return {
              receive: (message: "spawn" | "break") =>
                message === "break" ? Effect.ignore(child.tell("break")) : Effect.void
            }
          })
      })
      yield* Effect.yieldNow
      const drawn = formatTree(yield* actors.tree)
      assert.include(drawn, "└─ parent  idle, mailbox 0/64")
      assert.include(drawn, "   └─ child  idle")
      assert.strictEqual(childScopes, 1)
      yield* parent.tell("break")
      yield* parent.awaitStopped
      assert.strictEqual(childScopes, 0)
      assert.deepStrictEqual(yield* actors.tree, [])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("stop runs finalizers and fails what waits", () =>
    Effect.gen(function* () {
      const ref = yield* counter("stop")
      const open = yield* Effect.forkChild(
        Effect.exit(ref.ask((reply: Reply<number>) => ({ _tag: "Never", reply }), "1 hour")),
        { startImmediately: true }
      )
      yield* ref.tell({ _tag: "Stop" })
      yield* ref.awaitStopped
      assert.isTrue(Exit.isFailure(yield* Fiber.join(open)))
      assert.isFalse(ref.tellUnsafe({ _tag: "Stop" }))
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("one that is started in a scope that has closed is gone at once", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      const scope = yield* Scope.make()
      yield* Scope.close(scope, Exit.void)
      const ref = yield* Scope.provide(counter("stop"), scope)
      assert.deepStrictEqual(yield* actors.tree, [])
      yield* ref.awaitStopped
      assert.isFalse(ref.tellUnsafe({ _tag: "Stop" }))
      const error = yield* Effect.flip(ref.ask((reply: Reply<number>) => ({ _tag: "Get", reply }), "1 hour"))
      assert.strictEqual(error._tag === "ActorError" && error.reason._tag, "ActorStopped")
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("an escalating child restarts its parent, whatever the parent is busy with, at start too", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      const made: Array<string> = []
      const parent = yield* actors.spawn<"wait", never, Scope.Scope>({
        name: "parent",
        restart: { times: 3, within: "1 minute" },
        make: () =>
          Effect.gen(function* () {
            made.push("parent")
            const first = made.length === 1
            const child = yield* actors.spawn<"break", string, never>({
              name: "child",
              restart: "escalate",
              // The first fails before its parent's start is over.
              make: () => (first ? Effect.fail("unborn") : Effect.succeed({ receive: () => Effect.fail("broken") }))
            })
            return { receive: () => Effect.andThen(Effect.ignore(child.tell("break")), Effect.never) }
          })
      })
      for (const runs of [2, 3, 4]) {
        const open = yield* Effect.forkChild(Effect.flip(parent.ask(() => "wait", "1 hour")), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(open)).reason._tag, "ActorRestarted")
        if (runs < 4) assert.strictEqual((yield* actors.tree)[0]?.restarts, runs)
        yield* TestClock.adjust("1 second")
        assert.lengthOf(made, Math.min(runs + 1, 4))
      }
      yield* parent.awaitStopped
      assert.deepStrictEqual(yield* actors.tree, [])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("one that is stopped does not start again, though a child escalates meanwhile", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      const gate = yield* Deferred.make<void>()
      let made = 0
      const parent = yield* actors.spawn<"wait", never, Scope.Scope>({
        name: "parent",
        restart: { times: 3, within: "1 minute" },
        make: () =>
          Effect.gen(function* () {
            made++
            const child = yield* actors.spawn<"break", string, never>({
              name: "child",
              restart: "escalate",
              make: () => Effect.succeed({ receive: () => Effect.fail("broken") })
            })
            const receive = () => Effect.andThen(Effect.ignore(child.tell("break")), Deferred.await(gate))
            return { receive: () => Effect.uninterruptible(receive()) }
          })
      })
      yield* parent.tell("wait")
      yield* Effect.yieldNow
      const stopping = yield* Effect.forkChild(parent.stop, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(stopping)
      assert.strictEqual(made, 1)
      assert.deepStrictEqual(yield* actors.tree, [])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.effect("questions that wait for room in the mailbox end at their deadline, or with the actor", () =>
    Effect.gen(function* () {
      const actors = yield* Actors
      const ref = yield* actors.spawn<number, never, never>({
        name: "stuck",
        mailbox: 1,
        restart: "stop",
        make: () => Effect.succeed({ receive: () => Effect.never })
      })
      yield* ref.tell(0)
      yield* Effect.yieldNow
      const ask = (timeout: "1 second" | "1 hour") =>
        Effect.forkChild(Effect.flip(ref.ask(() => 1, timeout)), { startImmediately: true })
      const asked = [yield* ask("1 hour"), yield* ask("1 hour"), yield* ask("1 hour")]
      const impatient = yield* ask("1 second")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(impatient)).reason._tag, "AskTimeout")
      yield* ref.stop
      for (const fiber of asked) assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "ActorStopped")
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )
})
