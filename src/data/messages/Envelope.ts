/**
 * A payload, who signed it, and the signature. Reading one checks nothing but
 * its form. `proto/envelope.proto`.
 *
 * https://github.com/libp2p/specs/blob/master/RFC/0002-signed-envelopes.md
 */
import * as Result from "effect/Result"
import * as Keys from "../Keys.ts"
import { DecodeError, Reader, Writer } from "../Protobuf.ts"

export interface Envelope {
  readonly publicKey: Keys.PublicKey
  /** What the payload is, often a multicodec. */
  readonly payloadType: Uint8Array
  readonly payload: Uint8Array
  readonly signature: Uint8Array
}

/** The largest envelope read, in bytes. */
export const maxSize = 65_536

export const encode = (envelope: Envelope): Uint8Array => {
  const writer = new Writer().bytes(1, Keys.encodePublicKey(envelope.publicKey))
  if (envelope.payloadType.length > 0) writer.bytes(2, envelope.payloadType)
  if (envelope.payload.length > 0) writer.bytes(3, envelope.payload)
  if (envelope.signature.length > 0) writer.bytes(5, envelope.signature)
  return writer.finish()
}

/** Reads an envelope of at most 64 KiB. Unknown fields are skipped; the public key must be there, and well formed. */
export const decode = (bytes: Uint8Array): Result.Result<Envelope, DecodeError> => {
  const fields = new Reader("Envelope", bytes, maxSize)
  let key: Uint8Array | undefined
  let payloadType: Uint8Array = new Uint8Array(0)
  let payload: Uint8Array = new Uint8Array(0)
  let signature: Uint8Array = new Uint8Array(0)
  while (fields.next()) {
    if (fields.number === 1) key = fields.bytes()
    else if (fields.number === 2) payloadType = fields.bytes()
    else if (fields.number === 3) payload = fields.bytes()
    else if (fields.number === 5) signature = fields.bytes()
  }
  if (key === undefined) fields.fail("it has no public_key")
  if (fields.error !== undefined) return Result.fail(fields.error)
  return Result.match(Keys.decodePublicKey(key ?? new Uint8Array(0)), {
    onSuccess: (publicKey) => Result.succeed({ publicKey, payloadType, payload, signature }),
    onFailure: (error) => Result.fail(new DecodeError({ format: "Envelope", detail: error.message }))
  })
}
