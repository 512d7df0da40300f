/**
 * Crypto that protects nothing and costs little, for simulations of many nodes:
 * the handshakes, messages and sizes are those of the real thing, and what was
 * changed on the way or meant for another does not pass; but anyone who knows
 * that it is used can forge everything.
 *
 * Ed25519 keys only. Everything follows from the arguments.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import { type AeadKey, Crypto, CryptoError, type DhKeyPair } from "../../services/Crypto.ts"
import { generate } from "../crypto/Common.ts"

type Service = Crypto["Service"]

const tagSize = 16

/** A word of all the bytes; FNV-1a, four bytes at a time. */
const digest = (bytes: Uint8Array, start: number): number => {
  let hash = start ^ bytes.length
  const whole = bytes.length & ~3
  for (let i = 0; i < whole; i += 4) {
    const word =
      (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24)
    hash = Math.imul(hash ^ word, 0x01000193)
  }
  for (let i = whole; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193)
  return hash
}

/** So many bytes that follow from others. */
const spread = (size: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let hash = 0x811c9dc5
  for (const part of parts) hash = digest(part, hash)
  for (let i = 0; i + 4 <= size; i += 4) {
    // Of one word of difference, all words differ.
    for (const part of parts) hash = digest(part, hash)
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
    view.setUint32(i, hash ^ (hash >>> 13))
  }
  return bytes
}

const aeadKey = (key: Uint8Array): AeadKey => {
  const secret = digest(key, 0x811c9dc5)
  const sum = (counter: number, associated: Uint8Array | undefined, text: Uint8Array): number =>
    digest(text, associated === undefined ? secret ^ counter : digest(associated, secret ^ counter))
  const write = (
    counter: number,
    associated: Uint8Array | undefined,
    parts: ReadonlyArray<Uint8Array>,
    target: Uint8Array,
    offset: number
  ): number => {
    let at = offset
    for (const part of parts) {
      target.set(part, at)
      at += part.length
    }
    const tag = sum(counter, associated, target.subarray(offset, at))
    for (let i = 0; i < tagSize; i++) target[at + i] = tag >>> (8 * (i & 3))
    return at + tagSize - offset
  }
  /** The plaintext, in the memory of what is sealed. */
  const read = (counter: number, associated: Uint8Array | undefined, sealed: Uint8Array): Uint8Array | undefined => {
    const size = sealed.length - tagSize
    if (size < 0) return undefined
    const text = sealed.subarray(0, size)
    const tag = sum(counter, associated, text)
    for (let i = 0; i < tagSize; i++) if (sealed[size + i] !== ((tag >>> (8 * (i & 3))) & 255)) return undefined
    return text
  }
  return {
    seal: (counter, associated, parts) => {
      const sealed = new Uint8Array(parts.reduce((size, part) => size + part.length, tagSize))
      write(counter, associated, parts, sealed, 0)
      return sealed
    },
    sealInto: (counter, parts, target, offset) => write(counter, undefined, parts, target, offset),
    open: (counter, associated, sealed) => read(counter, associated, sealed)?.slice(),
    openInto: (counter, sealed, target, offset) => {
      const text = read(counter, undefined, sealed)
      if (text === undefined) return undefined
      target.set(text, offset)
      return text.length
    }
  }
}

const dhKeyPair = (seed: Uint8Array): DhKeyPair => {
  const publicKey = spread(32, seed)
  return {
    publicKey,
    // The same on both ends.
    agree: (remote) => {
      const shared = new Uint8Array(32)
      for (let i = 0; i < shared.length; i++) shared[i] = (publicKey[i] ?? 0) ^ (remote[i] ?? 0)
      return Result.succeed(shared)
    }
  }
}

const signatureOf = (publicKey: Uint8Array, message: Uint8Array): Uint8Array => spread(64, publicKey, message)
const publicOf = (seed: Uint8Array): Uint8Array => spread(32, seed, Uint8Array.of(1))

const only = (operation: "import" | "generate" | "verify") =>
  new CryptoError({ operation, detail: "the cheap keys of simulations are of the type Ed25519" })

const signer: Service["signer"] = (key) => {
  if (key.type !== "Ed25519" || key.bytes.length !== 64) return Result.fail(only("import"))
  const bytes = publicOf(key.bytes.subarray(0, 32))
  return Result.succeed({
    publicKey: { type: "Ed25519", bytes },
    sign: (message) => signatureOf(bytes, message)
  })
}

/** Places in a DHT, and the names of content, are hashed by the data modules: those stay real. */
export const layer: Layer.Layer<Crypto> = Layer.succeed(
  Crypto,
  Crypto.of({
    sha256: (bytes) => spread(32, bytes),
    hkdfSha256: (salt, input, info, length) => spread(length, salt, input, info),
    dhKeyPair,
    aeadKey,
    signer,
    verify: (key, message, signature) =>
      key.type === "Ed25519"
        ? Result.succeed(Bytes.equals(signature, signatureOf(key.bytes, message)))
        : Result.fail(only("verify")),
    generateKey: (type) =>
      type === "Ed25519" ? generate(type, { ed25519: publicOf, p256: publicOf }) : Effect.fail(only("generate"))
  })
)
