/**
 * What a Noise handshake carries: proof that the sender holds the key of its
 * peer id, and extensions. `proto/noise.proto`.
 *
 * https://github.com/libp2p/specs/blob/master/noise/README.md#the-libp2p-handshake-payload
 */
import * as Result from "effect/Result"
import { type DecodeError, Reader, Writer } from "../Protobuf.ts"

export interface NoiseExtensions {
  /** Multihashes of certificates that the server uses for WebTransport. */
  readonly webtransportCerthashes: ReadonlyArray<Uint8Array>
  /** Muxers, the preferred one first, such as `/yamux/1.0.0`. */
  readonly streamMuxers: ReadonlyArray<string>
}

export interface NoisePayload {
  /** The public key in its protobuf encoding; see `Keys.decodePublicKey`. */
  readonly identityKey?: Uint8Array | undefined
  /** The signature of the static key of the handshake. */
  readonly identitySig?: Uint8Array | undefined
  readonly extensions?: NoiseExtensions | undefined
}

/** The largest payload read, in bytes: that of a Noise message. */
export const maxSize = 65_535

export const encode = (payload: NoisePayload): Uint8Array => {
  const writer = new Writer()
  if (payload.identityKey !== undefined) writer.bytes(1, payload.identityKey)
  if (payload.identitySig !== undefined) writer.bytes(2, payload.identitySig)
  const { extensions } = payload
  if (extensions !== undefined) {
    writer.message(4, (inner) => {
      for (const hash of extensions.webtransportCerthashes) inner.bytes(1, hash)
      for (const muxer of extensions.streamMuxers) inner.string(2, muxer)
    })
  }
  return writer.finish()
}

/** Reads a payload of at most 65535 bytes. Unknown fields are skipped. */
export const decode = (bytes: Uint8Array): Result.Result<NoisePayload, DecodeError> => {
  const fields = new Reader("NoiseHandshakePayload", bytes, maxSize)
  let identityKey: Uint8Array | undefined
  let identitySig: Uint8Array | undefined
  let hasExtensions = false
  const webtransportCerthashes: Array<Uint8Array> = []
  const streamMuxers: Array<string> = []
  while (fields.next()) {
    if (fields.number === 1) identityKey = fields.bytes()
    else if (fields.number === 2) identitySig = fields.bytes()
    else if (fields.number === 4) {
      hasExtensions = true
      fields.message((inner) => {
        while (inner.next()) {
          if (inner.number === 1) webtransportCerthashes.push(inner.bytes())
          else if (inner.number === 2) streamMuxers.push(inner.string())
        }
      })
    }
  }
  return fields.error === undefined
    ? Result.succeed({
        identityKey,
        identitySig,
        extensions: hasExtensions ? { webtransportCerthashes, streamMuxers } : undefined
      })
    : Result.fail(fields.error)
}
