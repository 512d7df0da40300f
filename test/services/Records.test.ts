import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import { keyText } from "../../src/services/RecordStore.ts"
import * as RecordValidators from "../../src/services/RecordValidators.ts"

const utf8 = Bytes.fromUtf8
const never: RecordValidators.RecordValidator = { validate: () => "never", select: () => 0 }

describe("the rules of a key", () => {
  const said = (rules: RecordValidators.RulesOf, key: string): string | undefined =>
    Result.match(rules(utf8(key)), {
      onSuccess: (found) => found.validate(utf8(key), new Uint8Array(0), 0),
      onFailure: ({ namespace }) => `unknown: ${namespace}`
    })

  it("are those of its first part", () => {
    const rules = RecordValidators.rulesOf({ example: never, "": never })
    assert.strictEqual(said(rules, "/example/"), "never")
    assert.strictEqual(said(rules, "/example/a/b"), "never")
    for (const key of ["", "/", "//", "//example/", "example/a", "/example"]) {
      assert.strictEqual(said(rules, key), "unknown: ", key)
    }
    for (const name of ["examples", "constructor", "__proto__", "toString", "PK"]) {
      assert.strictEqual(said(rules, `/${name}/a`), `unknown: ${name}`)
    }
    assert.strictEqual(said(rules, `/${"long".repeat(1000)}/`), `unknown: ${"long".repeat(16)}`)
    assert.isTrue(Result.isFailure(rules(Uint8Array.of(0x2f, 0xff, 0x2f))))
  })

  it.effect("are those of this node: of its user first, built-in ones else", () =>
    Effect.gen(function* () {
      const plain = yield* RecordValidators.known
      assert.include(said(plain, "/pk/a"), "holds no peer id")
      assert.strictEqual(said(plain, "/example/a"), "unknown: example")
      const own = yield* Effect.provide(RecordValidators.known, RecordValidators.layer({ example: never }))
      assert.include(said(own, "/pk/a"), "holds no peer id")
      assert.strictEqual(said(own, "/example/a"), "never")
      const another = yield* Effect.provide(RecordValidators.known, RecordValidators.layer({ pk: never }))
      assert.strictEqual(said(another, "/pk/a"), "never")
    })
  )
})

describe("a key for people", () => {
  it("is text where it is text, else hexadecimal, and short", () => {
    assert.strictEqual(keyText(utf8("/example/é")), "/example/é")
    assert.strictEqual(keyText(utf8("")), "")
    assert.strictEqual(keyText(Uint8Array.of(0x2f, 0x61, 0x2f, 0xff)), "/a/0xff")
    assert.strictEqual(keyText(utf8("/a/\n")), "/a/0x0a")
    assert.strictEqual(keyText(utf8("/a/\u202e")), "/a/0xe280ae")
    assert.strictEqual(keyText(Uint8Array.of(0x2f, 0x2f, 0xff)), "2f2fff")
    assert.strictEqual(keyText(Uint8Array.of(0x2f, 0xff, 0x2f, 0x61)), "2fff2f61")
    assert.strictEqual(keyText(utf8("x".repeat(120))), "x".repeat(120))
    assert.strictEqual(keyText(utf8("x".repeat(1000))), `${"x".repeat(120)}…`)
    assert.strictEqual(keyText(new Uint8Array(1000)), `${"0".repeat(120)}…`)
  })
})
