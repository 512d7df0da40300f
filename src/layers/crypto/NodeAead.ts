/**
 * ChaCha20-Poly1305 for Node, by the size of the message: OpenSSL needs about as
 * long to begin as WebAssembly does for a few hundred bytes, and several times as
 * long when the processor has just woken; from there up OpenSSL is much faster.
 *
 * Each is synchronous, so one instance serves all keys.
 */
import { ChaCha20Poly1305, newInstance } from "@chainsafe/as-chacha20poly1305"
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../data/Bytes.ts"
import type { AeadKey } from "../../services/Crypto.ts"
import { release } from "../internal/Buffers.ts"
import { nonceOf } from "./Common.ts"

const algorithm = "chacha20-poly1305"
const tagSize = 16
const tagOption = { authTagLength: tagSize }
/** The types ask for it; OpenSSL reads it for CCM only. */
const aadOption = { plaintextLength: 0 }

/** Below so many bytes a message is for WebAssembly. */
const smallMessage = 384
/** What it takes beside a message, in bytes: as much as a handshake's hash. */
const smallAssociated = 32

/**
 * It compares tags byte by byte, in a time that tells how many are right. Noise
 * gives nobody a second try: a message that does not authenticate ends its connection.
 */
const small = new ChaCha20Poly1305(newInstance())

const nothing = new Uint8Array(0)

const total = (parts: ReadonlyArray<Uint8Array>): number => {
  let size = 0
  for (const part of parts) size += part.length
  return size
}

/** Copies what a cipher made, and gives back its memory. */
const move = (output: Uint8Array, target: Uint8Array, offset: number): void => {
  target.set(output, offset)
  release(output)
}

/** One key, ready for both. Each connection has two, for as long as it lives. */
class Key implements AeadKey {
  private readonly bytes: Uint8Array
  /** Made for the first large message: many connections have none. */
  private imported: NodeCrypto.KeyObject | undefined

  constructor(bytes: Uint8Array) {
    this.bytes = Uint8Array.from(bytes)
  }

  private get secret(): NodeCrypto.KeyObject {
    return (this.imported ??= NodeCrypto.createSecretKey(this.bytes))
  }

  seal(counter: number, associated: Uint8Array, parts: ReadonlyArray<Uint8Array>): Uint8Array {
    const target = new Uint8Array(total(parts) + tagSize)
    this.sealTo(counter, associated, parts, target, 0)
    return target
  }

  sealInto(counter: number, parts: ReadonlyArray<Uint8Array>, target: Uint8Array, offset: number): number {
    return this.sealTo(counter, nothing, parts, target, offset)
  }

  open(counter: number, associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const size = sealed.length - tagSize
    if (size < 0) return undefined
    const target = new Uint8Array(size)
    return this.openTo(counter, associated, sealed, target, 0) === undefined ? undefined : target
  }

  openInto(counter: number, sealed: Uint8Array, target: Uint8Array, offset: number): number | undefined {
    return this.openTo(counter, nothing, sealed, target, offset)
  }

  private sealTo(
    counter: number,
    associated: Uint8Array,
    parts: ReadonlyArray<Uint8Array>,
    target: Uint8Array,
    offset: number
  ): number {
    const size = total(parts)
    if (size < smallMessage && associated.length <= smallAssociated) {
      const [only] = parts
      const plaintext = only !== undefined && parts.length === 1 ? only : Bytes.concat(parts)
      const sealed = target.subarray(offset, offset + size + tagSize)
      small.seal(this.bytes, nonceOf(counter), plaintext, associated, sealed)
      return sealed.length
    }
    const cipher = NodeCrypto.createCipheriv(algorithm, this.secret, nonceOf(counter), tagOption)
    if (associated.length > 0) cipher.setAAD(associated, aadOption)
    let at = offset
    for (const part of parts) {
      if (part.length === 0) continue
      move(cipher.update(part), target, at)
      at += part.length
    }
    cipher.final()
    target.set(cipher.getAuthTag(), at)
    return at + tagSize - offset
  }

  private openTo(
    counter: number,
    associated: Uint8Array,
    sealed: Uint8Array,
    target: Uint8Array,
    offset: number
  ): number | undefined {
    const size = sealed.length - tagSize
    if (size < 0) return undefined
    if (size < smallMessage && associated.length <= smallAssociated) {
      const opened = target.subarray(offset, offset + size)
      return small.open(this.bytes, nonceOf(counter), sealed, associated, opened) === null ? undefined : size
    }
    const decipher = NodeCrypto.createDecipheriv(algorithm, this.secret, nonceOf(counter), tagOption)
    if (associated.length > 0) decipher.setAAD(associated, aadOption)
    decipher.setAuthTag(sealed.subarray(size))
    if (size > 0) move(decipher.update(sealed.subarray(0, size)), target, offset)
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return size
  }
}

/** Makes a key of 32 bytes ready. */
export const aeadKey = (key: Uint8Array): AeadKey => new Key(key)
