import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as LengthPrefix from "../../src/data/LengthPrefix.ts"

describe("LengthPrefix", () => {
  it.effect.prop(
    "any messages survive any segmentation",
    [Schema.Array(Schema.Uint8Array), Schema.Natural],
    ([messages, seed]) =>
      Effect.sync(() => {
        const wire = Bytes.concat(messages.map(LengthPrefix.encode))
        const decoder = new LengthPrefix.Decoder()
        const read: Array<Uint8Array> = []
        const step = 1 + (seed % 17)
        for (let i = 0; i < wire.length; i += step) {
          decoder.push(wire.subarray(i, i + step))
          for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
            assert.instanceOf(next, Uint8Array)
            if (next instanceof Uint8Array) read.push(next)
          }
        }
        assert.deepStrictEqual(read.map(Bytes.toHex), messages.map(Bytes.toHex))
        assert.isFalse(decoder.partial)
      })
  )

  it("refuses a prefix of 4 GiB at once, and knows when it is in the middle of a message", () => {
    const decoder = new LengthPrefix.Decoder(100)
    decoder.push(Uint8Array.from([0x80, 0x80, 0x80, 0x80]))
    assert.isUndefined(decoder.next())
    assert.isTrue(decoder.partial)
    decoder.push(Uint8Array.from([0x10]))
    assert.deepStrictEqual(decoder.next(), {
      _tag: "LengthRefused",
      detail: "a message of 4294967296 bytes, over the limit of 100"
    })
  })

  it("refuses a length that is no varint", () => {
    const decoder = new LengthPrefix.Decoder()
    decoder.push(new Uint8Array(10).fill(0x80))
    assert.deepStrictEqual(decoder.next(), { _tag: "LengthRefused", detail: "a length that is too long" })
  })
})
