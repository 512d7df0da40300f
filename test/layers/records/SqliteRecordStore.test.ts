import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FileSystem, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { DatabaseSync } from "node:sqlite"
import { recordStoreSuite, smallQuota, validators } from "../../../src/conformance/RecordStore.ts"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as SqlitePeerStore from "../../../src/layers/peerstore/SqlitePeerStore.ts"
import * as SqliteRecordStore from "../../../src/layers/records/SqliteRecordStore.ts"
import { RecordStore, type RecordStoreError } from "../../../src/services/RecordStore.ts"
import { RecordValidators } from "../../../src/services/RecordValidators.ts"

const utf8 = Bytes.fromUtf8
const folder = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

recordStoreSuite(
  "SQLite",
  Effect.gen(function* () {
    return yield* SqliteRecordStore.make({ path: `${yield* folder}/records.db`, quota: smallQuota })
  }).pipe(Effect.provide(NodeFileSystem.layer)),
  { quota: smallQuota }
)

/** A store with a life of its own. */
const start = (options: SqliteRecordStore.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const store = yield* Scope.provide(SqliteRecordStore.make(options), scope)
    return { store, stop: Scope.close(scope, Exit.void) }
  })

const onFile = <E>(
  title: string,
  body: (path: string) => Effect.Effect<void, E, FileSystem.FileSystem | Scope.Scope>
) =>
  it.effect(title, () =>
    Effect.flatMap(folder, (name) => body(`${name}/records.db`)).pipe(
      Effect.provideService(RecordValidators, validators),
      Effect.provide(NodeFileSystem.layer)
    )
  )

const keyOf = (i: number) => utf8(`/test/${i}`)
const put = (store: RecordStore["Service"], i: number) => store.put(keyOf(i), utf8(`${i}:${"x".repeat(500)}`))
const has = (store: RecordStore["Service"], i: number) => Effect.isSuccess(store.get(keyOf(i)))
const contents = (store: RecordStore["Service"]) => Stream.runCollect(store.list())
const detailOf = ({ reason }: RecordStoreError): string =>
  reason._tag === "RecordStorageFailed" ? reason.detail : assert.fail(reason._tag)

/** Opening must fail, say why, and change nothing. */
const refused = (path: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const before = yield* fs.readFile(path)
    const error = yield* Effect.flip(Effect.scoped(SqliteRecordStore.make({ path })))
    assert.strictEqual(error.message, `sqlite record store: ${path}: ${detailOf(error)}`)
    assert.deepStrictEqual(yield* fs.readFile(path), before)
    return detailOf(error)
  })

const filled = (path: string) =>
  Effect.gen(function* () {
    const { stop, store } = yield* start({ path })
    yield* Effect.forEach(Array.from({ length: 50 }), (_, i) => put(store, i), { concurrency: "unbounded" })
    yield* stop
  })

describe("records in a file", () => {
  onFile("are there when it is opened again, for as long as they were to be kept", (path) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const first = yield* start({ path })
      yield* first.store.put(keyOf(1), utf8("1:one"), { ttl: "Infinity" })
      yield* first.store.put(keyOf(2), utf8("1:two"), { ttl: "1 minute" })
      yield* first.store.put(keyOf(3), utf8("1:three"), { ttl: "1 minute" })
      yield* first.store.put(keyOf(3), utf8("1:three"), { ttl: "1 hour" })
      yield* first.store.put(keyOf(4), utf8("1:four"))
      yield* first.store.put(keyOf(4), utf8("2:better"), { ttl: "1 hour" })
      yield* first.store.put(keyOf(5), utf8("1:five"))
      yield* first.store.delete(keyOf(5))
      yield* first.store.put(Bytes.concat([utf8("/test/"), Uint8Array.of(0, 255)]), utf8("1:\0"))
      const before = yield* contents(first.store)
      assert.lengthOf(before, 5)
      yield* first.stop

      const second = yield* start({ path })
      assert.deepStrictEqual(yield* contents(second.store), before)
      yield* TestClock.adjust("1 minute")
      yield* second.stop

      const third = yield* start({ path })
      assert.deepStrictEqual(yield* Effect.all([2, 3, 4].map((i) => has(third.store, i))), [false, true, true])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* Effect.all([1, 3, 4].map((i) => has(third.store, i))), [true, false, false])
      yield* third.store.put(keyOf(6), utf8("1:six"))
      yield* third.stop
      const database = new DatabaseSync(path)
      assert.strictEqual(database.prepare("select count(*) as rows from record").get()?.["rows"], 3)
      database.close()
    })
  )

  onFile("stay though their namespace or their place in the quota is gone", (path) =>
    Effect.gen(function* () {
      yield* filled(path)
      const small = yield* start({ path, quota: { records: 2, keyBytes: 3 } })
      assert.isTrue(yield* has(small.store, 49))
      assert.lengthOf(yield* contents(small.store), 50)
      yield* small.stop
      const without = yield* start({ path }).pipe(Effect.provideService(RecordValidators, {}))
      assert.deepStrictEqual(yield* contents(without.store), [])
      yield* without.stop
      const again = yield* start({ path })
      assert.lengthOf(yield* contents(again.store), 50)
      yield* again.stop
    })
  )

  onFile("of writes that wait when the store is closed are stored first, and none after", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path })
      const writers = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 50 }), (_, i) => put(store, i), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* stop
      yield* Fiber.join(writers)
      assert.strictEqual(detailOf(yield* Effect.flip(put(store, 50))), "it is closed")
      const again = yield* start({ path })
      assert.lengthOf(yield* contents(again.store), 50)
      yield* again.stop
    })
  )
})

describe("a file that is not in order is refused, and left as it was", () => {
  onFile("truncated", (path) =>
    Effect.gen(function* () {
      yield* filled(path)
      const fs = yield* FileSystem.FileSystem
      const whole = yield* fs.readFile(path)
      yield* fs.writeFile(path, whole.subarray(0, whole.length / 2))
      assert.match(yield* refused(path), /it is truncated: it has \d+ of \d+ bytes/)
    })
  )

  onFile("a store of peers, and for that one a store of records", (path) =>
    Effect.gen(function* () {
      const peers = SqlitePeerStore.make({ path }).pipe(Effect.provide(NodeCrypto.layer), Effect.scoped)
      yield* peers
      assert.include(yield* refused(path), "or another kind of store")
      yield* (yield* FileSystem.FileSystem).remove(path)
      yield* filled(path)
      assert.include((yield* Effect.flip(peers)).message, "or another kind of store")
    })
  )

  onFile("without its table, or with rows that are none", (path) =>
    Effect.gen(function* () {
      yield* filled(path)
      const run = (sql: string) =>
        Effect.sync(() => {
          const database = new DatabaseSync(path)
          database.exec(sql)
          database.close()
        })
      yield* run("alter table record rename to kept")
      assert.include(yield* refused(path), "no such table: record")
      yield* run("create table record (key text, value blob, expires_at real); insert into record values ('a', x'', 0)")
      assert.include(yield* refused(path), "it is damaged: a row of the table record cannot be read")
    })
  )

  onFile("in use, here or by another connection", (path) =>
    Effect.gen(function* () {
      const { stop } = yield* start({ path })
      assert.include(yield* refused(path), "this process has it open already")
      yield* stop
      const other = new DatabaseSync(path)
      other.exec("pragma locking_mode = exclusive; begin immediate")
      assert.include(yield* refused(path), "another process uses it")
      other.close()
      yield* (yield* start({ path })).stop
    })
  )

  onFile("the layer fails with the same error", (path) =>
    Effect.gen(function* () {
      yield* (yield* FileSystem.FileSystem).makeDirectory(path)
      const error = yield* RecordStore.pipe(Effect.provide(SqliteRecordStore.layer({ path })), Effect.flip)
      assert.strictEqual(error.message, `sqlite record store: ${path}: it is a folder: name a file`)
    })
  )
})

describe("a disk that is full", () => {
  onFile("fails the write; memory is as the disk is, and later writes are tried anew", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path, maxFileSize: 100_000 })
      let full: RecordStoreError | undefined
      let count = 0
      for (; full === undefined && count < 1000; count++) {
        const result = yield* Effect.result(put(store, count))
        if (result._tag === "Failure") full = result.failure
      }
      assert.include(detailOf(full ?? assert.fail("it was never full")), "no more room")
      assert.isAbove(count, 50)
      assert.isFalse(yield* has(store, count - 1))
      const held = yield* contents(store)
      assert.lengthOf(held, count - 1)
      // Room is made by the page.
      for (let i = 0; i < 20; i++) yield* store.delete(keyOf(i))
      yield* put(store, 1000)
      yield* stop
      const again = yield* start({ path })
      assert.lengthOf(yield* contents(again.store), count - 20)
      assert.isTrue(yield* has(again.store, 1000))
      yield* again.stop
    })
  )
})
