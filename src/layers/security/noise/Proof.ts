/**
 * What libp2p puts inside the handshake: proof that the owner of the static key
 * holds the key of its peer id, and the muxers it has.
 *
 * https://github.com/libp2p/specs/blob/master/noise/README.md#static-key-authentication
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import * as Keys from "../../../data/Keys.ts"
import * as NoisePayload from "../../../data/messages/NoisePayload.ts"
import type { Crypto } from "../../../services/Crypto.ts"

/** The most muxers considered; a longer list counts as none, as in go-libp2p. */
const maxMuxers = 100

const prefix = Bytes.fromUtf8("noise-libp2p-static-key:")

/** What the identity key signs. */
export const signedBytes = (staticKey: Uint8Array): Uint8Array => Bytes.concat([prefix, staticKey])

/** The payload of a handshake message. Without muxers it has no extensions. */
export const encode = (identity: Keys.PublicKey, signature: Uint8Array, muxers: ReadonlyArray<string>): Uint8Array =>
  NoisePayload.encode({
    identityKey: Keys.encodePublicKey(identity),
    identitySig: signature,
    extensions: muxers.length === 0 ? undefined : { webtransportCerthashes: [], streamMuxers: muxers }
  })

/** What a payload proves and offers. */
export interface Proven {
  readonly publicKey: Keys.PublicKey
  readonly muxers: ReadonlyArray<string>
}

/** Why a payload proves nothing. */
export interface ProofFailure {
  readonly _tag: "ProofFailure"
  readonly detail: string
}

const fail = (detail: string): Result.Result<never, ProofFailure> => Result.fail({ _tag: "ProofFailure", detail })

/** Reads a payload and checks that its identity key signed `staticKey`. */
export const check = (
  verify: Crypto["Service"]["verify"],
  payload: Uint8Array,
  staticKey: Uint8Array
): Result.Result<Proven, ProofFailure> => {
  const decoded = NoisePayload.decode(payload)
  if (Result.isFailure(decoded)) return fail(`the payload is malformed: ${decoded.failure.message}`)
  const { identityKey, identitySig, extensions } = decoded.success
  if (identityKey === undefined) return fail("the payload has no identity key")
  if (identitySig === undefined) return fail("the payload has no signature")
  const publicKey = Keys.decodePublicKey(identityKey)
  if (Result.isFailure(publicKey)) return fail(`the identity key is malformed: ${publicKey.failure.detail}`)
  const verified = verify(publicKey.success, signedBytes(staticKey), identitySig)
  if (Result.isFailure(verified)) return fail(`the identity key cannot be used: ${verified.failure.detail}`)
  if (!verified.success) return fail("the identity key did not sign the static key of this handshake")
  const muxers = extensions?.streamMuxers ?? []
  return Result.succeed({ publicKey: publicKey.success, muxers: muxers.length > maxMuxers ? [] : muxers })
}

/** The first of the initiator's muxers that the responder has too. */
export const chooseMuxer = (initiator: ReadonlyArray<string>, responder: ReadonlyArray<string>): string | undefined =>
  initiator.find((muxer) => responder.includes(muxer))
