import { xsalsa20 } from "@noble/ciphers/salsa.js"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { pattern } from "../../../../src/conformance/ByteStream.ts"
import { Keystream, nonceSize, slack } from "../../../../src/layers/pnet/core/Keystream.ts"

const key = Bytes.fromUtf8("this is 32-byte key for xsalsa20")
const nonce = Bytes.fromUtf8("24-byte nonce for xsalsa")

const apply = (keystream: Keystream, bytes: Uint8Array, position = 0): Uint8Array =>
  Bytes.copy(keystream.apply(bytes, position, new Uint8Array(bytes.length + slack)))

describe("Keystream", () => {
  // golang.org/x/crypto/salsa20 (which has them from libsodium), and NaCl's stream3.
  it("is XSalsa20 as published", () => {
    const keystream = new Keystream(key, nonce)
    assert.strictEqual(Bytes.toHex(apply(keystream, Bytes.fromUtf8("Hello world!"))), "002d4513843fc240c401e541")
    assert.strictEqual(
      Bytes.toHex(apply(keystream, new Uint8Array(64))),
      "4848297feb1fb52fb66d81609bd547fabcbe7026edc8b5e5e449d088bfa69c08" +
        "8f5d8da1d791267c2c195a7f8cae9c4b4050d08ce6d3a151ec265f3a58e47648"
    )
    const nacl = new Keystream(
      Buffer.from("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", "hex"),
      Buffer.from("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", "hex")
    )
    assert.strictEqual(
      Bytes.toHex(apply(nacl, new Uint8Array(32))),
      "eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"
    )
  })

  it.effect.prop(
    "in pieces of any size, it is the whole message in one",
    [Schema.Uint8Array, Schema.Array(Schema.Natural), Schema.Natural],
    ([seed, sizes, length]) =>
      Effect.sync(() => {
        const someKey = new Uint8Array(32)
        const someNonce = new Uint8Array(nonceSize)
        someKey.set(seed.subarray(0, 32))
        someNonce.set(seed.subarray(32, 56))
        const message = pattern(0, length % 2000)
        const whole = xsalsa20(someKey, someNonce, message)
        const keystream = new Keystream(someKey, someNonce)
        const pieces: Array<Uint8Array> = []
        for (let at = 0, i = 0; at < message.length; i++) {
          const size = 1 + ((sizes[i % Math.max(1, sizes.length)] ?? i) % 130)
          // Memory that lies anywhere: bytes of a socket are not aligned.
          const unaligned = new Uint8Array(size + 1).subarray(1)
          unaligned.set(message.subarray(at, at + size))
          pieces.push(apply(keystream, unaligned.subarray(0, Math.min(size, message.length - at)), at))
          at += size
        }
        assert.strictEqual(Bytes.toHex(Bytes.concat(pieces)), Bytes.toHex(whole))
      })
  )

  it("any position is reached at once, and twice is back where it was", () => {
    const keystream = new Keystream(key, nonce)
    const message = pattern(0, 300)
    const whole = xsalsa20(key, nonce, new Uint8Array(5000))
    for (const position of [0, 1, 63, 64, 65, 127, 128, 1000, 4099]) {
      const there = apply(keystream, message, position)
      const expected = message.map((byte, i) => byte ^ (whole[position + i] ?? 0))
      assert.strictEqual(Bytes.toHex(there), Bytes.toHex(expected), `at ${position}`)
      assert.deepStrictEqual(apply(keystream, there, position), message)
    }
  })

  // By golang.org/x/crypto/salsa20/salsa, whose counter has 64 bits.
  it("goes on past 256 GiB, where a counter of 32 bits ends", () => {
    const keystream = new Keystream(key, nonce)
    const blocks = 2 ** 32
    const expected: ReadonlyArray<readonly [number, string]> = [
      [(blocks - 2) * 64, "22f3ee9450d5da1803a03c1586ce5ef9"],
      [(blocks - 1) * 64 + 60, "01fb74b2d7e8376adabe31920b571041"],
      [blocks * 64, "d7e8376adabe31920b5710416909328d"],
      [5 * blocks * 64 + 7 * 64, "ad6905c5d33fb99b0c31a6bc38fd70d6"]
    ]
    for (const [position, hex] of expected) {
      assert.strictEqual(Bytes.toHex(apply(keystream, new Uint8Array(16), position)), hex, `at ${position}`)
    }
    // A piece that begins where the library counts, and ends where it does not.
    const across = apply(keystream, new Uint8Array(300), (blocks - 3) * 64)
    const apart = [0, 64, 128, 192, 256].map((at) =>
      apply(keystream, new Uint8Array(Math.min(64, 300 - at)), (blocks - 3) * 64 + at)
    )
    assert.strictEqual(Bytes.toHex(across), Bytes.toHex(Bytes.concat(apart)))
  })
})
