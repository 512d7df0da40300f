import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as CheapCrypto from "../../../src/layers/simulation/CheapCrypto.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { Crypto } from "../../../src/services/Crypto.ts"

const crypto = Effect.runSync(Effect.provide(Crypto, CheapCrypto.layer))
const prng = new Prng("cheap")

describe("CheapCrypto", () => {
  it("opens what was sealed, and nothing that was changed or was sealed otherwise", () => {
    const [key, other] = [crypto.aeadKey(prng.bytes(32)), crypto.aeadKey(prng.bytes(32))]
    const [text, associated] = [prng.bytes(101), prng.bytes(7)]
    const sealed = key.seal(3, associated, [text.subarray(0, 40), text.subarray(40)])
    assert.lengthOf(sealed, 117)
    assert.deepStrictEqual(key.open(3, associated, sealed), text)
    assert.isUndefined(key.open(4, associated, sealed))
    assert.isUndefined(key.open(3, text, sealed))
    assert.isUndefined(other.open(3, associated, sealed))
    assert.isUndefined(key.open(3, associated, new Uint8Array(15)))
    for (let i = 0; i < sealed.length; i++) {
      const changed = sealed.slice()
      changed[i] = (changed[i] ?? 0) ^ 1
      assert.isUndefined(key.open(3, associated, changed), `byte ${i}`)
    }
    const into = new Uint8Array(200)
    assert.strictEqual(key.sealInto(9, [text], into, 5), 117)
    const target = new Uint8Array(120)
    assert.strictEqual(key.openInto(9, into.subarray(5, 122), target, 3), 101)
    assert.deepStrictEqual(target.subarray(3, 104), text)
  })

  it("agrees on one secret, and verifies what was signed, by whom it was", () => {
    const [a, b] = [crypto.dhKeyPair(prng.bytes(32)), crypto.dhKeyPair(prng.bytes(32))]
    assert.deepStrictEqual(Result.getOrThrow(a.agree(b.publicKey)), Result.getOrThrow(b.agree(a.publicKey)))
    const random = SecureRandom.make((size) => prng.bytes(size))
    const make = crypto.generateKey("Ed25519").pipe(Effect.provideService(SecureRandom.SecureRandom, random))
    const [one, two] = [Effect.runSync(make), Effect.runSync(make)].map((key) => Result.getOrThrow(crypto.signer(key)))
    if (one === undefined || two === undefined) assert.fail("no keys")
    assert.isFalse(Bytes.equals(one.publicKey.bytes, two.publicKey.bytes))
    const [text, other] = [prng.bytes(50), prng.bytes(50)]
    const verify = (by: typeof one, message: Uint8Array) =>
      Result.getOrThrow(crypto.verify(by.publicKey, message, one.sign(text)))
    assert.deepStrictEqual([verify(one, text), verify(two, text), verify(one, other)], [true, false, false])
  })
})
