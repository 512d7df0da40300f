import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as NobleCrypto from "../../../src/layers/crypto/NobleCrypto.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import { countingRandom, cryptoSuite, vectors } from "../../../src/conformance/Crypto.ts"

cryptoSuite("Node", NodeCrypto.layer, { signsRsa: true })
cryptoSuite("noble", NobleCrypto.layer, { signsRsa: false })

const node = NodeCrypto.make()
const noble = NobleCrypto.make()
const pairs = [
  ["Node", node, "noble", noble],
  ["noble", noble, "Node", node]
] as const

describe("the layers agree", () => {
  for (const [signerName, signs, verifierName, verifies] of pairs) {
    for (const { name, privateKey, publicKey } of vectors) {
      if (publicKey.type === "RSA" && signs === noble) continue
      it(`what ${signerName} signs with ${name}, ${verifierName} verifies`, () => {
        const signer = Result.getOrThrow(signs.signer(privateKey))
        for (let i = 0; i < 10; i++) {
          const message = Uint8Array.of(i)
          assert.isTrue(Result.getOrThrow(verifies.verify(signer.publicKey, message, signer.sign(message))))
        }
      })
    }
  }

  it("on Ed25519 signatures", () => {
    const { privateKey } = vectors.find((vector) => vector.publicKey.type === "Ed25519") ?? assert.fail()
    const message = Uint8Array.of(1)
    assert.deepStrictEqual(
      Result.getOrThrow(node.signer(privateKey)).sign(message),
      Result.getOrThrow(noble.signer(privateKey)).sign(message)
    )
  })

  it("on secp256k1 signatures with the higher s, which stacks differ in making", () => {
    const { privateKey, publicKey } = vectors.find((vector) => vector.publicKey.type === "secp256k1") ?? assert.fail()
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
    const message = Uint8Array.of(1)
    const low = Result.getOrThrow(noble.signer(privateKey)).sign(message)
    const rEnd = 4 + (low[3] ?? 0)
    const s = order - BigInt(`0x${Bytes.toHex(low.subarray(rEnd + 2))}`)
    const sBytes = Bytes.concat([Uint8Array.of(0), Bytes.fromHex(s.toString(16).padStart(64, "0")) ?? assert.fail()])
    const body = Bytes.concat([low.subarray(2, rEnd), Uint8Array.of(2, sBytes.length), sBytes])
    const high = Bytes.concat([Uint8Array.of(0x30, body.length), body])
    assert.isTrue(Result.getOrThrow(node.verify(publicKey, message, high)))
    assert.isTrue(Result.getOrThrow(noble.verify(publicKey, message, high)))
  })

  it("on X25519", () => {
    for (let i = 1; i < 10; i++) {
      const a = node.dhKeyPair(new Uint8Array(32).fill(i))
      const b = noble.dhKeyPair(new Uint8Array(32).fill(i))
      assert.deepStrictEqual(a.publicKey, b.publicKey)
      const other = noble.dhKeyPair(new Uint8Array(32).fill(i + 100)).publicKey
      assert.deepStrictEqual(Result.getOrThrow(a.agree(other)), Result.getOrThrow(b.agree(other)))
    }
  })

  it("on every byte of ChaCha20-Poly1305, counters beyond 32 bits included", () => {
    const secret = Uint8Array.from({ length: 32 }, (_, i) => i * 7)
    const a = node.aeadKey(secret)
    const b = noble.aeadKey(secret)
    for (const counter of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
      // On both sides of the size from which on OpenSSL is the faster one.
      for (const size of [0, 1, 15, 16, 17, 63, 64, 65, 383, 384, 385, 1000, 65519]) {
        const plaintext = Uint8Array.from({ length: size }, (_, i) => i)
        const associated = Uint8Array.from({ length: size % 41 }, (_, i) => i)
        const sealed = a.seal(counter, associated, [plaintext])
        assert.isTrue(Bytes.equals(sealed, b.seal(counter, associated, [plaintext])))
        assert.isTrue(Bytes.equals(plaintext, b.open(counter, associated, sealed) ?? assert.fail()))
        assert.isTrue(Bytes.equals(plaintext, a.open(counter, associated, sealed) ?? assert.fail()))
      }
    }
  })

  it.prop(
    "on ChaCha20-Poly1305 in parts, of any size and beside any data",
    [Schema.Uint8Array, Schema.Uint8Array, Schema.Array(Schema.Uint8Array), Schema.Int],
    ([secret, associated, parts, number]) => {
      const key = NodeCrypto.make().sha256(secret)
      const counter = Math.abs(number)
      const sealed = node.aeadKey(key).seal(counter, associated, parts)
      assert.deepStrictEqual(sealed, noble.aeadKey(key).seal(counter, associated, parts))
      assert.deepStrictEqual(node.aeadKey(key).open(counter, associated, sealed), Bytes.concat(parts))
      const changed = Uint8Array.from(sealed)
      const at = counter % sealed.length
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.isUndefined(node.aeadKey(key).open(counter, associated, changed))
    }
  )

  for (const type of ["Ed25519", "secp256k1", "ECDSA"] as const) {
    it.effect(`on the ${type} key made of the same entropy`, () =>
      Effect.gen(function* () {
        const [a, b] = yield* Effect.all(
          [node, noble].map((crypto) =>
            Effect.provideService(crypto.generateKey(type), SecureRandom.SecureRandom, countingRandom())
          )
        )
        assert.deepStrictEqual(a?.bytes, b?.bytes)
      })
    )
  }
})

describe("RSA", () => {
  it.live("Node makes keys that both layers can use", () =>
    Effect.gen(function* () {
      const key = yield* node.generateKey("RSA")
      const signer = Result.getOrThrow(node.signer(key))
      const message = Uint8Array.of(1, 2)
      const signature = signer.sign(message)
      assert.isTrue(Result.getOrThrow(noble.verify(signer.publicKey, message, signature)))
      assert.isFalse(
        Result.getOrThrow(
          noble.verify(
            signer.publicKey,
            message,
            signature.map((byte) => byte ^ 1)
          )
        )
      )
    }).pipe(Effect.provideService(SecureRandom.SecureRandom, countingRandom()))
  )

  it.effect("keys of other sizes are not made", () =>
    Effect.gen(function* () {
      for (const rsaBits of [1024, 8200, 2048.5, Number.NaN]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(node.generateKey("RSA", { rsaBits }))))
      }
      assert.isTrue(Exit.isFailure(yield* Effect.exit(noble.generateKey("RSA"))))
    }).pipe(Effect.provideService(SecureRandom.SecureRandom, countingRandom()))
  )
})
