/** What a node provides, over its restarts. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Announcer from "../../../src/layers/kad/Announcer.ts"
import * as ProvidedFile from "../../../src/layers/kad/ProvidedFile.ts"
import * as SqliteRecordStore from "../../../src/layers/records/SqliteRecordStore.ts"
import { bytes, network } from "./holders.ts"

const onFile = <E>(
  title: string,
  body: (path: string) => Effect.Effect<void, E, FileSystem.FileSystem | Scope.Scope>
) =>
  it.effect(title, () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      yield* body(`${yield* fs.makeTempDirectoryScoped()}/provided.db`)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
  )

/** Runs a node's announcer over the file, to its end. */
const running = <A, E, R>(
  path: string,
  use: (announcer: Announcer.Announcer, told: () => number) => Effect.Effect<A, E, R>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* ProvidedFile.make({ path, durability: "process" })
      const { dht, seen } = network(() => Effect.void)
      const limits = { everyMs: 22 * 3_600_000, maxKeys: 10, store, optimistic: false }
      const announcer = yield* Announcer.make(dht, () => 0.5, limits)
      return yield* use(announcer, () => seen.told.splice(0).length)
    })
  )

const other = Uint8Array.of(0x12, 1, 8)

describe("what is provided, kept in a file", () => {
  onFile("is announced on by the node that is started again, when it is due and no sooner", (path) =>
    Effect.gen(function* () {
      yield* running(path, (announcer, told) =>
        Effect.gen(function* () {
          assert.isTrue(yield* announcer.add(bytes))
          yield* announcer.announce(bytes, undefined)
          assert.strictEqual(told(), 8)
        })
      )
      yield* TestClock.adjust("30 minutes")
      yield* running(path, (announcer, told) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(announcer.keys(), [bytes])
          yield* TestClock.adjust("30 minutes")
          assert.strictEqual(told(), 0, "it was announced an hour ago")
          yield* TestClock.adjust("24 hours")
          assert.isAtLeast(told(), 8)
        })
      )
      yield* TestClock.adjust("3 days")
      yield* running(path, (_, told) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(told(), 8, "it is overdue")
        })
      )
    })
  )

  onFile("is what was added and not removed, in its order, also what was never announced", (path) =>
    Effect.gen(function* () {
      yield* running(path, ({ add, remove }) =>
        Effect.andThen(Effect.forEach([other, bytes, Uint8Array.of(1)], add), remove(Uint8Array.of(1)))
      )
      yield* running(path, (announcer, told) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(announcer.keys(), [other, bytes])
          yield* TestClock.adjust("2 minutes")
          assert.isAbove(told(), 0)
        })
      )
    })
  )

  onFile("is refused, and left as it was, when the file is truncated, another's, or in use", (path) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      yield* running(path, ({ add }) => add(bytes))
      const whole = yield* fs.readFile(path)
      const refused = (content: Uint8Array) =>
        Effect.gen(function* () {
          yield* fs.writeFile(path, content)
          const error = yield* Effect.flip(Effect.scoped(ProvidedFile.make({ path })))
          assert.strictEqual(error._tag, "ProvidedFileError")
          assert.deepStrictEqual(yield* fs.readFile(path), content)
          return error.message
        })
      assert.match(yield* refused(whole.slice(0, 5_000)), /provided\.db: it is truncated.*left as it was/)
      assert.match(yield* refused(new Uint8Array(0)), /it is empty/)
      assert.match(yield* refused(new TextEncoder().encode("keys\n")), /not a database/)
      yield* fs.writeFile(path, whole)
      const error = yield* running(path, () => Effect.flip(Effect.scoped(ProvidedFile.make({ path }))))
      assert.match(error.message, /in use|open already/)
      const records = `${path}.records`
      yield* Effect.scoped(SqliteRecordStore.make({ path: records }))
      const foreign = yield* Effect.flip(Effect.scoped(ProvidedFile.make({ path: records })))
      assert.match(foreign.message, /another kind of store/)
      yield* running(path, ({ keys }) => Effect.sync(() => assert.deepStrictEqual(keys(), [bytes])))
    })
  )
})
