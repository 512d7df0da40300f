import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { CID } from "multiformats/cid"
import { createHash } from "node:crypto"
import * as Bytes from "../../src/data/Bytes.ts"
import * as DagCbor from "../../src/data/DagCbor.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text.replaceAll(" ", "")) ?? assert.fail(text)
const refusal = (text: string): string =>
  Result.match(DagCbor.decode(hex(text)), {
    onSuccess: (value) => assert.fail(`read as ${JSON.stringify(value)}`),
    onFailure: ({ detail }) => detail
  })

const cid = "01711220 785197229dc8bb1152945da58e2348f7e279eeded06cc2ca736d0e879858b501"

/** From RFC 8949, appendix A, and the fixtures of the IPLD codecs. */
const vectors: ReadonlyArray<readonly [value: unknown, encoded: string]> = [
  [0, "00"],
  [23, "17"],
  [24, "1818"],
  [256, "190100"],
  [2 ** 32, "1b0000000100000000"],
  [Number.MAX_SAFE_INTEGER, "1b001fffffffffffff"],
  [2n ** 64n - 1n, "1bffffffffffffffff"],
  [-1, "20"],
  [-(2n ** 64n), "3bffffffffffffffff"],
  [1.5, "fb3ff8000000000000"],
  [false, "f4"],
  [true, "f5"],
  [null, "f6"],
  ["", "60"],
  ["ü水", "65c3bce6b0b4"],
  [Uint8Array.of(1, 2, 3, 4), "4401020304"],
  [[1, [2, 3]], "8201820203"],
  [{}, "a0"],
  // The shorter key first, then by the bytes.
  [{ b: 1, aa: 2, a: 3 }, "a3 6161 03 6162 01 626161 02"],
  [Result.getOrThrow(DagCbor.linkFromCid(hex(cid))), `d82a 5825 00 ${cid}`]
]

const data: Schema.Codec<unknown> = Schema.Union([
  Schema.Null,
  Schema.Boolean,
  Schema.Int,
  Schema.String,
  Schema.Uint8Array,
  Schema.Array(Schema.suspend((): Schema.Codec<unknown> => data)).check(Schema.isMaxLength(3)),
  Schema.Record(
    Schema.String,
    Schema.suspend((): Schema.Codec<unknown> => data)
  ).check(Schema.isMaxProperties(3))
])

const isWellFormed = (value: unknown): boolean =>
  typeof value === "string"
    ? value.isWellFormed()
    : typeof value !== "object" || value === null || value instanceof Uint8Array
      ? true
      : Object.entries(value).every((entry) => entry.every(isWellFormed))

describe("DAG-CBOR", () => {
  it("writes no text that would be another one in UTF-8", () => {
    for (const value of ["\ud800", ["\udc00"], { "\ud802": false, "\ud800": 1 }]) {
      const written = DagCbor.encode(value)
      assert.isTrue(Result.isFailure(written) && written.failure.detail.includes("half of a surrogate pair"))
    }
    assert.isTrue(Result.isSuccess(DagCbor.encode("\ud83d\ude00")))
  })

  it("writes and reads the vectors", () => {
    for (const [value, encoded] of vectors) {
      assert.deepStrictEqual(Result.getOrThrow(DagCbor.encode(value)), hex(encoded), encoded)
      assert.deepStrictEqual(Result.getOrThrow(DagCbor.decode(hex(encoded))), value, encoded)
    }
  })

  it.effect.prop("reads what it wrote, and writes all but half surrogate pairs", [data], ([value]) =>
    Effect.sync(() => {
      const written = DagCbor.encode(value)
      if (!isWellFormed(value)) return assert.isTrue(Result.isFailure(written))
      const encoded = Result.getOrThrow(written)
      const read = Result.getOrThrow(DagCbor.decode(encoded))
      assert.deepStrictEqual(Result.getOrThrow(DagCbor.encode(read)), encoded)
    })
  )

  it("has bytes of its own", () => {
    const encoded = Buffer.from("4401020304", "hex")
    const read = Result.getOrThrow(DagCbor.decode(encoded))
    encoded.fill(0)
    assert.deepStrictEqual(read, Uint8Array.of(1, 2, 3, 4))
  })

  it("refuses every other encoding", () => {
    const notCanonical = "it is not in the one encoding of its value"
    const wrong: ReadonlyArray<readonly [what: string, encoded: string, detail: string]> = [
      ["keys out of order", "a2 6162 01 6161 02", notCanonical],
      ["a long key first", "a2 626161 01 6162 02", notCanonical],
      ["a key twice", "a2 6161 01 6161 02", 'found repeat map key "a"'],
      ["a key that is a number", "a1 01 02", "non-string keys not supported (got number)"],
      ["a list of indefinite length", "9f01ff", "indefinite length items not allowed"],
      ["a map of indefinite length", "bf616101ff", "indefinite length items not allowed"],
      ["text of indefinite length", "7f6161ff", "indefinite length"],
      ["bytes of indefinite length", "5f4101ff", "indefinite length"],
      ["a number in more bytes than it takes", "1801", "integer encoded in more bytes than necessary"],
      ["a length in more bytes than it takes", "5801 00", "integer encoded in more bytes than necessary"],
      ["half a float", "f93e00", notCanonical],
      ["a short float", "fa3fc00000", notCanonical],
      ["a whole number as a float", "fb3ff0000000000000", notCanonical],
      ["minus zero", "fb8000000000000000", notCanonical],
      ["NaN", "fb7ff8000000000000", "NaN values are not supported"],
      ["infinity", "fb7ff0000000000000", "Infinity values are not supported"],
      ["undefined", "f7", "undefined values are not supported"],
      ["another simple value", "f0", "simple values are not supported"],
      ["another tag", "c001", "tag not supported (0)"],
      ["a big number by its tag", "c249010000000000000000", "tag not supported (2)"],
      ["a link that is text", "d82a6161", "a link is not the bytes of a CID"],
      ["a link without its prefix", `d82a 5824 ${cid}`, "a link is not the bytes of a CID"],
      ["a link to nothing", "d82a 4100", "a link is no CID"],
      ["a link that is cut", `d82a 5824 00 ${cid.slice(0, -2)}`, "a link is no CID"],
      ["text that is not UTF-8", "61ff", notCanonical],
      ["nothing", "", "did not find any content to decode"],
      ["more than one value", "0000", "too many terminals"],
      ["less than a value", "8201", "found array but not enough entries"],
      ["a list of more items than there is room for", "9bffffffffffffffff", "not"]
    ]
    for (const [what, encoded, detail] of wrong) assert.include(refusal(encoded), detail, what)
  })

  it("goes no deeper than 32 levels, however deep the bytes go", () => {
    const deep = (levels: number) => `${"81".repeat(levels)}00`
    assert.isTrue(Result.isSuccess(DagCbor.decode(hex(deep(32)))))
    assert.include(refusal(deep(33)), "nested deeper than 32")
    assert.include(refusal(deep(200_000)), "nested deeper than 32")
    assert.include(refusal(`${"a16161".repeat(100_000)}00`), "nested deeper than 32")
    assert.include(refusal(`${"d82a".repeat(100_000)}00`), "nested deeper than 32")
    // Beside each other they are not inside of each other.
    assert.isTrue(Result.isSuccess(DagCbor.decode(hex(`9903e8${"8100".repeat(1000)}`))))
  })

  it("has no encoding for what is not data", () => {
    const circular: Array<unknown> = []
    circular.push(circular)
    for (const value of [undefined, { a: undefined }, Number.NaN, [Number.POSITIVE_INFINITY], () => 1, circular]) {
      assert.isTrue(Result.isFailure(DagCbor.encode(value)))
    }
  })

  it("links as CIDs do", () => {
    const encoded = Result.getOrThrow(DagCbor.encode({ hello: "world" }))
    const link = DagCbor.linkTo(encoded)
    const parsed = CID.parse(link.toString())
    assert.deepStrictEqual(parsed.bytes, link.cid)
    assert.deepStrictEqual([parsed.version, parsed.code], [1, 0x71])
    assert.deepStrictEqual(Buffer.from(parsed.multihash.digest), createHash("sha256").update(encoded).digest())
    assert.deepStrictEqual(JSON.parse(JSON.stringify({ link })), { link: { "/": link.toString() } })
  })
})
