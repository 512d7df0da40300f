/**
 * What every RecordStore promises, as tests in virtual time. A store that
 * cannot do a part of it says so in its options, and is then held to refusing
 * that part as {@link RecordStoreUnsupported} says.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Bytes from "../data/Bytes.ts"
import * as PeerId from "../data/PeerId.ts"
import * as PublicKeyRecord from "../data/PublicKeyRecord.ts"
import type {
  QuotaBounds,
  RecordStore,
  RecordStoreError,
  RecordStoreErrorReason,
  StoredRecord
} from "../services/RecordStore.ts"
import { type ByNamespace, RecordValidators } from "../services/RecordValidators.ts"
import { keys } from "./vectors.ts"

/** What the store at hand is like. */
export interface RecordStoreTraits {
  /** It forgets on demand. Default true. */
  readonly deletes?: boolean | undefined
  /** It lists what it holds. Default true. */
  readonly lists?: boolean | undefined
  /**
   * A record is got no more when its time is over, to the millisecond. Default
   * true. One whose records are held by others too is held to letting go of its own.
   */
  readonly expires?: boolean | undefined
  /** The bounds of the store, small ones: `records` at least 4, `keyBytes` at least 48. Default: none that the tests could meet. */
  readonly quota?: QuotaBounds | undefined
  /** How time passes. Default: on the test's clock. */
  readonly wait?: ((time: Duration.Input) => Effect.Effect<void>) | undefined
}

export const smallQuota: QuotaBounds = { records: 6, bytes: 400, keyBytes: 64, valueBytes: 100 }

const utf8 = Bytes.fromUtf8

/** Values of the namespace `test`: `<rank>:<anything>`. */
const rankOf = (value: Uint8Array): number => Number(/^(\d+):/.exec(Bytes.toUtf8(value))?.[1] ?? Number.NaN)

/**
 * The rules that the tests use. Of the values under `/test/…` the one of the
 * highest rank is best, and of those the last by its bytes; those under
 * `/until/…` are valid until the time that they are, in milliseconds.
 */
export const validators: ByNamespace = {
  test: {
    validate: (_key, value) => (Number.isNaN(rankOf(value)) ? "it has no rank" : undefined),
    select: (_key, values) => {
      let best = 0
      for (const [i, value] of values.entries()) {
        const [one, other] = [value, values[best] ?? value]
        const byRank = rankOf(one) - rankOf(other)
        if (byRank > 0 || (byRank === 0 && Bytes.toHex(one) > Bytes.toHex(other))) best = i
      }
      return best
    }
  },
  until: {
    validate: (_key, value, nowMs) => (nowMs < Number(Bytes.toUtf8(value)) ? undefined : "its time is over"),
    select: (_key, values) => {
      const times = values.map((value) => Number(Bytes.toUtf8(value)))
      return times.indexOf(Math.max(...times))
    }
  }
}

const text = ({ value }: StoredRecord): string => Bytes.toUtf8(value)
const keysOf = (records: ReadonlyArray<StoredRecord>): ReadonlyArray<string> =>
  records.map(({ key }) => Bytes.toUtf8(key))

const errorOf = (effect: Effect.Effect<unknown, RecordStoreError>): Effect.Effect<RecordStoreError> =>
  Effect.match(effect, { onFailure: (error) => error, onSuccess: () => assert.fail("it was not refused") })

const reasonOf = (effect: Effect.Effect<unknown, RecordStoreError>): Effect.Effect<RecordStoreErrorReason> =>
  Effect.map(errorOf(effect), ({ reason }) => reason)

/**
 * Declares the tests of one implementation. `make` is run in each test's own
 * scope with {@link validators} in its context, and gives an empty store each
 * time. The clock begins at 0, and must stand still while the store works: the
 * tests look at times to the millisecond.
 */
export const recordStoreSuite = <E>(
  name: string,
  make: Effect.Effect<RecordStore["Service"], E, Scope.Scope>,
  traits: RecordStoreTraits = {}
): void => {
  const { deletes = true, expires = true, lists = true, quota } = traits
  const wait = traits.wait ?? TestClock.adjust
  const test = (title: string, body: (store: RecordStore["Service"]) => Effect.Effect<void, RecordStoreError>) =>
    it.effect(title, () =>
      Effect.flatMap(make, body).pipe(Effect.provideService(RecordValidators, validators), Effect.asVoid)
    )

  const key = utf8("/test/key")
  const notFound = (store: RecordStore["Service"], of: Uint8Array) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonOf(store.get(of)))._tag, "RecordNotFound")
      assert.deepStrictEqual(yield* Stream.runCollect(store.search(of)), [])
    })
  const valueOf = (store: RecordStore["Service"], of: Uint8Array) => Effect.map(store.get(of), text)

  describe(`${name}: putting and getting`, () => {
    test("of a key under which nothing was put there is nothing", (store) => notFound(store, key))

    test("what was put is got and found", (store) =>
      Effect.gen(function* () {
        yield* store.put(key, utf8("1:one"))
        const record = yield* store.get(key)
        assert.deepStrictEqual(record.key, key)
        assert.strictEqual(text(record), "1:one")
        const found = yield* Stream.runCollect(store.search(key))
        assert.deepStrictEqual(found.at(-1)?.value, record.value)
        assert.isAtLeast(found.length, 1)
      }))

    test("keys are bytes: one that differs in a byte, or is the start of another, is another", (store) =>
      Effect.gen(function* () {
        const keys = [[], [0], [0, 0], [255], [0xc3, 0x28]].map((end) =>
          Bytes.concat([utf8("/test/"), Uint8Array.from(end)])
        )
        for (const [i, one] of keys.entries()) yield* store.put(one, utf8(`${i}:`))
        for (const [i, one] of keys.entries()) assert.strictEqual(yield* valueOf(store, one), `${i}:`)
        yield* notFound(store, Bytes.concat([utf8("/test/"), Uint8Array.of(0xef, 0xbf, 0xbd)]))
      }))

    test("keys and values are the store's own: whoever put or got them may change theirs", (store) =>
      Effect.gen(function* () {
        // As programs on Node have them: slices of a Buffer share its memory.
        const [ownKey, value] = [Buffer.from(key), Buffer.from("1:mine")]
        yield* store.put(ownKey, value)
        ownKey.fill(0)
        value.fill(0)
        const first = yield* store.get(key)
        assert.strictEqual(text(first), "1:mine")
        first.key.fill(0)
        first.value.fill(0)
        assert.strictEqual(yield* valueOf(store, key), "1:mine")
        assert.deepStrictEqual((yield* store.get(key)).key, key)
      }))
  })

  describe(`${name}: rules`, () => {
    test("a value that its namespace refuses is not taken", (store) =>
      Effect.gen(function* () {
        const error = yield* errorOf(store.put(key, utf8("no rank")))
        assert.strictEqual(error._tag, "RecordStoreError")
        assert.strictEqual(error.store, store.store)
        assert.strictEqual(error.key, "/test/key")
        const { reason } = error
        assert.strictEqual(reason._tag === "RecordInvalid" ? reason.detail : reason._tag, "it has no rank")
        yield* notFound(store, key)
      }))

    test("nothing is taken or given where no rules are known", (store) =>
      Effect.gen(function* () {
        for (const unknown of ["", "/", "test", "test/key", "/test", "//key", "/other/key", "/constructor/key"]) {
          const of = utf8(unknown)
          const put = yield* reasonOf(store.put(of, utf8("1:one")))
          assert.strictEqual(put._tag, "UnknownNamespace", unknown)
          assert.strictEqual((yield* reasonOf(store.get(of)))._tag, "UnknownNamespace", unknown)
          assert.strictEqual((yield* reasonOf(Stream.runDrain(store.search(of))))._tag, "UnknownNamespace", unknown)
        }
        const named = yield* reasonOf(store.put(utf8("/other/key"), utf8("1:one")))
        assert.strictEqual(named._tag === "UnknownNamespace" ? named.namespace : "", "other")
      }))

    test("a better value takes the place, a worse one is refused", (store) =>
      Effect.gen(function* () {
        yield* store.put(key, utf8("2:two"))
        yield* store.put(key, utf8("3:three"))
        assert.strictEqual(yield* valueOf(store, key), "3:three")
        assert.strictEqual((yield* reasonOf(store.put(key, utf8("2:two"))))._tag, "RecordOutdated")
        assert.strictEqual((yield* reasonOf(store.put(key, utf8("3:a tie"))))._tag, "RecordOutdated")
        assert.strictEqual(yield* valueOf(store, key), "3:three")
        yield* store.put(key, utf8("3:three"))
        yield* store.put(utf8("/test/another"), utf8("1:one"))
        const found = yield* Stream.runCollect(store.search(key))
        assert.strictEqual(found.map(text).at(-1), "3:three")
      }))

    test("what is no longer valid is given no more, and stands in the way of nothing", (store) =>
      Effect.gen(function* () {
        const until = utf8("/until/key")
        yield* store.put(until, utf8("2000"))
        yield* wait("1999 millis")
        assert.strictEqual(yield* valueOf(store, until), "2000")
        assert.strictEqual((yield* reasonOf(store.put(until, utf8("1999"))))._tag, "RecordInvalid")
        yield* wait("1 millis")
        yield* notFound(store, until)
        yield* store.put(until, utf8("9000"))
        assert.strictEqual(yield* valueOf(store, until), "9000")
      }))

    test("the public key of a peer is known by every node", (store) =>
      Effect.gen(function* () {
        // The id that js-libp2p gives for the key.
        const peer = Result.getOrThrow(PeerId.fromString("QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk"))
        const of = PublicKeyRecord.keyOf(peer)
        const value = Bytes.fromHex(keys.ECDSA.publicKey) ?? assert.fail("no vector")
        assert.strictEqual((yield* reasonOf(store.put(of, utf8("1:one"))))._tag, "RecordInvalid")
        yield* store.put(of, value)
        assert.deepStrictEqual((yield* store.get(of)).value, value)
      }))
  })

  describe(`${name}: time`, () => {
    if (!expires) {
      test("a record is got until its time is over, and is held here for no longer, whatever others do", (store) =>
        Effect.gen(function* () {
          yield* store.put(key, utf8("1:one"), { ttl: "10 seconds" })
          yield* wait("9999 millis")
          assert.strictEqual(yield* valueOf(store, key), "1:one")
          yield* wait("1 millis")
          if (lists) assert.deepStrictEqual(yield* Stream.runCollect(store.list()), [])
        }))
      return
    }
    test("records are kept for 48 hours, or as said, and not for longer", (store) =>
      Effect.gen(function* () {
        const [short, never] = [utf8("/test/short"), utf8("/test/never")]
        yield* store.put(key, utf8("2:two"))
        yield* store.put(short, utf8("2:two"), { ttl: "10 seconds" })
        yield* store.put(never, utf8("2:two"), { ttl: 0 })
        yield* notFound(store, never)
        yield* wait("9999 millis")
        assert.strictEqual(yield* valueOf(store, short), "2:two")
        yield* wait("1 millis")
        yield* notFound(store, short)
        yield* store.put(short, utf8("1:a worse one"))
        yield* wait(48 * 3_600_000 - 10_001)
        assert.strictEqual(yield* valueOf(store, key), "2:two")
        yield* wait("1 millis")
        yield* notFound(store, key)
        assert.strictEqual(yield* valueOf(store, short), "1:a worse one")
      }))

    test("the same record again is kept for longer, never for less", (store) =>
      Effect.gen(function* () {
        yield* store.put(key, utf8("1:one"), { ttl: "10 seconds" })
        yield* wait("5 seconds")
        yield* store.put(key, utf8("1:one"), { ttl: "10 seconds" })
        yield* store.put(key, utf8("1:one"), { ttl: "1 seconds" })
        yield* wait("9 seconds")
        assert.strictEqual(yield* valueOf(store, key), "1:one")
        const { expiresAt } = yield* store.get(key)
        yield* wait("1 seconds")
        yield* notFound(store, key)
        if (expiresAt !== undefined) assert.strictEqual(expiresAt, 15_000)
      }))
  })

  describe(`${name}: deleting`, () => {
    if (!deletes) {
      test("is refused", (store) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* reasonOf(store.delete(key)))._tag, "RecordStoreUnsupported")
        }))
      return
    }
    test("forgets a record, and only that", (store) =>
      Effect.gen(function* () {
        yield* store.delete(key)
        yield* store.put(key, utf8("2:two"))
        yield* store.put(utf8("/test/keys"), utf8("2:two"))
        yield* store.delete(key)
        yield* store.delete(key)
        yield* store.delete(utf8("no namespace"))
        yield* notFound(store, key)
        assert.strictEqual(yield* valueOf(store, utf8("/test/keys")), "2:two")
        yield* store.put(key, utf8("1:a worse one"))
        assert.strictEqual(yield* valueOf(store, key), "1:a worse one")
      }))
  })

  describe(`${name}: listing`, () => {
    if (!lists) {
      test("is refused", (store) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* reasonOf(Stream.runDrain(store.list())))._tag, "RecordStoreUnsupported")
        }))
      return
    }
    const list = (store: RecordStore["Service"], prefix?: Uint8Array) => Stream.runCollect(store.list(prefix))

    test("gives what is held in the order of the keys' bytes, by prefix", (store) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* list(store), [])
        for (const end of ["b", "ab", "a", "é"]) yield* store.put(utf8(`/test/${end}`), utf8("1:one"))
        yield* store.put(utf8("/until/a"), utf8("9000"))
        assert.deepStrictEqual(keysOf(yield* list(store)), ["/test/a", "/test/ab", "/test/b", "/test/é", "/until/a"])
        assert.deepStrictEqual(keysOf(yield* list(store, utf8("/test/a"))), ["/test/a", "/test/ab"])
        assert.deepStrictEqual(keysOf(yield* list(store, utf8("/until/"))), ["/until/a"])
        assert.deepStrictEqual(keysOf(yield* list(store, utf8("/other"))), [])
        const [first] = yield* list(store)
        assert.strictEqual(first === undefined ? "" : text(first), "1:one")
      }))

    test("leaves out what was replaced, has expired or is no longer valid", (store) =>
      Effect.gen(function* () {
        yield* store.put(key, utf8("1:one"), { ttl: "10 seconds" })
        yield* store.put(key, utf8("2:two"), { ttl: "20 seconds" })
        yield* store.put(utf8("/until/a"), utf8("15000"))
        assert.deepStrictEqual((yield* list(store)).map(text), ["2:two", "15000"])
        if (deletes) {
          yield* store.put(utf8("/test/gone"), utf8("1:one"))
          yield* list(store)
          yield* store.delete(utf8("/test/gone"))
        }
        yield* wait("15 seconds")
        assert.deepStrictEqual((yield* list(store)).map(text), ["2:two"])
        if (!expires) return
        yield* wait("5 seconds")
        assert.deepStrictEqual(yield* list(store), [])
      }))
  })

  if (quota === undefined) return
  describe(`${name}: the quota`, () => {
    const limitOf = (effect: Effect.Effect<unknown, RecordStoreError>) =>
      Effect.map(reasonOf(effect), (reason) => {
        if (reason._tag !== "RecordStoreLimit") assert.fail(reason._tag)
        return { resource: reason.resource, limit: reason.limit, current: reason.current }
      })
    const valueOfSize = (size: number) => utf8(`1:${"x".repeat(size - 2)}`)
    const keyOfSize = (size: number) => utf8(`/test/${"x".repeat(size - 6)}`)
    const { bytes, keyBytes, records, valueBytes } = quota

    test("of one key and of one value", (store) =>
      Effect.gen(function* () {
        yield* store.put(keyOfSize(keyBytes), valueOfSize(valueBytes))
        assert.strictEqual((yield* store.get(keyOfSize(keyBytes))).value.length, valueBytes)
        assert.deepStrictEqual(yield* limitOf(store.put(keyOfSize(keyBytes + 1), valueOfSize(3))), {
          resource: "key bytes",
          limit: keyBytes,
          current: keyBytes + 1
        })
        assert.deepStrictEqual(yield* limitOf(store.put(key, valueOfSize(valueBytes + 1))), {
          resource: "value bytes",
          limit: valueBytes,
          current: valueBytes + 1
        })
        yield* notFound(store, key)
        yield* notFound(store, keyOfSize(keyBytes + 1))
      }))

    test("of records: a full store takes better ones of keys that it holds, and others when there is room", (store) =>
      Effect.gen(function* () {
        const of = (i: number) => utf8(`/test/${i}`)
        for (let i = 0; i < records; i++) {
          yield* store.put(of(i), utf8("1:"), { ttl: i === 0 ? "10 seconds" : "1 hour" })
        }
        const full = { resource: "records" as const, limit: records, current: records }
        assert.deepStrictEqual(yield* limitOf(store.put(of(records), utf8("1:"))), full)
        yield* store.put(of(1), utf8("2:"))
        if (expires) {
          yield* wait("10 seconds")
          yield* store.put(of(records), utf8("1:"))
          assert.deepStrictEqual(yield* limitOf(store.put(of(0), utf8("1:"))), full)
        }
        if (deletes) {
          yield* store.delete(of(1))
          yield* store.put(of(1), utf8("1:"))
        }
      }))

    test("of bytes", (store) =>
      Effect.gen(function* () {
        const size = Math.ceil(bytes / 4)
        const of = (i: number) => keyOfSize(keyBytes).fill(0x30 + i, 6)
        const value = valueOfSize(size - keyBytes)
        for (let i = 0; i < 4; i++) {
          if ((i + 1) * size <= bytes) yield* store.put(of(i), value)
        }
        const { limit, resource } = yield* limitOf(store.put(of(4), value))
        assert.deepStrictEqual({ resource, limit }, { resource: "bytes", limit: bytes })
        yield* notFound(store, of(4))
        for (const i of [0, 1, 2]) yield* store.put(of(i), utf8("2:"))
        yield* store.put(of(4), utf8("1:"))
        assert.strictEqual(yield* valueOf(store, of(4)), "1:")
      }))
  })
}
