import { assert, describe, it } from "@effect/vitest"
import { fromBinary, toBinary } from "@bufbuild/protobuf"
import { Result, Schema } from "effect"
import { inspect } from "node:util"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Keys from "../../src/data/Keys.ts"
import { PrivateKeySchema, PublicKeySchema } from "./generated/keys_pb.js"
import { keys } from "../../src/conformance/vectors.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail(`not hexadecimal: ${text}`)
const refused = <A>(result: Result.Result<A, Keys.KeyError>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail("it was accepted")

describe("Keys", () => {
  for (const type of Keys.keyTypes) {
    describe(`${type} keys`, () => {
      const vector = keys[type]
      it("reads and writes the keys of the specification", () => {
        const publicKey = Result.getOrThrow(Keys.decodePublicKey(hex(vector.publicKey)))
        assert.strictEqual(publicKey.type, type)
        assert.strictEqual(Bytes.toHex(Keys.encodePublicKey(publicKey)), vector.publicKey)
        const privateKey = Result.getOrThrow(Keys.decodePrivateKey(hex(vector.privateKey)))
        assert.strictEqual(privateKey.type, type)
        assert.strictEqual(Bytes.toHex(Keys.encodePrivateKey(privateKey)), vector.privateKey)
      })

      it("agrees with generated code", () => {
        const message = fromBinary(PublicKeySchema, hex(vector.publicKey))
        assert.strictEqual(Keys.keyTypes[message.Type], type)
        const key = Result.getOrThrow(Keys.publicKey(type, message.Data))
        assert.deepStrictEqual(Keys.encodePublicKey(key), toBinary(PublicKeySchema, message))
        const secret = fromBinary(PrivateKeySchema, hex(vector.privateKey))
        const privateKey = Result.getOrThrow(Keys.privateKey(type, secret.Data))
        assert.deepStrictEqual(Keys.encodePrivateKey(privateKey), toBinary(PrivateKeySchema, secret))
      })

      it("prints no private key", () => {
        const key = Result.getOrThrow(Keys.decodePrivateKey(hex(vector.privateKey)))
        const inside = vector.privateKey.slice(-16)
        const byte = String(key.bytes.at(-1))
        for (const text of [
          String(key),
          JSON.stringify({ key }),
          inspect({ key }),
          inspect(key, { customInspect: false, showHidden: true, depth: 9 }),
          JSON.stringify(Object.entries(key))
        ]) {
          assert.notInclude(text.toLowerCase(), inside)
          assert.notMatch(text, new RegExp(`\\b${byte}\\b`))
        }
        assert.include(String(key), "redacted")
      })

      it("refuses every key cut short or with more after it", () => {
        const bytes = hex(vector.publicKey)
        for (let i = 0; i < bytes.length; i++) refused(Keys.decodePublicKey(bytes.subarray(0, i)))
        refused(Keys.decodePublicKey(Bytes.concat([bytes, Uint8Array.of(0)])))
        refused(Keys.decodePublicKey(Bytes.concat([bytes, hex("1801")])))
      })
    })
  }

  it("reads the older form of Ed25519 private keys", () => {
    const seed = new Uint8Array(32).fill(1)
    const half = new Uint8Array(32).fill(2)
    const key = Result.getOrThrow(Keys.privateKey("Ed25519", Bytes.concat([seed, half, half])))
    assert.deepStrictEqual(key.bytes, Bytes.concat([seed, half]))
    assert.include(refused(Keys.privateKey("Ed25519", Bytes.concat([seed, half, seed]))), "differ")
  })

  it("says what is wrong", () => {
    assert.strictEqual(
      refused(Keys.publicKey("Ed25519", new Uint8Array(31))),
      "public key: Ed25519 takes 32 bytes, not 31"
    )
    assert.include(refused(Keys.publicKey("secp256k1", new Uint8Array(33))), "compressed")
    assert.include(refused(Keys.publicKey("RSA", new Uint8Array(9))), "DER")
    assert.include(
      refused(Keys.publicKey("RSA", new Uint8Array(Keys.maxPublicKeySize + 1).fill(0x30))),
      "limit of 2048"
    )
    assert.include(refused(Keys.privateKey("secp256k1", new Uint8Array(31))), "32 bytes")
    assert.include(refused(Keys.privateKey("ECDSA", new Uint8Array(9000).fill(0x30))), "limit of 8192")
    assert.include(refused(Keys.privateKey("Ed25519", new Uint8Array(32))), "64 bytes")
    assert.include(refused(Keys.decodePublicKey(hex("0804120130"))), "no key type 4")
    // The fields in the other order, a type that is left out, a length that is not minimal.
    assert.include(refused(Keys.decodePublicKey(hex(`1220${"00".repeat(32)}0801`))), "start with the field Type")
    assert.include(refused(Keys.decodePublicKey(hex("120130"))), "start with the field Type")
    assert.include(refused(Keys.decodePublicKey(hex(`080112a000${"00".repeat(32)}`))), "length")
  })

  it("does not share memory with what it read", () => {
    const bytes = hex(keys.Ed25519.publicKey)
    const key = Result.getOrThrow(Keys.decodePublicKey(bytes))
    bytes.fill(0)
    assert.strictEqual(Bytes.toHex(Keys.encodePublicKey(key)), keys.Ed25519.publicKey)
  })

  it.prop("never throws, and what is read is written the same", [Schema.Uint8Array], ([noise]) => {
    for (const start of ["", "0801", "080112", "08011220", "080012"]) {
      const bytes = Bytes.concat([hex(start), noise])
      const read = Keys.decodePublicKey(bytes)
      if (Result.isSuccess(read)) assert.deepStrictEqual(Keys.encodePublicKey(read.success), bytes)
      const secret = Keys.decodePrivateKey(bytes)
      if (Result.isSuccess(secret)) assert.isAtMost(Keys.encodePrivateKey(secret.success).length, bytes.length)
    }
  })
})
