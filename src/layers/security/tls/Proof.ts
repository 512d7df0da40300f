/**
 * What libp2p puts inside a certificate: proof that the owner of its key holds
 * the key of its peer id.
 *
 * https://github.com/libp2p/specs/blob/master/tls/tls.md#peer-authentication
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import * as Der from "../../../data/Der.ts"
import * as Keys from "../../../data/Keys.ts"
import type { Crypto } from "../../../services/Crypto.ts"
import * as Certificate from "./Certificate.ts"
import * as SelfSignature from "./SelfSignature.ts"

/** The libp2p Public Key Extension, `1.3.6.1.4.1.53594.1.1`. */
const extensionId = Der.encodeOid("1.3.6.1.4.1.53594.1.1").subarray(2)

const prefix = Bytes.fromUtf8("libp2p-tls-handshake:")

/** What the identity key signs: the SubjectPublicKeyInfo of the certificate, prefixed. */
export const signedBytes = (publicKey: Uint8Array): Uint8Array => Bytes.concat([prefix, publicKey])

/** The extension, not critical: peers that look at no others would refuse it. */
export const extension = (identity: Keys.PublicKey, signature: Uint8Array): Certificate.Extension => ({
  id: extensionId,
  critical: false,
  value: Der.encode(
    Der.tags.sequence,
    Der.encode(Der.tags.octetString, Keys.encodePublicKey(identity)),
    Der.encode(Der.tags.octetString, signature)
  )
})

/** Why a certificate proves nothing. */
export interface ProofFailure {
  readonly _tag: "ProofFailure"
  readonly detail: string
}

const fail = (detail: string): Result.Result<never, ProofFailure> => Result.fail({ _tag: "ProofFailure", detail })

const date = (time: number): string => new Date(time).toISOString().replace(".000Z", "Z")

/**
 * Checks a certificate in DER by every rule of the specification, at the time
 * `now` in milliseconds, and gives the identity key that it proves. That there
 * is only one certificate is for the caller to check.
 */
export const check = (
  verify: Crypto["Service"]["verify"],
  der: Uint8Array,
  now: number
): Result.Result<Keys.PublicKey, ProofFailure> => {
  const certificate = Certificate.read(der)
  if (Result.isFailure(certificate)) return fail(certificate.failure.detail)
  const { extensions, notAfter, notBefore, publicKey } = certificate.success

  const ours = extensions.filter(({ id }) => Bytes.equals(id, extensionId))
  const [proof] = ours
  if (proof === undefined) return fail("the certificate has no libp2p extension")
  if (ours.length > 1) return fail(`the certificate has the libp2p extension ${ours.length} times`)
  const unknown = extensions.find((other) => other.critical && !Bytes.equals(other.id, extensionId))
  if (unknown !== undefined) {
    return fail(
      `the certificate has a critical extension that is not known: ${Der.oidText(unknown.id.subarray(0, 32))}`
    )
  }
  if (now < notBefore) return fail(`the certificate is not valid before ${date(notBefore)}`)
  if (now > notAfter) return fail(`the certificate expired on ${date(notAfter)}`)
  const wrong = SelfSignature.check(certificate.success)
  if (wrong !== undefined) return fail(`the certificate is not its own: ${wrong}`)

  const parts = Der.sequence(proof.value)
  const [key, signature] = parts ?? []
  const octets = Der.tags.octetString
  if (parts?.length !== 2 || key?.tag !== octets || signature?.tag !== octets) {
    return fail("the libp2p extension is malformed")
  }
  const identity = Keys.decodePublicKey(key.body)
  if (Result.isFailure(identity)) return fail(`the identity key is malformed: ${identity.failure.detail}`)
  const verified = verify(identity.success, signedBytes(publicKey), signature.body)
  if (Result.isFailure(verified)) return fail(`the identity key cannot be used: ${verified.failure.detail}`)
  return verified.success
    ? Result.succeed(identity.success)
    : fail("the identity key did not sign the key of the certificate")
}
