import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type PlatformError, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Limits from "../../../../src/layers/peerstore/core/Limits.ts"
import { type Change, Table } from "../../../../src/layers/peerstore/core/Table.ts"
import * as Writer from "../../../../src/layers/internal/sqlite/Writer.ts"
import { PeerStoreError, StorageFailed } from "../../../../src/services/PeerStore.ts"
import { settle } from "../../../../src/conformance/ByteStream.ts"
import { addressOf, peerOf } from "../../peerstore/sqlite/writes.ts"

/** A writer whose disk the test is. */
const rig = (sync: Effect.Effect<void, PlatformError.PlatformError> = Effect.void) =>
  Effect.gen(function* () {
    const table = new Table(Limits.fromOptions(), true)
    const groups: Array<ReadonlyArray<string>> = []
    const disk = { broken: false }
    const storage = yield* Writer.make({
      failed: (detail: string) => new PeerStoreError({ where: "/peers.db", reason: new StorageFailed({ detail }) }),
      table,
      commit: (changes: Iterable<Change>) => {
        if (disk.broken) throw new Error("the disk is broken")
        groups.push([...changes].map(({ after, before }) => (after ?? before)?.peer.toString() ?? ""))
      },
      sync
    })
    const write = (number: number) =>
      Effect.suspend(() => {
        table.addAddresses(peerOf(number), [addressOf(number)], "claimed", 1000, 0)
        return storage.stored
      })
    return { disk, groups, storage, table, write }
  })

describe("the writer", () => {
  it.effect("commits what a turn brings at once", () =>
    Effect.gen(function* () {
      const { groups, write } = yield* rig()
      yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) => write(i), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        groups.map((group) => group.length),
        [1000]
      )
      yield* write(0)
      assert.lengthOf(groups, 2)
    })
  )

  it.effect("gathers while the disk syncs, and succeeds only when it has", () =>
    Effect.gen(function* () {
      const gates: Array<Deferred.Deferred<void>> = []
      const sync = Effect.suspend(() => {
        const gate = Deferred.makeUnsafe<void>()
        gates.push(gate)
        return Deferred.await(gate)
      })
      const { groups, storage, write } = yield* rig(sync)
      const first = yield* Effect.forkChild(write(0), { startImmediately: true })
      yield* settle()
      const others = yield* Effect.forEach([1, 2, 3], (i) => Effect.forkChild(write(i), { startImmediately: true }))
      const asking = yield* Effect.forkChild(storage.stored, { startImmediately: true })
      yield* settle()
      assert.lengthOf(groups, 1)
      assert.isUndefined(first.pollUnsafe())
      yield* Deferred.done(gates[0] ?? assert.fail(), Exit.void)
      yield* Fiber.join(first)
      yield* settle()
      assert.deepStrictEqual(
        groups.map((group) => group.length),
        [1, 3]
      )
      // It changed nothing, but asked for more than what had been synced.
      assert.isUndefined(asking.pollUnsafe())
      for (const fiber of others) assert.isUndefined(fiber.pollUnsafe())
      const late = yield* Effect.forkChild(storage.stored, { startImmediately: true })
      assert.isUndefined(late.pollUnsafe())
      yield* Deferred.done(gates[1] ?? assert.fail(), Exit.void)
      for (const fiber of [...others, asking, late]) yield* Fiber.join(fiber)
      assert.lengthOf(gates, 2)
    })
  )

  it.effect("waits for a disk that hangs no longer than its deadline, nor does its end", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { write } = yield* Scope.provide(rig(Effect.never), scope)
      const writing = yield* Effect.forkChild(Effect.flip(write(0)), { startImmediately: true })
      yield* settle()
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(writing.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.include((yield* Fiber.join(writing)).message, "did not answer within 30 s")
      yield* Fiber.join(closing)
    })
  )

  it.effect("has undone what could not be committed, for all who wait, and goes on", () =>
    Effect.gen(function* () {
      const { disk, groups, table, write } = yield* rig()
      yield* write(1)
      yield* write(2)
      const before = { peers: table.peers(10, 0).map(String), held: table.held }
      disk.broken = true
      const results = yield* Effect.forEach([1, 3, 4], (i) => Effect.result(write(i)), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        results.map((result) => (Result.isFailure(result) ? result.failure.message : "")),
        Array.from({ length: 3 }, () => "peer store /peers.db: the disk is broken")
      )
      assert.deepStrictEqual({ peers: table.peers(10, 0).map(String), held: table.held }, before)
      disk.broken = false
      yield* write(3)
      assert.deepStrictEqual(groups.at(-1), [peerOf(3).toString()])
    })
  )

  it.effect("keeps a write of which nobody waits for the end", () =>
    Effect.gen(function* () {
      const { groups, table, write } = yield* rig()
      const fiber = yield* Effect.forkChild(write(1), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* settle()
      assert.deepStrictEqual(groups, [[peerOf(1).toString()]])
      assert.strictEqual(table.size(0), 1)
    })
  )

  it.effect("writes a last group when it is closed, and then refuses", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { groups, storage, write } = yield* Scope.provide(rig(), scope)
      const fiber = yield* Effect.forkChild(write(1), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(groups, [[peerOf(1).toString()]])
      assert.isDefined(storage.refusal())
    })
  )
})
