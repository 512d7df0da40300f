/**
 * The signature that a certificate bears of its own key. Algorithms are named
 * by all of their AlgorithmIdentifier, so that no parameter slips by; those on
 * MD5 and SHA-1 are not among them.
 */
import * as Result from "effect/Result"
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../../data/Bytes.ts"
import type { Certificate } from "./Certificate.ts"

interface Algorithm {
  readonly keyType: "ec" | "ed25519" | "rsa"
  readonly hash: "sha256" | "sha384" | "sha512" | null
  /** The salt of RSASSA-PSS, in bytes. */
  readonly saltLength?: number
}

/** ECDSA on P-256 with SHA-256, what our own certificates are signed with. */
export const ecdsaSha256 = Bytes.fromHex("300a06082a8648ce3d040302") ?? new Uint8Array(0)

/** RFC 8410, RFC 5758, RFC 4055. */
const algorithms = new Map<string, Algorithm>([
  [Bytes.toHex(ecdsaSha256), { keyType: "ec", hash: "sha256" }],
  ["300a06082a8648ce3d040303", { keyType: "ec", hash: "sha384" }],
  ["300a06082a8648ce3d040304", { keyType: "ec", hash: "sha512" }],
  ["300506032b6570", { keyType: "ed25519", hash: null }],
  ["300d06092a864886f70d01010b0500", { keyType: "rsa", hash: "sha256" }],
  ["300d06092a864886f70d01010c0500", { keyType: "rsa", hash: "sha384" }],
  ["300d06092a864886f70d01010d0500", { keyType: "rsa", hash: "sha512" }],
  ...(
    [
      ["01", "sha256", 32],
      ["02", "sha384", 48],
      ["03", "sha512", 64]
    ] as const
  ).map(([digest, hash, saltLength]): [string, Algorithm] => [
    `304106092a864886f70d01010a3034a00f300d06096086480165030402${digest}0500a11c301a06092a864886f70d010108300d06096086480165030402${digest}0500a2030201${saltLength.toString(16)}`,
    { keyType: "rsa", hash, saltLength }
  ])
])

const holds = ({ hash, keyType, saltLength }: Algorithm, { publicKey, signature, signed }: Certificate): boolean => {
  const key = NodeCrypto.createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" })
  if (key.asymmetricKeyType !== keyType) return false
  return NodeCrypto.verify(
    hash,
    signed,
    saltLength === undefined ? key : { key, padding: NodeCrypto.constants.RSA_PKCS1_PSS_PADDING, saltLength },
    signature
  )
}

/** What is wrong with the self-signature of a certificate, if something is. */
export const check = (certificate: Certificate): string | undefined => {
  const algorithm = algorithms.get(Bytes.toHex(certificate.algorithm))
  if (algorithm === undefined) {
    return `it is signed with an algorithm that is not accepted: ${Bytes.toHex(certificate.algorithm.subarray(0, 32))}`
  }
  // OpenSSL throws at keys that it cannot read or use.
  const held = Result.try({ try: () => holds(algorithm, certificate), catch: () => false })
  return Result.isSuccess(held) && held.success ? undefined : "its self-signature is wrong"
}
