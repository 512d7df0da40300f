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
import * as PeerId from "../../../data/PeerId.ts"
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
  readonly peer: PeerId.PeerId
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
  return Result.succeed({
    publicKey: publicKey.success,
    peer: PeerId.fromPublicKey(publicKey.success),
    muxers: muxers.length > maxMuxers ? [] : muxers
  })
}

/** Proofs remembered, and the longest payload among them, in bytes: with an RSA key it has some 600. */
const maxRemembered = 512
const maxRememberedPayload = 1024

interface Remembered {
  readonly payload: Uint8Array
  readonly proven: Result.Result<Proven>
}

/**
 * {@link check} with a memory. A node draws its static key and signs it once, so that a remote that comes again proves
 * the same by the same bytes: they are compared, which costs next to nothing beside a verification. That the remote
 * holds the static key is proven anew by each handshake.
 */
export const rememberingCheck = (
  verify: Crypto["Service"]["verify"]
): ((payload: Uint8Array, staticKey: Uint8Array) => Result.Result<Proven, ProofFailure>) => {
  const remembered = new Map<string, Remembered>()
  return (payload, staticKey) => {
    const name = Bytes.toKey(staticKey)
    const known = remembered.get(name)
    if (known !== undefined && Bytes.equals(known.payload, payload)) {
      // Last used, last to go.
      remembered.delete(name)
      remembered.set(name, known)
      return known.proven
    }
    const proven = check(verify, payload, staticKey)
    if (Result.isFailure(proven) || payload.length > maxRememberedPayload) return proven
    for (const oldest of remembered.keys()) {
      if (remembered.size < maxRemembered) break
      remembered.delete(oldest)
    }
    remembered.set(name, { payload: payload.slice(), proven: Result.succeed(proven.success) })
    return proven
  }
}

/** The first of the initiator's muxers that the responder has too. */
export const chooseMuxer = (initiator: ReadonlyArray<string>, responder: ReadonlyArray<string>): string | undefined =>
  initiator.find((muxer) => responder.includes(muxer))
