/**
 * What the two ends of a plaintext connection tell each other first: who they
 * are. `proto/plaintext.proto`.
 *
 * https://github.com/libp2p/specs/blob/master/plaintext/README.md#messages
 */
import * as Result from "effect/Result"
import { type DecodeError, Reader, Writer } from "../Protobuf.ts"

export interface Exchange {
  /** The peer id, as its multihash. */
  readonly id?: Uint8Array | undefined
  /** The public key in its protobuf encoding; see `Keys.decodePublicKey`. */
  readonly publicKey?: Uint8Array | undefined
}

/** The largest message read, in bytes: one with an RSA key of 8192 bits takes 1.2 KiB. */
export const maxSize = 4096

export const encode = (exchange: Exchange): Uint8Array => {
  const writer = new Writer()
  if (exchange.id !== undefined) writer.bytes(1, exchange.id)
  if (exchange.publicKey !== undefined) writer.bytes(2, exchange.publicKey)
  return writer.finish()
}

/** Reads a message of at most 4096 bytes. Unknown fields are skipped. */
export const decode = (bytes: Uint8Array): Result.Result<Exchange, DecodeError> => {
  const fields = new Reader("Exchange", bytes, maxSize)
  let id: Uint8Array | undefined
  let publicKey: Uint8Array | undefined
  while (fields.next()) {
    if (fields.number === 1) id = fields.bytes()
    else if (fields.number === 2) publicKey = fields.bytes()
  }
  return fields.error === undefined ? Result.succeed({ id, publicKey }) : Result.fail(fields.error)
}
