/**
 * Crypto: the computations behind identities and handshakes, synchronous and
 * without chance of their own (entropy is passed in). Layers: Node (OpenSSL),
 * noble (portable).
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import type { KeyType, PrivateKey, PublicKey } from "../data/Keys.ts"

/** A key, signature or cipher input is unusable. `detail` says what about it. */
export class CryptoError extends Schema.TaggedError<CryptoError>()("CryptoError", {
  operation: Schema.Literals(["import", "generate", "sign", "verify", "agree"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.operation} key: ${this.detail}`
  }
}

/** A private key made ready for use. */
export interface Signer {
  readonly publicKey: PublicKey
  /** Signs as the peer-ids specification says for the type of the key. */
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** An X25519 key pair made ready for use. */
export interface DhKeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** The shared secret of 32 bytes; fails for a public key of low order. */
  readonly agree: (remotePublicKey: Uint8Array) => Result.Result<Uint8Array, CryptoError>
}

/**
 * One direction of ChaCha20-Poly1305 with the nonces of Noise: 32 zero bits and
 * a 64-bit little-endian counter, which the caller counts.
 */
export interface AeadKey {
  /** Encrypts the parts as one message; the result is ciphertext and a tag of 16 bytes, in memory of its own. */
  readonly seal: (counter: number, associated: Uint8Array, parts: ReadonlyArray<Uint8Array>) => Uint8Array
  /**
   * Writes ciphertext and tag into `target` at `offset` and returns the bytes written.
   * `target` must not overlap the parts.
   */
  readonly sealInto: (counter: number, parts: ReadonlyArray<Uint8Array>, target: Uint8Array, offset: number) => number
  /** Decrypts into memory of its own; `undefined` when it does not authenticate. */
  readonly open: (counter: number, associated: Uint8Array, sealed: Uint8Array) => Uint8Array | undefined
  /**
   * Decrypts into `target` at `offset` and returns the bytes written; `undefined` when it does not authenticate,
   * and then what is in their place has no meaning. `target` must not overlap `sealed`.
   */
  readonly openInto: (counter: number, sealed: Uint8Array, target: Uint8Array, offset: number) => number | undefined
}

export class Crypto extends Context.Service<
  Crypto,
  {
    readonly sha256: (bytes: Uint8Array) => Uint8Array
    /** HKDF with SHA-256 (RFC 5869): `length` bytes, at most 8160. */
    readonly hkdfSha256: (salt: Uint8Array, input: Uint8Array, info: Uint8Array, length: number) => Uint8Array
    /** An X25519 pair from 32 bytes of entropy. */
    readonly dhKeyPair: (seed: Uint8Array) => DhKeyPair
    /** A ChaCha20-Poly1305 key of 32 bytes. */
    readonly aeadKey: (key: Uint8Array) => AeadKey
    /** Makes a private key ready; fails if its bytes are not a key of its type. */
    readonly signer: (key: PrivateKey) => Result.Result<Signer, CryptoError>
    /** False when the signature does not hold; fails if the key is unusable. */
    readonly verify: (key: PublicKey, message: Uint8Array, signature: Uint8Array) => Result.Result<boolean, CryptoError>
    /**
     * Makes a key. Ed25519, secp256k1 and ECDSA follow from the entropy alone;
     * RSA (2048 to 8192 bits, default 2048) does not: use none of it in a
     * simulation.
     */
    readonly generateKey: (
      type: KeyType,
      options?: { readonly rsaBits?: number | undefined }
    ) => Effect.Effect<PrivateKey, CryptoError, SecureRandom.SecureRandom>
  }
>()("effect-libp2p/Crypto") {}
