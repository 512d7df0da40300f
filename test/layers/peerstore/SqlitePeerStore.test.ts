import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FileSystem, Layer, PlatformError, Scope } from "effect"
import { TestClock } from "effect/testing"
import { DatabaseSync } from "node:sqlite"
import { vi } from "vitest"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as SqlitePeerStore from "../../../src/layers/peerstore/SqlitePeerStore.ts"
import { PeerStore, type PeerStoreError } from "../../../src/services/PeerStore.ts"
import { addressesAt, peerStoreSuite, recordOf, smallBounds, someone } from "../../../src/conformance/PeerStore.ts"
import { found, peerOf, write } from "./sqlite/writes.ts"

const services = Layer.mergeAll(NodeFileSystem.layer, NodeCrypto.layer)

const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

const fresh = Effect.gen(function* () {
  return yield* SqlitePeerStore.make({ ...smallBounds, path: `${yield* temporary}/peers.db` })
}).pipe(Effect.provide(services))

peerStoreSuite("SQLite", fresh, smallBounds)

/** A store with a life of its own. */
const start = (options: SqlitePeerStore.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const store = yield* Scope.provide(SqlitePeerStore.make(options), scope)
    return { store, stop: Scope.close(scope, Exit.void) }
  })

/** Runs a test on a file in a folder of its own. */
const onFile = <E>(
  title: string,
  body: (path: string) => Effect.Effect<void, E, Layer.Success<typeof services> | Scope.Scope>
) =>
  it.effect(title, () =>
    Effect.gen(function* () {
      yield* body(`${yield* temporary}/peers.db`)
    }).pipe(Effect.provide(services))
  )

const detailOf = (error: PeerStoreError): string =>
  error.reason._tag === "StorageFailed" ? error.reason.detail : assert.fail(error.message)

/** All files beside `path`, with their bytes. */
const folderOf = (path: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = path.slice(0, path.lastIndexOf("/"))
    const names = (yield* fs.readDirectory(folder)).toSorted()
    return yield* Effect.forEach(names, (name) =>
      Effect.map(
        Effect.orElseSucceed(fs.readFile(`${folder}/${name}`), () => undefined),
        (bytes) => [name, bytes === undefined ? "a folder" : Bytes.toHex(bytes)] as const
      )
    )
  })

/** Opening must fail, say why, and change nothing. */
const refused = (path: string, options?: Partial<SqlitePeerStore.Options>) =>
  Effect.gen(function* () {
    const before = yield* folderOf(path)
    const error = yield* Effect.flip(Effect.scoped(SqlitePeerStore.make({ path, ...options })))
    assert.strictEqual(error._tag, "PeerStoreError")
    assert.strictEqual(error.where, path)
    assert.include(error.message, path)
    assert.deepStrictEqual(yield* folderOf(path), before)
    return detailOf(error)
  })

/** A store of 200 writes, closed in order. */
const filled = (path: string, writes = 200) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* SqlitePeerStore.make({ path })
      yield* Effect.forEach(Array.from({ length: writes }), (_, i) => write(store, i), { concurrency: "unbounded" })
    })
  )

const withDatabase = (path: string, use: (database: DatabaseSync) => void) =>
  Effect.sync(() => {
    const database = new DatabaseSync(path)
    use(database)
    database.close()
  })

describe("a store in a file", () => {
  onFile("everything is there after it was opened again, and time went on", (path) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const [alice, bob] = [yield* someone(1), yield* someone(2)]
      const first = yield* start({ path })
      const record = yield* recordOf(alice, 2n ** 64n - 1n, addressesAt(1, 2))
      yield* first.store.addRecord(alice.peerId, record)
      yield* first.store.addAddresses(alice.peerId, addressesAt(3), "proven", "Infinity")
      yield* first.store.addAddresses(alice.peerId, addressesAt(4), "claimed")
      yield* first.store.setPublicKey(alice.peerId, alice.publicKey)
      yield* first.store.setProtocols(alice.peerId, ["/b", "/a"])
      yield* first.store.setTag(bob.peerId, "fixed", { value: -1.5 })
      yield* first.store.setTag(bob.peerId, "linear", { value: 10, decay: { shape: "linear", over: "1 hour" } })
      yield* first.store.setTag(bob.peerId, "halving", { value: 16, decay: { shape: "exponential", over: "1 hour" } })
      yield* first.store.setMetadata(bob.peerId, "'; drop table peer; --", Uint8Array.of(0, 255))
      yield* first.store.setMetadata(bob.peerId, "", new Uint8Array(0))
      const before = [yield* first.store.get(alice.peerId), yield* first.store.get(bob.peerId)]
      yield* first.stop

      const second = yield* start({ path })
      assert.deepStrictEqual([yield* second.store.get(alice.peerId), yield* second.store.get(bob.peerId)], before)
      assert.deepStrictEqual(yield* second.store.record(alice.peerId), record)
      assert.deepStrictEqual((yield* second.store.peers()).map(String), [bob.peerId, alice.peerId].map(String))
      yield* TestClock.adjust("30 minutes")
      assert.closeTo(second.store.worth(bob.peerId), -1.5 + 5 + 16 / Math.SQRT2, 1e-9)
      yield* second.store.setMetadata(bob.peerId, "", undefined)
      yield* second.stop
      yield* TestClock.adjust("1 day")

      const third = yield* start({ path })
      assert.deepStrictEqual((yield* third.store.addresses(alice.peerId)).map(String), addressesAt(3).map(String))
      assert.isUndefined(yield* third.store.record(alice.peerId))
      assert.isFalse(
        yield* third.store.addRecord(alice.peerId, yield* recordOf(alice, 1n, addressesAt(9))),
        "one older than the one that has expired"
      )
      const info = yield* third.store.get(bob.peerId)
      assert.deepStrictEqual(info?.tags, { fixed: -1.5 })
      assert.hasAllKeys(info?.metadata, ["'; drop table peer; --"])
      yield* third.store.forget(bob.peerId)
      yield* third.stop

      const fourth = yield* start({ path })
      assert.strictEqual(yield* fourth.store.size, 1)
      yield* fourth.stop
      yield* withDatabase(path, (database) => {
        for (const table of ["metadata", "protocols"]) {
          const row = database.prepare(`select count(*) as rows from ${table}`).get()
          assert.strictEqual(row?.["rows"], table === "protocols" ? 1 : 0, table)
        }
      })
    })
  )

  onFile("smaller bounds than before hold from the start, on the disk too", (path) =>
    Effect.gen(function* () {
      yield* filled(path)
      const small = yield* start({ path, maxPeers: 3 })
      assert.deepStrictEqual(
        (yield* small.store.peers()).map(String),
        [9, 8, 7].map((n) => peerOf(n).toString())
      )
      yield* small.stop
      const large = yield* start({ path })
      assert.strictEqual(yield* large.store.size, 3)
      yield* large.stop
    })
  )

  onFile("its folder is made, and the file is for its owner alone", (path) =>
    Effect.gen(function* () {
      const deep = path.replace("peers.db", "a/b/peers.db")
      yield* filled(deep, 1)
      const fs = yield* FileSystem.FileSystem
      assert.strictEqual((yield* fs.stat(deep)).mode & 0o777, 0o600)
      assert.deepStrictEqual(yield* fs.readDirectory(deep.replace("/peers.db", "")), ["peers.db"])
    })
  )

  onFile("nothing is written to a store that is closed", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path })
      yield* write(store, 0)
      yield* stop
      assert.strictEqual(detailOf(yield* Effect.flip(write(store, 1))), "it is closed")
      assert.isFalse(yield* found(store, 1))
      assert.isTrue(yield* found(store, 0))
    })
  )

  onFile("writes that wait when the store is closed are stored first", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path })
      const writers = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 50 }), (_, i) => write(store, i), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* stop
      yield* Fiber.join(writers)
      const again = yield* start({ path })
      for (let i = 0; i < 50; i++) assert.isTrue(yield* found(again.store, i), `write ${i}`)
      yield* again.stop
    })
  )
})

describe("a file that is not in order is refused, and left as it was", () => {
  const refusals: ReadonlyArray<{
    readonly what: string
    readonly says: string | RegExp
    readonly damage: (whole: Uint8Array) => Uint8Array
  }> = [
    { what: "empty", says: "it is empty", damage: () => new Uint8Array(0) },
    { what: "text", says: "it is not a database", damage: () => Bytes.fromUtf8("SQLite is not what this is") },
    { what: "zeros", says: "it is not a database", damage: (whole) => new Uint8Array(whole.length) },
    { what: "a part of its header", says: "truncated within its header", damage: (whole) => whole.subarray(0, 60) },
    { what: "its header alone", says: "it is truncated: it has 100 of", damage: (whole) => whole.subarray(0, 100) },
    {
      what: "its first half",
      says: /truncated: it has \d+ of \d+ bytes/,
      damage: (whole) => whole.subarray(0, whole.length / 2)
    },
    { what: "all but a byte", says: /truncated: it has \d+ of \d+ bytes/, damage: (whole) => whole.subarray(0, -1) },
    {
      what: "a page of noise in the middle",
      says: "it is damaged",
      damage: (whole) => {
        const damaged = whole.slice()
        const middle = 4096 * Math.floor(whole.length / 8192)
        for (let i = 0; i < 4096; i++) damaged[middle + i] = (i * 167) & 0xff
        return damaged
      }
    },
    {
      what: "a later version",
      says: "a newer release wrote it (its tables have version 2, this release reads up to 1)",
      damage: (whole) => {
        const newer = whole.slice()
        newer[63] = 2
        return newer
      }
    },
    {
      what: "no version",
      says: "it is damaged: it has no version",
      damage: (whole) => {
        const none = whole.slice()
        none[63] = 0
        return none
      }
    }
  ]
  for (const { damage, says, what } of refusals) {
    onFile(what, (path) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        yield* filled(path)
        yield* fs.writeFile(path, damage(yield* fs.readFile(path)))
        assert.match(
          yield* refused(path),
          typeof says === "string" ? new RegExp(says.replaceAll(/[()]/g, "\\$&")) : says
        )
      })
    )
  }

  const rows: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["no tables", "drop table record", /no such table: record/],
    [
      "addresses that are none",
      'update peer set addresses = \'[["/what", "proven", 1]]\'',
      /the addresses of peer number \d+/
    ],
    [
      "addresses of an unknown kind",
      'update peer set addresses = \'[["/dns/a", "sworn", 1]]\'',
      /the addresses of peer number/
    ],
    ["half a list", "update peer set tags = '[[1'", /the tags of peer number/],
    ["an id that is none", "update peer set id = x'00' where number = 1", /the id of peer number 1/],
    ["a key that is none", "update peer set public_key = x'00'", /the public key of peer number/]
  ]
  for (const [what, sql, says] of rows) {
    onFile(`rows: ${what}`, (path) =>
      Effect.gen(function* () {
        yield* filled(path)
        yield* withDatabase(path, (database) => database.exec(sql))
        assert.match(yield* refused(path), says)
      })
    )
  }

  onFile("the database of another program, with a log and without", (path) =>
    Effect.gen(function* () {
      yield* withDatabase(path, (database) => {
        database.exec("pragma journal_mode = wal")
        database.exec("create table peer (number integer primary key)")
      })
      assert.include(yield* refused(path), "another program")
      const open = new DatabaseSync(path)
      open.exec("insert into peer values (1)")
      assert.include(yield* refused(path), "another program")
      open.close()
    })
  )

  onFile("one that a killed process left, damaged, with its log", (path) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { stop, store } = yield* start({ path })
      yield* Effect.forEach(Array.from({ length: 50 }), (_, i) => write(store, i), { concurrency: "unbounded" })
      // Copies of the files while they are in use are what a killed process leaves.
      const left = path.replace("peers.db", "left.db")
      yield* fs.copyFile(path, left)
      yield* fs.copyFile(`${path}-wal`, `${left}-wal`)
      yield* stop
      yield* fs.remove(path)
      const whole = yield* fs.readFile(left)
      yield* fs.writeFile(left, whole.subarray(0, 4096 + 100))
      assert.include(yield* refused(left), "it is damaged")
      yield* fs.writeFile(left, whole)
      const again = yield* start({ path: left })
      for (let i = 0; i < 50; i++) assert.isTrue(yield* found(again.store, i), `write ${i}`)
      yield* again.stop
    })
  )

  onFile("a folder", (path) =>
    Effect.gen(function* () {
      yield* (yield* FileSystem.FileSystem).makeDirectory(path)
      assert.include(yield* refused(path), "it is a folder")
    })
  )

  onFile("a file that is open already, here or by another connection", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path })
      assert.include(yield* refused(path), "this process has it open already")
      yield* write(store, 0)
      yield* stop
      const other = new DatabaseSync(path)
      other.exec("pragma locking_mode = exclusive; begin immediate")
      assert.include(yield* refused(path), "another process uses it")
      other.close()
      const again = yield* start({ path })
      assert.isTrue(yield* found(again.store, 0))
      yield* again.stop
    })
  )

  it.effect("one that this user may not use", () =>
    Effect.gen(function* () {
      const path = `${yield* temporary}/peers.db`
      yield* filled(path)
      const fs = yield* FileSystem.FileSystem
      const denied = PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "access" })
      const error = yield* Effect.scoped(SqlitePeerStore.make({ path })).pipe(
        Effect.provideService(FileSystem.FileSystem, { ...fs, access: () => Effect.fail(denied) }),
        Effect.flip
      )
      assert.include(detailOf(error), "this user has no permission")
    }).pipe(Effect.provide(services))
  )
})

describe("storage that fails", () => {
  onFile("a full disk: the write fails, memory is as the disk is, and later writes are tried anew", (path) =>
    Effect.gen(function* () {
      const { stop, store } = yield* start({ path, maxFileSize: 200_000 })
      const stored: Array<number> = []
      let full: PeerStoreError | undefined
      for (let i = 0; i < 2000 && full === undefined; i++) {
        const result = yield* Effect.result(write(store, i))
        if (result._tag === "Success") stored.push(i)
        else full = result.failure
      }
      assert.isDefined(full)
      assert.include(full === undefined ? "" : detailOf(full), "no more room")
      assert.isAbove(stored.length, 100)
      assert.isFalse(yield* found(store, stored.length))
      const order = (yield* store.peers()).map(String)
      yield* Effect.flip(write(store, stored.length | 1))
      assert.deepStrictEqual((yield* store.peers()).map(String), order)
      for (const peer of (yield* store.peers()).slice(-5)) yield* store.forget(peer)
      const size = yield* store.size
      yield* write(store, 100_000)
      yield* stop
      const again = yield* start({ path })
      assert.strictEqual(yield* again.store.size, size + 1)
      assert.isTrue(yield* found(again.store, 100_000))
      for (const i of stored.slice(120)) assert.isTrue(yield* found(again.store, i), `write ${i}`)
      yield* again.stop
    })
  )

  onFile("a disk that fails to sync: the write says so", (path) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const failing = PlatformError.systemError({
        _tag: "Unknown",
        module: "FileSystem",
        method: "sync",
        description: "EIO: i/o error, fsync"
      })
      let broken = true
      const { stop, store } = yield* start({ path }).pipe(
        Effect.provideService(FileSystem.FileSystem, {
          ...fs,
          open: (name, options) =>
            Effect.map(fs.open(name, options), (file) => {
              const sync = Effect.suspend(() => (broken && name.endsWith("-wal") ? Effect.fail(failing) : file.sync))
              return new Proxy(file, {
                get: (target, key): unknown => (key === "sync" ? sync : Reflect.get(target, key))
              })
            })
        })
      )
      assert.include(detailOf(yield* Effect.flip(write(store, 0))), "may not be on the disk")
      broken = false
      yield* write(store, 1)
      yield* stop
    })
  )

  onFile("a Node without node:sqlite: the layer says so, and loading the module did not", (path) =>
    Effect.gen(function* () {
      const spy = vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
      const error = yield* Effect.flip(Effect.scoped(SqlitePeerStore.make({ path }))).pipe(
        Effect.ensuring(Effect.sync(() => spy.mockRestore()))
      )
      assert.include(detailOf(error), "this runtime has no node:sqlite")
    })
  )

  it.effect("the layer fails with the same error", () =>
    Effect.gen(function* () {
      const folder = yield* temporary
      const error = yield* PeerStore.pipe(Effect.provide(SqlitePeerStore.layer({ path: folder })), Effect.flip)
      assert.strictEqual(error.message, `peer store ${folder}: it is a folder: name a file`)
    }).pipe(Effect.provide(services))
  )
})
