import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Varint from "../../src/data/Varint.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail(`not hexadecimal: ${text}`)

describe("Varint", () => {
  const vectors: ReadonlyArray<readonly [number, string]> = [
    [0, "00"],
    [1, "01"],
    [127, "7f"],
    [128, "8001"],
    [255, "ff01"],
    [300, "ac02"],
    [16_383, "ff7f"],
    [16_384, "808001"],
    [2 ** 32 - 1, "ffffffff0f"],
    [2 ** 32, "8080808010"],
    [Number.MAX_SAFE_INTEGER, "ffffffffffffff0f"]
  ]
  it.each(vectors)("%d is %s", (value, text) => {
    assert.strictEqual(Bytes.toHex(Varint.encode(value)), text)
    assert.strictEqual(Varint.encodingLength(value), text.length / 2)
    assert.deepStrictEqual(Varint.decode(hex(`ff${text}ff`), 1), { _tag: "Complete", value, size: text.length / 2 })
  })

  it.each(["", "80", "8080", "ffffffffffffffff"])("%s goes on", (text) => {
    assert.strictEqual(Varint.decode(hex(text), 0)._tag, "Incomplete")
  })

  it.each([
    ["8000", "not minimal"],
    ["818000", "not minimal"],
    ["ffffffffffffffffff", "too long"],
    ["80808080808080808001", "too long"],
    ["8080808080808010", "too large"],
    ["ffffffffffffffff7f", "too large"]
  ] as const)("%s is %s", (text, reason) => {
    assert.deepStrictEqual(Varint.decode(hex(text), 0), { _tag: "Invalid", reason })
  })

  it.prop("is read as it was written, and every prefix goes on", [Schema.Natural], ([value]) => {
    const bytes = Varint.encode(value)
    assert.deepStrictEqual(Varint.decode(bytes, 0), { _tag: "Complete", value, size: bytes.length })
    for (let i = 0; i < bytes.length; i++) {
      assert.strictEqual(Varint.decode(bytes.subarray(0, i), 0)._tag, "Incomplete")
    }
  })

  it.prop("bytes that are read are written the same", [Schema.Uint8Array], ([bytes]) => {
    const decoded = Varint.decode(bytes, 0)
    if (decoded._tag === "Complete") {
      assert.deepStrictEqual(Varint.encode(decoded.value), bytes.slice(0, decoded.size))
    }
  })
})
