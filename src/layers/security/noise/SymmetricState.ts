/**
 * The cipher and hash states of the Noise framework (revision 34, §5.1 and
 * §5.2) for ChaChaPoly and SHA256. Pure: no clock, no I/O, no throwing.
 */
import * as Bytes from "../../../data/Bytes.ts"
import type { AeadKey, Crypto } from "../../../services/Crypto.ts"

/** What Noise needs of the Crypto service; all of it synchronous. */
export type NoiseCrypto = Pick<Crypto["Service"], "sha256" | "hkdfSha256" | "dhKeyPair" | "aeadKey">

export const empty = new Uint8Array(0)

/** The name of the protocol, which the handshake begins by hashing. */
const protocolName = "Noise_XX_25519_ChaChaPoly_SHA256"

/** Bytes that authentication adds to a message. */
export const tagSize = 16
/** The largest Noise message. */
export const maxMessage = 65535
/** The largest plaintext of a transport message. */
export const maxPlaintext = maxMessage - tagSize

/**
 * Messages that one key may carry. The framework allows 2^64 - 1; a counter that
 * stays an exact number ends sooner, and would take ages to reach all the same.
 */
export const maxCounter = Number.MAX_SAFE_INTEGER

/** One direction of an established connection. Counts its messages. */
export class CipherState {
  readonly key: AeadKey
  private counter: number

  constructor(key: AeadKey, counter = 0) {
    this.key = key
    this.counter = counter
  }

  /** The key has carried all it may: the connection must end. */
  get exhausted(): boolean {
    return this.counter >= maxCounter
  }

  /** Seals the parts as one message; `undefined` when the key is exhausted. */
  encrypt(associated: Uint8Array, parts: ReadonlyArray<Uint8Array>): Uint8Array | undefined {
    return this.exhausted ? undefined : this.key.seal(this.counter++, associated, parts)
  }

  /** Seals the parts into `target` and says how many bytes that took; `undefined` when the key is exhausted. */
  encryptInto(parts: ReadonlyArray<Uint8Array>, target: Uint8Array, offset: number): number | undefined {
    return this.exhausted ? undefined : this.key.sealInto(this.counter++, parts, target, offset)
  }

  /** Opens a message; `undefined` when it does not authenticate or the key is exhausted. */
  decrypt(associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (this.exhausted) return undefined
    const opened = this.key.open(this.counter, associated, sealed)
    // Only a message that authenticates takes its number.
    if (opened !== undefined) this.counter += 1
    return opened
  }

  /** Opens a message into `target` and says how many bytes that took; `undefined` as for `decrypt`. */
  decryptInto(sealed: Uint8Array, target: Uint8Array, offset: number): number | undefined {
    if (this.exhausted) return undefined
    const size = this.key.openInto(this.counter, sealed, target, offset)
    if (size !== undefined) this.counter += 1
    return size
  }
}

/** The hash and chaining key that a handshake carries along. */
export class SymmetricState {
  private readonly crypto: NoiseCrypto
  private chainingKey: Uint8Array
  private cipher: CipherState | undefined
  /** Covers everything exchanged so far. */
  hash: Uint8Array

  constructor(crypto: NoiseCrypto, prologue: Uint8Array) {
    this.crypto = crypto
    // The name has exactly the 32 bytes of a hash, so it is taken as it is.
    this.hash = Bytes.fromUtf8(protocolName)
    this.chainingKey = this.hash
    this.mixHash(prologue)
  }

  get hasKey(): boolean {
    return this.cipher !== undefined
  }

  mixHash(bytes: Uint8Array): void {
    this.hash = this.crypto.sha256(Bytes.concat([this.hash, bytes]))
  }

  mixKey(secret: Uint8Array): void {
    const keys = this.crypto.hkdfSha256(this.chainingKey, secret, empty, 64)
    this.chainingKey = keys.subarray(0, 32)
    this.cipher = new CipherState(this.crypto.aeadKey(keys.subarray(32)))
  }

  /** The bytes as they go on the wire: sealed once there is a key. */
  encryptAndHash(plaintext: Uint8Array): Uint8Array | undefined {
    const sealed = this.cipher === undefined ? plaintext : this.cipher.encrypt(this.hash, [plaintext])
    if (sealed !== undefined) this.mixHash(sealed)
    return sealed
  }

  /** The reverse of it; `undefined` when the bytes do not authenticate. */
  decryptAndHash(bytes: Uint8Array): Uint8Array | undefined {
    const opened = this.cipher === undefined ? Uint8Array.from(bytes) : this.cipher.decrypt(this.hash, bytes)
    if (opened !== undefined) this.mixHash(bytes)
    return opened
  }

  /** The keys of the connection: from the initiator, then from the responder. */
  split(): readonly [CipherState, CipherState] {
    const keys = this.crypto.hkdfSha256(this.chainingKey, empty, empty, 64)
    return [
      new CipherState(this.crypto.aeadKey(keys.subarray(0, 32))),
      new CipherState(this.crypto.aeadKey(keys.subarray(32)))
    ]
  }
}
