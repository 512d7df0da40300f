/** What the layers of Crypto have in common, so that they accept the same keys and make the same ones. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { type KeyType, PrivateKey } from "../../data/Keys.ts"
import { CryptoError } from "../../services/Crypto.ts"
import * as Der from "./Der.ts"

export type Operation = CryptoError["operation"]

export const fail = (operation: Operation, detail: string): Result.Result<never, CryptoError> =>
  Result.fail(new CryptoError({ operation, detail }))

/** Runs a call into a library that throws. `detail` stands for its words, which may quote key bytes. */
export const attempt = <A>(operation: Operation, detail: string, f: () => A): Result.Result<A, CryptoError> =>
  Result.try({ try: f, catch: () => new CryptoError({ operation, detail }) })

const nonce = new Uint8Array(12)
const nonceView = new DataView(nonce.buffer)

/** A nonce of Noise. It is the same memory each time, for ciphers that are done with it when they return. */
export const nonceOf = (counter: number): Uint8Array => {
  nonceView.setUint32(4, counter >>> 0, true)
  nonceView.setUint32(8, Math.floor(counter / 0x100000000), true)
  return nonce
}

const order = {
  secp256k1: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
  ECDSA: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
}

/** True for a private scalar of the curve: from 1 to its order less 1. */
export const isScalar = (type: "secp256k1" | "ECDSA", bytes: Uint8Array): boolean => {
  const value = Der.toBigInt(bytes)
  return value > 0n && value < order[type]
}

/**
 * A signature with the lower of its two values of `s`, as Bitcoin requires and
 * some stacks insist on.
 */
export const lowS = (signature: Uint8Array): Uint8Array => {
  const numbers = Der.decodeSignature(signature)
  if (numbers === undefined || numbers.s <= order.secp256k1 / 2n) return signature
  return Der.encodeSignature(numbers.r, order.secp256k1 - numbers.s)
}

/** Computes public points; what generating a key needs of a library. */
export interface Points {
  /** The 32 bytes that belong to an Ed25519 seed. */
  readonly ed25519: (seed: Uint8Array) => Uint8Array
  /** The 65 bytes that belong to a P-256 scalar. */
  readonly p256: (scalar: Uint8Array) => Uint8Array
}

const scalar = (type: "secp256k1" | "ECDSA", random: SecureRandom.SecureRandom["Service"]): Effect.Effect<Uint8Array> =>
  // Refused with a chance of 2^-32 at most, so this ends.
  Effect.flatMap(random.randomBytes(32), (bytes) =>
    isScalar(type, bytes) ? Effect.succeed(bytes) : scalar(type, random)
  )

/** A key of any type but RSA, from entropy alone: every layer makes the same key of the same entropy. */
export const generate = (
  type: Exclude<KeyType, "RSA">,
  points: Points
): Effect.Effect<PrivateKey, never, SecureRandom.SecureRandom> =>
  Effect.gen(function* () {
    const random = yield* SecureRandom.SecureRandom
    switch (type) {
      case "Ed25519": {
        const bytes = new Uint8Array(64)
        bytes.set(yield* random.randomBytes(32))
        bytes.set(points.ed25519(bytes.subarray(0, 32)), 32)
        return new PrivateKey(type, bytes)
      }
      case "secp256k1":
        return new PrivateKey(type, yield* scalar(type, random))
      case "ECDSA": {
        const bytes = yield* scalar(type, random)
        return new PrivateKey(type, Der.p256PrivateKey(bytes, points.p256(bytes)))
      }
    }
  })
