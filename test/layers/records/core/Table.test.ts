import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { limitsOf, type Refusal, Table } from "../../../../src/layers/records/core/Table.ts"
import { Model, rules } from "./model.ts"

const utf8 = Bytes.fromUtf8
const quota = { records: 4, bytes: 24, keyBytes: 4, valueBytes: 12 }

const outcome = (result: Result.Result<void, Refusal>): string =>
  Result.match(result, {
    onSuccess: () => "ok",
    onFailure: (reason) => (reason._tag === "RecordStoreLimit" ? reason.resource : reason._tag)
  })

const contents = (table: Table, now: number, prefix = "") =>
  table.namesOf(utf8(prefix)).flatMap((name) => {
    const entry = table.at(name, () => rules, now)
    return entry === undefined
      ? []
      : [{ key: Bytes.toUtf8(entry.key), value: Bytes.toUtf8(entry.value), expiresAt: entry.expiresAt }]
  })

const oneOf = <const A extends ReadonlyArray<string | number>>(...all: A) => Schema.Literals(all)
const operation = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("put"),
    key: oneOf("a", "aa", "ab", "b", "c", "d", "abcde"),
    value: oneOf("1", "2", "3", "1@20", "3@30", "2222222", "99999999999999", "x"),
    ttl: oneOf(0, 1, 10, 100, 1e9, Number.MAX_SAFE_INTEGER)
  }),
  Schema.Struct({ kind: Schema.Literal("delete"), key: oneOf("a", "aa", "c", "zz") }),
  Schema.Struct({ kind: Schema.Literal("wait"), time: oneOf(1, 9, 10, 50) }),
  Schema.Struct({ kind: Schema.Literals(["take", "undo"]) })
])

describe("the table of records", () => {
  it.effect.prop(
    "does what the model says, and its changes can be undone",
    [Schema.Array(operation).check(Schema.isMaxLength(60))],
    ([operations]) =>
      Effect.sync(() => {
        const table = new Table(quota, true)
        const model = new Model(quota)
        let taken: Model["held"] = []
        for (const op of operations) {
          if (op.kind === "put") {
            const got = outcome(table.put(utf8(op.key), utf8(op.value), op.ttl, rules, model.now))
            assert.strictEqual(got, model.put(op.key, op.value, op.ttl))
          } else if (op.kind === "delete") {
            table.delete(utf8(op.key), model.now)
            model.delete(op.key)
          } else if (op.kind === "wait") {
            model.now += op.time
          } else {
            const changes = table.takeChanges()
            assert.isFalse(table.hasChanges)
            if (op.kind === "undo") {
              table.undo(changes)
              assert.isFalse(table.hasChanges)
              model.held = taken
            }
            taken = model.held
          }
          for (const prefix of ["", "a", "ab", "zz", "too long a prefix"]) {
            assert.deepStrictEqual(contents(table, model.now, prefix), model.list(prefix))
          }
          const found = Result.getOrUndefined(table.get(utf8("a"), rules, model.now))
          assert.strictEqual(found && Bytes.toUtf8(found.value), model.get("a")?.value)
          assert.isAtMost(table.held.records, quota.records)
          assert.isAtMost(table.held.bytes, quota.bytes)
        }
      }),
    { arbitrary: { runs: 300 } }
  )

  it("drops what has expired as others come, with no more work than that", () => {
    const table = new Table(limitsOf({ records: 1e6 }), false)
    for (let i = 0; i < 1000; i++) table.put(utf8(`${i}`), utf8("1"), 10 + (i % 7), rules, 0)
    table.put(utf8("x"), utf8("1"), 10, rules, 20)
    assert.strictEqual(table.held.records, 1000 - 16 + 1)
    for (let i = 0; i < 70; i++) table.put(utf8("x"), utf8("1"), 10, rules, 20)
    assert.deepStrictEqual(table.held, { records: 1, bytes: 2 })
  })

  it("holds no more than it must of records that are replaced over and over", () => {
    const table = new Table(limitsOf(), false)
    for (let i = 0; i < 20_000; i++) table.put(utf8(`${i % 3}`), utf8(`${i}`), 1e6, rules, i)
    assert.strictEqual(table.held.records, 3)
    for (let i = 0; i < 20_000; i++) {
      table.put(utf8(`n${i}`), utf8("1"), 1e6, rules, 1e5)
      table.delete(utf8(`n${i}`), 1e5)
    }
    assert.deepStrictEqual(table.namesOf(new Uint8Array(0)), ["0", "1", "2"])
  })

  it("restores what was stored even over a quota that is smaller now, and takes nothing beside it", () => {
    const large = new Table(limitsOf(), true)
    for (const [i, key] of ["a", "b", "c", "d", "e"].entries()) large.put(utf8(key), utf8("1"), 10 + i, rules, 0)
    const stored = [...large.takeChanges().values()].flatMap(({ after }) => after ?? [])
    const small = new Table({ ...quota, records: 2, bytes: 4 }, true)
    small.restore(stored, 10)
    assert.deepStrictEqual(
      contents(small, 10).map(({ key }) => key),
      ["b", "c", "d", "e"]
    )
    // What had expired is gone from storage too.
    assert.deepStrictEqual([...small.takeChanges().keys()], ["a"])
    assert.strictEqual(outcome(small.put(utf8("b"), utf8("2"), 1, rules, 10)), "ok")
    assert.strictEqual(outcome(small.put(utf8("b"), utf8("22"), 1, rules, 10)), "bytes")
    assert.strictEqual(outcome(small.put(utf8("z"), utf8("1"), 1, rules, 10)), "records")
    assert.strictEqual(outcome(small.put(utf8("z"), utf8("1"), 1, rules, 13)), "ok")
  })

  it("lists keys of any bytes in the order of the bytes", () => {
    const table = new Table(limitsOf(), false)
    const keys = [[], [0], [0, 255], [127], [128], [128, 0], [255]].map((bytes) => Uint8Array.from(bytes))
    for (const key of keys.toReversed()) table.put(key, utf8("1"), 1, rules, 0)
    const listed = table.namesOf(new Uint8Array(0)).map((name) => table.at(name, () => rules, 0)?.key)
    assert.deepStrictEqual(listed, keys)
  })
})
