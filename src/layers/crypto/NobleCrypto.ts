/**
 * Crypto in portable TypeScript (the noble libraries), for runtimes without
 * node:crypto, and the oracle that the Node layer is tested against. About ten
 * times slower. Every result follows from its arguments alone.
 *
 * RSA: signatures are verified, since many peers have RSA keys. Signing and
 * making keys is refused: arithmetic on secret numbers in plain `bigint`s
 * takes a time that tells about them.
 */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js"
import { ed25519, x25519 } from "@noble/curves/ed25519.js"
import { p256 } from "@noble/curves/nist.js"
import { secp256k1 } from "@noble/curves/secp256k1.js"
import { hkdf } from "@noble/hashes/hkdf.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import type { PublicKey } from "../../data/Keys.ts"
import { type AeadKey, Crypto, CryptoError, type DhKeyPair } from "../../services/Crypto.ts"
import { attempt, fail, generate, isScalar, nonceOf } from "./Common.ts"
import * as Der from "./Der.ts"

type Service = Crypto["Service"]

const dhKeyPair = (seed: Uint8Array): DhKeyPair => {
  const secret = Uint8Array.from(seed)
  return {
    publicKey: x25519.getPublicKey(secret),
    agree: (remote) => {
      if (remote.length !== 32) return fail("agree", `an X25519 public key has 32 bytes, not ${remote.length}`)
      return attempt("agree", "the X25519 public key is of low order", () => x25519.getSharedSecret(secret, remote))
    }
  }
}

const tagSize = 16
const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  return Bytes.concat(parts)
}

/** A ChaCha20-Poly1305 key in portable code. */
export const aeadKey = (key: Uint8Array): AeadKey => {
  const secret = Uint8Array.from(key)
  return {
    seal: (counter, associated, parts) => chacha20poly1305(secret, nonceOf(counter), associated).encrypt(join(parts)),
    sealInto: (counter, parts, target, offset) => {
      const plaintext = join(parts)
      const size = plaintext.length + tagSize
      chacha20poly1305(secret, nonceOf(counter)).encrypt(plaintext, target.subarray(offset, offset + size))
      return size
    },
    open: (counter, associated, sealed) => {
      if (sealed.length < tagSize) return undefined
      try {
        return chacha20poly1305(secret, nonceOf(counter), associated).decrypt(sealed)
      } catch {
        return undefined
      }
    },
    openInto: (counter, sealed, target, offset) => {
      const size = sealed.length - tagSize
      if (size < 0) return undefined
      try {
        chacha20poly1305(secret, nonceOf(counter)).decrypt(sealed, target.subarray(offset, offset + size))
        return size
      } catch {
        return undefined
      }
    }
  }
}

const signing = { format: "der" } as const
const verifying = { format: "der", lowS: false } as const

const signer: Service["signer"] = (key) => {
  const bytes = Uint8Array.from(key.bytes)
  switch (key.type) {
    case "Ed25519": {
      if (bytes.length !== 64) return fail("import", `an Ed25519 private key has 64 bytes, not ${bytes.length}`)
      const seed = bytes.subarray(0, 32)
      const point = ed25519.getPublicKey(seed)
      return Bytes.equals(point, bytes.subarray(32))
        ? Result.succeed({
            publicKey: { type: "Ed25519", bytes: point },
            sign: (message) => ed25519.sign(message, seed)
          })
        : fail("import", "the public half of the Ed25519 key does not belong to its seed")
    }
    case "secp256k1":
      return bytes.length === 32 && isScalar("secp256k1", bytes)
        ? Result.succeed({
            publicKey: { type: "secp256k1", bytes: secp256k1.getPublicKey(bytes, true) },
            sign: (message) => secp256k1.sign(message, bytes, signing)
          })
        : fail("import", "a secp256k1 private key is a number of 32 bytes, above 0 and below the curve's order")
    case "ECDSA": {
      const parsed = Der.p256Scalar(bytes)
      if (parsed === undefined || !isScalar("ECDSA", parsed.scalar)) {
        return fail("import", "not an ECDSA private key on P-256 in DER (SEC 1)")
      }
      const point = p256.getPublicKey(parsed.scalar, false)
      if (parsed.point !== undefined && !Bytes.equals(parsed.point, point)) {
        return fail("import", "the public half of the ECDSA key does not belong to its private half")
      }
      return Result.succeed({
        publicKey: { type: "ECDSA", bytes: Der.p256PublicKey(point) },
        sign: (message) => p256.sign(message, parsed.scalar, signing)
      })
    }
    case "RSA":
      return fail("import", "the portable layer does not sign with RSA keys; use NodeCrypto, or an Ed25519 key")
  }
}

// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2.2): compare with the one padded digest that is right.

const digestInfo = Uint8Array.from([
  0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20
])

const power = (base: bigint, exponent: bigint, modulus: bigint): bigint => {
  let result = 1n
  for (const bit of exponent.toString(2)) {
    result = (result * result) % modulus
    if (bit === "1") result = (result * base) % modulus
  }
  return result
}

const verifyRsa = (key: PublicKey, message: Uint8Array, signature: Uint8Array): Result.Result<boolean, CryptoError> => {
  const parsed = Der.rsaPublicKey(key.bytes)
  const wrong = Der.checkRsa(parsed)
  if (parsed === undefined || wrong !== undefined) return fail("import", wrong ?? "not an RSA public key")
  const size = Math.ceil(Der.bitLength(parsed.modulus) / 8)
  const value = Der.toBigInt(signature)
  if (signature.length !== size || value >= parsed.modulus) return Result.succeed(false)
  const expected = new Uint8Array(size).fill(0xff)
  expected[0] = 0
  expected[1] = 1
  const digest = size - 32
  expected[digest - digestInfo.length - 1] = 0
  expected.set(digestInfo, digest - digestInfo.length)
  expected.set(sha256(message), digest)
  return Result.succeed(Bytes.equals(expected, Der.fromBigInt(power(value, parsed.exponent, parsed.modulus), size)))
}

/** noble throws for a malformed signature, which is no more than a signature that does not hold. */
const holds = (f: () => boolean): boolean => {
  try {
    return f()
  } catch {
    return false
  }
}

const verify: Service["verify"] = (key, message, signature) => {
  switch (key.type) {
    case "Ed25519":
      if (key.bytes.length !== 32) return fail("import", `an Ed25519 public key has 32 bytes, not ${key.bytes.length}`)
      // The rules of RFC 8032, as OpenSSL has them, not the looser ones of ZIP 215.
      return Result.succeed(holds(() => ed25519.verify(signature, message, key.bytes, { zip215: false })))
    case "secp256k1":
      if (!secp256k1.utils.isValidPublicKey(key.bytes, true)) return fail("import", "not a point of secp256k1")
      return Result.succeed(holds(() => secp256k1.verify(signature, message, key.bytes, verifying)))
    case "ECDSA": {
      const point = Der.p256Point(key.bytes)
      if (point === undefined) return fail("import", "not an ECDSA public key on P-256 in DER (PKIX)")
      if (!p256.utils.isValidPublicKey(point, false)) return fail("import", "not a point of P-256")
      return Result.succeed(holds(() => p256.verify(signature, message, point, verifying)))
    }
    case "RSA":
      return verifyRsa(key, message, signature)
  }
}

const points = {
  ed25519: (seed: Uint8Array) => ed25519.getPublicKey(seed),
  p256: (scalar: Uint8Array) => p256.getPublicKey(scalar, false)
}

const generateKey: Service["generateKey"] = (type) =>
  type === "RSA"
    ? Effect.fail(
        new CryptoError({ operation: "generate", detail: "the portable layer makes no RSA keys; use NodeCrypto" })
      )
    : generate(type, points)

/** A Crypto in portable code. */
export const make = (): Service =>
  Crypto.of({
    sha256: (bytes) => sha256(bytes),
    hkdfSha256: (salt, input, info, length) => hkdf(sha256, input, salt, info, length),
    dhKeyPair,
    aeadKey,
    signer,
    verify,
    generateKey
  })

/** Crypto in portable code, with no need of Node. */
export const layer: Layer.Layer<Crypto> = Layer.sync(Crypto, make)
