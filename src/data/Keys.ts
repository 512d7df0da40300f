/**
 * Keys as libp2p writes them down: a type, and bytes whose form depends on it.
 * What they can do (sign, verify) is the business of the Crypto service.
 *
 * https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#keys
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "./Bytes.ts"
import * as Varint from "./Varint.ts"

/** The types of keys, in the order of their numbers on the wire. */
export const keyTypes = ["RSA", "Ed25519", "secp256k1", "ECDSA"] as const
export type KeyType = (typeof keyTypes)[number]

/**
 * A public key. `bytes` is the `Data` field: RSA and ECDSA in DER (PKIX),
 * Ed25519 its 32 bytes, secp256k1 its 33 bytes (compressed).
 */
export interface PublicKey {
  readonly type: KeyType
  readonly bytes: Uint8Array
}

/** A key is malformed. `detail` says how, and never holds bytes of the key. */
export class KeyError extends Schema.TaggedError<KeyError>()("KeyError", {
  kind: Schema.Literals(["public", "private"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.kind} key: ${this.detail}`
  }
}

/**
 * A private key. `bytes` is the `Data` field: RSA in DER (PKCS#1), Ed25519 seed
 * and public key (64 bytes), secp256k1 its 32 bytes, ECDSA in DER (SEC 1).
 * The bytes are in no property that a log, an inspector or JSON would print.
 */
export class PrivateKey {
  readonly type: KeyType
  readonly #bytes: Uint8Array

  /** Unchecked: use {@link privateKey} for bytes from outside. */
  constructor(type: KeyType, bytes: Uint8Array) {
    this.type = type
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  toString(): string {
    return `PrivateKey(${this.type}, <redacted>)`
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString()
  }
}

/** The largest key read, in bytes: an RSA key of 8192 bits takes 1.1 KiB, its private key 4.7 KiB. */
export const maxPublicKeySize = 2048
export const maxPrivateKeySize = 8192

const derSequence = 0x30

const checkPublic = (type: KeyType, bytes: Uint8Array): string | undefined => {
  switch (type) {
    case "Ed25519":
      return bytes.length === 32 ? undefined : `Ed25519 takes 32 bytes, not ${bytes.length}`
    case "secp256k1":
      return bytes.length === 33 && (bytes[0] === 2 || bytes[0] === 3)
        ? undefined
        : "secp256k1 takes a compressed point of 33 bytes that starts with 2 or 3"
    default:
      if (bytes.length > maxPublicKeySize) return `${bytes.length} bytes, over the limit of ${maxPublicKeySize}`
      return bytes[0] === derSequence ? undefined : `${type} takes DER, which starts with a sequence`
  }
}

const privateError = (detail: string): Result.Result<never, KeyError> =>
  Result.fail(new KeyError({ kind: "private", detail }))

/** A public key of its `Data` field. Checks its form, not whether it is a point or number that can be used. */
export const publicKey = (type: KeyType, bytes: Uint8Array): Result.Result<PublicKey, KeyError> => {
  const detail = checkPublic(type, bytes)
  return detail === undefined ? Result.succeed({ type, bytes }) : Result.fail(new KeyError({ kind: "public", detail }))
}

/** A private key of its `Data` field. Ed25519 in the older form of 96 bytes is brought to 64. */
export const privateKey = (type: KeyType, bytes: Uint8Array): Result.Result<PrivateKey, KeyError> => {
  switch (type) {
    case "Ed25519":
      if (bytes.length === 96) {
        if (!Bytes.equals(bytes.subarray(32, 64), bytes.subarray(64))) {
          return privateError("the two public keys in the older Ed25519 form differ")
        }
        return Result.succeed(new PrivateKey(type, bytes.slice(0, 64)))
      }
      if (bytes.length !== 64)
        return privateError(`Ed25519 takes 64 bytes (or 96, the older form), not ${bytes.length}`)
      break
    case "secp256k1":
      if (bytes.length !== 32) return privateError(`secp256k1 takes 32 bytes, not ${bytes.length}`)
      break
    default:
      if (bytes.length > maxPrivateKeySize) {
        return privateError(`${bytes.length} bytes, over the limit of ${maxPrivateKeySize}`)
      }
      if (bytes[0] !== derSequence) return privateError(`${type} takes DER, which starts with a sequence`)
  }
  return Result.succeed(new PrivateKey(type, bytes))
}

const tagType = 0x08
const tagData = 0x12

/** `Type` then `Data`, every field present: the one encoding that the specification allows. */
const encode = (type: KeyType, data: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(3 + Varint.encodingLength(data.length) + data.length)
  bytes[0] = tagType
  bytes[1] = keyTypes.indexOf(type)
  bytes[2] = tagData
  bytes.set(data, Varint.encodeInto(data.length, bytes, 3))
  return bytes
}

/**
 * Reads that one encoding and no other: two encodings of a key would be two
 * peer ids. The protobuf messages are {@link file://./proto/keys.proto}.
 */
const decode = (bytes: Uint8Array): { readonly type: KeyType; readonly data: Uint8Array } | string => {
  if (bytes[0] !== tagType) return "it does not start with the field Type"
  const number = bytes[1]
  const type = number === undefined ? undefined : keyTypes[number]
  if (type === undefined) return `there is no key type ${number ?? "here"}`
  if (bytes[2] !== tagData) return "the field Data does not follow the field Type"
  const length = Varint.decode(bytes, 3)
  if (length._tag !== "Complete") return "the length of the field Data is malformed"
  const start = 3 + length.size
  if (bytes.length !== start + length.value) {
    return `the field Data should end the key with ${length.value} bytes, there are ${bytes.length - start}`
  }
  return { type, data: bytes.slice(start) }
}

/** The protobuf encoding of a public key, of which peer ids are made. Deterministic. */
export const encodePublicKey = (key: PublicKey): Uint8Array => encode(key.type, key.bytes)

/** Reads a public key in its protobuf encoding. The key has memory of its own. */
export const decodePublicKey = (bytes: Uint8Array): Result.Result<PublicKey, KeyError> => {
  const decoded = decode(bytes)
  return typeof decoded === "string"
    ? Result.fail(new KeyError({ kind: "public", detail: decoded }))
    : publicKey(decoded.type, decoded.data)
}

/** The protobuf encoding of a private key, as key files hold it. Deterministic. */
export const encodePrivateKey = (key: PrivateKey): Uint8Array => encode(key.type, key.bytes)

/** Reads a private key in its protobuf encoding. The key has memory of its own. */
export const decodePrivateKey = (bytes: Uint8Array): Result.Result<PrivateKey, KeyError> => {
  const decoded = decode(bytes)
  return typeof decoded === "string" ? privateError(decoded) : privateKey(decoded.type, decoded.data)
}

/** True for the same type and bytes. */
export const equals = (a: PublicKey, b: PublicKey): boolean => a.type === b.type && Bytes.equals(a.bytes, b.bytes)
