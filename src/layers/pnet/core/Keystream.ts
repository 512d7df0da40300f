/**
 * XSalsa20 as one direction of a private network uses it: a keystream of a key
 * and a nonce of 24 bytes, at any position. Pure.
 *
 * Whole blocks are worked on in place; what lies at a position inside a block is
 * put there first.
 *
 * Specification: pnet/Private-Networks-PSK-V1.md; D. J. Bernstein, "Extending
 * the Salsa20 nonce".
 */
import { hsalsa } from "@noble/ciphers/salsa.js"
import * as Bytes from "../../../data/Bytes.ts"
import { blockSize, Salsa20 } from "./Salsa20.ts"

/** Bytes of the nonce that each direction begins with. */
export const nonceSize = 24
/** Bytes that a target needs more than what is put there, for the blocks that begin before and end behind it. */
export const slack = 2 * blockSize

/** The words of bytes in the order of this machine, in memory of their own. */
const words = (bytes: Uint8Array): Uint32Array => new Uint32Array(new Uint8Array(bytes).buffer)

export class Keystream {
  private readonly cipher: Salsa20

  /** A key of 32 bytes and a nonce of 24. */
  constructor(key: Uint8Array, nonce: Uint8Array) {
    const derived = new Uint32Array(8)
    hsalsa(words(Bytes.fromUtf8("expand 32-byte k")), words(key), words(nonce.subarray(0, 16)), derived)
    this.cipher = new Salsa20(new Uint8Array(derived.buffer), nonce.subarray(16, nonceSize))
  }

  /**
   * Puts `bytes`, with the keystream from `position` on, somewhere into `target`, and says where. `target` has room
   * for {@link slack} bytes more than `bytes`, with which it shares no memory.
   */
  apply(bytes: Uint8Array, position: number, target: Uint8Array): Uint8Array {
    const skew = position % blockSize
    const end = skew + bytes.length
    target.set(bytes, skew)
    const view = new DataView(target.buffer, target.byteOffset, target.length)
    this.cipher.xor(view, Math.ceil(end / blockSize), (position - skew) / blockSize)
    return target.subarray(skew, end)
  }
}
