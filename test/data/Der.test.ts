import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Der from "../../src/data/Der.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail()

describe("Der", () => {
  it("writes lengths in the shortest form", () => {
    for (const [size, header] of [
      [0, "0400"],
      [127, "047f"],
      [128, "048180"],
      [255, "0481ff"],
      [256, "04820100"],
      [65_535, "0482ffff"]
    ] as const) {
      const whole = Der.encode(Der.tags.octetString, new Uint8Array(size))
      assert.strictEqual(Bytes.toHex(whole.subarray(0, header.length / 2)), header)
      assert.strictEqual(Der.only(whole, Der.tags.octetString)?.body.length, size)
    }
  })

  for (const [title, text] of [
    ["nothing", ""],
    ["a tag alone", "30"],
    ["a body cut off", "3003020101".slice(0, 8)],
    ["a length of one byte in two", "30810302010100"],
    ["a length of two bytes in three", `308200ff${"00".repeat(255)}`],
    ["a length of three bytes", `3083010000${"00".repeat(65_536)}`],
    ["an indefinite length", "30800000"],
    ["a tag of more bytes", "3f8101020101"]
  ] as const) {
    it(`refuses ${title}`, () => {
      assert.isUndefined(Der.element(hex(text), 0))
    })
  }

  it("takes an element for all of the bytes only if it is", () => {
    assert.isUndefined(Der.only(hex("0201010500"), Der.tags.integer))
    assert.isUndefined(Der.only(hex("020101"), Der.tags.boolean))
    assert.strictEqual(Der.sequence(hex("30060201010201ff"))?.length, 2)
    assert.isUndefined(Der.sequence(hex("30050201010201")))
  })

  it("writes and shows object identifiers", () => {
    // RFC 5280 and the IANA number of libp2p.
    for (const [text, bytes] of [
      ["1.2.840.10045.4.3.2", "06082a8648ce3d040302"],
      ["2.5.29.15", "0603551d0f"],
      ["1.3.6.1.4.1.53594.1.1", "060a2b0601040183a25a0101"]
    ] as const) {
      assert.strictEqual(Bytes.toHex(Der.encodeOid(text)), bytes)
      assert.strictEqual(Der.oidText(hex(bytes).subarray(2)), text)
    }
  })

  it.prop("reads what it wrote, and never throws", [Schema.Uint8Array, Schema.Uint8Array], ([first, second]) => {
    const whole = Der.encode(Der.tags.sequence, Der.encode(Der.tags.octetString, first), Der.encodeBits(second))
    const [octets, bits] = Der.sequence(whole) ?? []
    assert.deepStrictEqual(octets?.body, first)
    assert.deepStrictEqual(Der.bits(bits), second)
    const read = Der.elements(first) ?? []
    assert.isAtMost(
      read.reduce((size, element) => size + element.whole.length, 0),
      first.length
    )
    assert.isString(Der.oidText(first))
  })
})
