/** What every layer of Crypto must do. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../data/Bytes.ts"
import * as Keys from "../data/Keys.ts"
import { Crypto, CryptoError } from "../services/Crypto.ts"
import * as specification from "./vectors.ts"

export const hex = (text: string): Uint8Array => {
  const bytes = Bytes.fromHex(text)
  if (bytes === undefined) throw new Error(`not hexadecimal: ${text}`)
  return bytes
}

/** Entropy that is 1, 2, 3, … in every byte of each draw. */
export const countingRandom = (): SecureRandom.SecureRandom["Service"] => {
  let draws = 0
  return SecureRandom.make((size) => {
    draws += 1
    return new Uint8Array(size).fill(draws)
  })
}

/** The test vectors of the peer-ids specification. */
export const vectors = Object.entries(specification.keys).map(([name, keys]) => ({
  name,
  privateKey: Result.getOrThrow(Keys.decodePrivateKey(hex(keys.privateKey))),
  publicKey: Result.getOrThrow(Keys.decodePublicKey(hex(keys.publicKey)))
}))

const message = Bytes.fromUtf8("a message to be signed")
const nothing = new Uint8Array(0)

export interface CryptoSuiteOptions {
  /** Whether the layer signs with RSA keys. */
  readonly signsRsa: boolean
}

export const cryptoSuite = (name: string, layer: Layer.Layer<Crypto>, options: CryptoSuiteOptions): void => {
  const test = (title: string, body: (crypto: Crypto["Service"]) => void) =>
    it.effect(title, () => Effect.map(Crypto, body).pipe(Effect.provide(layer)))
  const signing = vectors.filter((vector) => options.signsRsa || vector.publicKey.type !== "RSA")

  describe(`${name}: hashes`, () => {
    test("SHA-256 of FIPS 180-2", (crypto) => {
      assert.strictEqual(
        Bytes.toHex(crypto.sha256(Bytes.fromUtf8("abc"))),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
      )
    })

    test("HKDF of RFC 5869, cases 1 and 3", (crypto) => {
      const input = new Uint8Array(22).fill(0x0b)
      assert.strictEqual(
        Bytes.toHex(crypto.hkdfSha256(hex("000102030405060708090a0b0c"), input, hex("f0f1f2f3f4f5f6f7f8f9"), 42)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
      )
      assert.strictEqual(
        Bytes.toHex(crypto.hkdfSha256(nothing, input, nothing, 42)),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
      )
    })

    test("HKDF of no input, as Noise splits its keys", (crypto) => {
      assert.strictEqual(crypto.hkdfSha256(new Uint8Array(32), nothing, nothing, 64).length, 64)
    })
  })

  describe(`${name}: X25519`, () => {
    test("the key agreement of RFC 7748, section 6.1", (crypto) => {
      const alice = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
      const bob = crypto.dhKeyPair(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
      assert.strictEqual(Bytes.toHex(bob.publicKey), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
      assert.strictEqual(
        Bytes.toHex(Result.getOrThrow(bob.agree(alice))),
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
      )
    })

    test("a public key of low order is refused", (crypto) => {
      const pair = crypto.dhKeyPair(new Uint8Array(32).fill(9))
      const one = new Uint8Array(32)
      one[0] = 1
      for (const point of [
        new Uint8Array(32),
        one,
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
      ]) {
        const agreed = pair.agree(point)
        assert.isTrue(Result.isFailure(agreed) && agreed.failure instanceof CryptoError)
      }
    })

    test("a public key of another length is refused", (crypto) => {
      assert.isTrue(Result.isFailure(crypto.dhKeyPair(new Uint8Array(32).fill(9)).agree(new Uint8Array(31))))
    })
  })

  describe(`${name}: ChaCha20-Poly1305`, () => {
    test("a message of several parts is the same as of one, in memory of its own", (crypto) => {
      const key = crypto.aeadKey(new Uint8Array(32).fill(3))
      const whole = Uint8Array.from({ length: 300 }, (_, i) => i)
      const associated = Uint8Array.of(1, 2)
      const one = key.seal(5, associated, [whole])
      const many = key.seal(5, associated, [whole.subarray(0, 10), nothing, whole.subarray(10, 11), whole.subarray(11)])
      assert.deepStrictEqual(one, many)
      assert.strictEqual(one.length, 316)
      const opened = key.open(5, associated, one)
      one.fill(0)
      assert.deepStrictEqual(opened, whole)
    })

    test("sealInto writes at its offset and nowhere else", (crypto) => {
      const key = crypto.aeadKey(new Uint8Array(32).fill(3))
      const target = new Uint8Array(40).fill(0xee)
      assert.strictEqual(key.sealInto(1, [Uint8Array.of(1), Uint8Array.of(2, 3)], target, 2), 19)
      assert.deepStrictEqual(target.slice(2, 21), key.seal(1, nothing, [Uint8Array.of(1, 2, 3)]))
      assert.deepStrictEqual(target.slice(0, 2), new Uint8Array(2).fill(0xee))
      assert.deepStrictEqual(target.slice(21), new Uint8Array(19).fill(0xee))
    })

    test("openInto writes at its offset what open gives, of a message of any size", (crypto) => {
      const key = crypto.aeadKey(new Uint8Array(32).fill(3))
      for (const size of [0, 1, 15, 16, 17, 64, 4095, 4096, 4097, 65_519]) {
        const message = Uint8Array.from({ length: size }, (_, i) => i * 7)
        const sealed = key.seal(size, nothing, [message])
        const target = new Uint8Array(size + 5).fill(0xee)
        assert.strictEqual(key.openInto(size, sealed, target, 2), size)
        assert.deepStrictEqual(target.slice(2, 2 + size), message)
        assert.deepStrictEqual(target.slice(0, 2), new Uint8Array(2).fill(0xee))
        assert.deepStrictEqual(target.slice(2 + size), new Uint8Array(3).fill(0xee))
        const written = new Uint8Array(sealed.length + 1)
        assert.strictEqual(key.sealInto(size, [message], written, 1), sealed.length)
        assert.deepStrictEqual(written.slice(1), sealed)
        assert.deepStrictEqual(
          message,
          Uint8Array.from({ length: size }, (_, i) => i * 7),
          "what is given is left alone"
        )
        assert.deepStrictEqual(key.open(size, nothing, sealed), message)
        assert.isUndefined(key.openInto(size + 1, sealed, target, 2))
        sealed[size >> 1] = (sealed[size >> 1] ?? 0) ^ 1
        assert.isUndefined(key.openInto(size, sealed, target, 2))
      }
      assert.isUndefined(key.openInto(0, new Uint8Array(15), new Uint8Array(16), 0))
    })

    test("an empty message has a tag", (crypto) => {
      const key = crypto.aeadKey(new Uint8Array(32).fill(3))
      const sealed = key.seal(0, nothing, [])
      assert.strictEqual(sealed.length, 16)
      assert.deepStrictEqual(key.open(0, nothing, sealed), nothing)
    })

    test("any change is noticed: a byte, the counter, what is associated, the length", (crypto) => {
      const key = crypto.aeadKey(new Uint8Array(32).fill(3))
      const sealed = key.seal(7, Uint8Array.of(1), [Uint8Array.of(1, 2, 3)])
      for (let i = 0; i < sealed.length; i++) {
        const changed = Uint8Array.from(sealed, (byte, j) => (i === j ? byte ^ 0x80 : byte))
        assert.isUndefined(key.open(7, Uint8Array.of(1), changed))
      }
      assert.isUndefined(key.open(8, Uint8Array.of(1), sealed))
      assert.isUndefined(key.open(7 + 2 ** 32, Uint8Array.of(1), sealed))
      assert.isUndefined(key.open(7, Uint8Array.of(2), sealed))
      assert.isUndefined(key.open(7, nothing, sealed))
      for (let n = 0; n < sealed.length; n++) assert.isUndefined(key.open(7, Uint8Array.of(1), sealed.subarray(0, n)))
      assert.deepStrictEqual(key.open(7, Uint8Array.of(1), sealed), Uint8Array.of(1, 2, 3))
    })
  })

  describe(`${name}: identity keys`, () => {
    for (const { name: type, privateKey, publicKey } of signing) {
      test(`${type}: the specification's private key gives its public key`, (crypto) => {
        assert.isTrue(Keys.equals(Result.getOrThrow(crypto.signer(privateKey)).publicKey, publicKey))
      })

      test(`${type}: verifies what it signs, and nothing else`, (crypto) => {
        const signature = Result.getOrThrow(crypto.signer(privateKey)).sign(message)
        assert.isTrue(Result.getOrThrow(crypto.verify(publicKey, message, signature)))
        assert.isTrue(Result.getOrThrow(crypto.verify(publicKey, message, signature)), "with the key kept ready")
        assert.isFalse(Result.getOrThrow(crypto.verify(publicKey, message.subarray(1), signature)))
        const changed = Uint8Array.from(signature)
        changed[signature.length - 1] = (changed[signature.length - 1] ?? 0) ^ 1
        assert.isFalse(Result.getOrThrow(crypto.verify(publicKey, message, changed)))
        for (const bad of [nothing, signature.subarray(1), new Uint8Array(64), new Uint8Array(600).fill(0x30)]) {
          assert.isFalse(Result.getOrThrow(crypto.verify(publicKey, message, bad)))
        }
      })
    }

    test("secp256k1 signatures have the lower s", (crypto) => {
      const half = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n
      const { privateKey } = vectors.find((vector) => vector.publicKey.type === "secp256k1") ?? assert.fail()
      const signer = Result.getOrThrow(crypto.signer(privateKey))
      for (let i = 0; i < 20; i++) {
        const der = signer.sign(Uint8Array.of(i))
        const start = 4 + (der[3] ?? 0) + 2
        assert.isTrue(BigInt(`0x${Bytes.toHex(der.subarray(start))}`) <= half)
      }
    })

    test("a signature of another key does not hold", (crypto) => {
      for (const type of ["Ed25519", "secp256k1"] as const) {
        const { privateKey, publicKey } = vectors.find((vector) => vector.publicKey.type === type) ?? assert.fail()
        const other = Uint8Array.from(privateKey.bytes)
        if (type === "Ed25519") {
          const signature = Result.getOrThrow(crypto.signer(privateKey)).sign(message)
          const stranger: Keys.PublicKey = { type, bytes: crypto.dhKeyPair(other.subarray(0, 32)).publicKey }
          assert.isFalse(Result.getOrElse(crypto.verify(stranger, message, signature), () => false))
        } else {
          other[31] = (other[31] ?? 0) ^ 1
          const signature = Result.getOrThrow(crypto.signer(new Keys.PrivateKey(type, other))).sign(message)
          assert.isFalse(Result.getOrThrow(crypto.verify(publicKey, message, signature)))
        }
      }
    })

    test("an Ed25519 key whose halves do not belong together is refused", (crypto) => {
      const { privateKey } = vectors.find((vector) => vector.publicKey.type === "Ed25519") ?? assert.fail()
      const bytes = Uint8Array.from(privateKey.bytes)
      bytes[40] = (bytes[40] ?? 0) ^ 1
      const made = crypto.signer(new Keys.PrivateKey("Ed25519", bytes))
      assert.isTrue(Result.isFailure(made))
    })

    test("private keys out of range or malformed are refused, never thrown", (crypto) => {
      const order = hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
      for (const key of [
        new Keys.PrivateKey("secp256k1", new Uint8Array(32)),
        new Keys.PrivateKey("secp256k1", order),
        new Keys.PrivateKey("secp256k1", new Uint8Array(31).fill(1)),
        new Keys.PrivateKey("Ed25519", new Uint8Array(0)),
        new Keys.PrivateKey("ECDSA", Uint8Array.of(0x30, 0)),
        new Keys.PrivateKey("ECDSA", new Uint8Array(121).fill(0x30)),
        new Keys.PrivateKey("RSA", Uint8Array.of(0x30, 0))
      ])
        assert.isTrue(Result.isFailure(crypto.signer(key)), `${key.type} of ${key.bytes.length} bytes`)
    })

    test("public keys that are no points, or malformed, are refused, never thrown", (crypto) => {
      const p256 = vectors.find((vector) => vector.publicKey.type === "ECDSA") ?? assert.fail()
      const off = Uint8Array.from(p256.publicKey.bytes)
      off[90] = (off[90] ?? 0) ^ 1
      const outside = new Uint8Array(33).fill(0xff)
      outside[0] = 2
      for (const key of [
        { type: "ECDSA", bytes: off },
        { type: "ECDSA", bytes: off.subarray(1) },
        { type: "secp256k1", bytes: outside },
        { type: "secp256k1", bytes: nothing },
        { type: "Ed25519", bytes: new Uint8Array(31) },
        { type: "RSA", bytes: Uint8Array.of(0x30, 0) }
      ] as const)
        assert.isTrue(Result.isFailure(crypto.verify(key, message, new Uint8Array(64))), key.type)
    })

    test("random bytes as keys and signatures never throw", (crypto) => {
      let state = 1
      const next = () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 24
      for (let i = 0; i < 300; i++) {
        const bytes = Uint8Array.from({ length: next() }, next)
        const type = Keys.keyTypes[i % 4] ?? "RSA"
        crypto.verify({ type, bytes }, message, bytes)
        crypto.signer(new Keys.PrivateKey(type, bytes))
      }
    })

    test("RSA keys below 2048 bits are refused", (crypto) => {
      const modulus = new Uint8Array(129).fill(0xff)
      modulus[0] = 0
      const key = Bytes.concat([
        hex("30819f300d06092a864886f70d010101050003818d0030818902818100".slice(0, -2)),
        modulus,
        hex("0203010001")
      ])
      const verified = crypto.verify({ type: "RSA", bytes: key }, message, new Uint8Array(128))
      assert.isTrue(Result.isFailure(verified) && verified.failure.detail.includes("1024 bits"))
    })

    for (const type of ["Ed25519", "secp256k1", "ECDSA"] as const) {
      it.effect(`makes ${type} keys of entropy alone, that sign`, () =>
        Effect.gen(function* () {
          const crypto = yield* Crypto
          const make = Effect.suspend(() =>
            crypto.generateKey(type).pipe(Effect.provideService(SecureRandom.SecureRandom, countingRandom()))
          )
          const key = yield* make
          assert.deepStrictEqual(key.bytes, (yield* make).bytes)
          const signer = Result.getOrThrow(crypto.signer(key))
          assert.isTrue(Result.getOrThrow(crypto.verify(signer.publicKey, message, signer.sign(message))))
        }).pipe(Effect.provide(layer))
      )
    }
  })
}
