/**
 * What this node shows of itself: a key of its own for TLS, and the certificate
 * in which its identity vouches for that key.
 */
import * as NodeCrypto from "node:crypto"
import * as tls from "node:tls"
import type { Crypto } from "../../../services/Crypto.ts"
import type { Identity } from "../../../services/Identity.ts"
import * as Certificate from "./Certificate.ts"
import * as Proof from "./Proof.ts"
import { ecdsaSha256 } from "./SelfSignature.ts"

const hour = 60 * 60 * 1000
const century = 100 * 365 * 24 * hour

/** AES-128 first: the fastest where processors have AES; a remote without asks for ChaCha20 itself. */
const ciphers = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

export const pem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString("base64")}\n-----END ${label}-----\n`

/**
 * What TLS is to be done with: version 1.3 only, no root certificates, no tickets to resume sessions by. The group is
 * left to OpenSSL, which from 3.5 agrees on X25519 with ML-KEM-768 where the remote can: what is recorded today stays
 * closed to a quantum computer. X25519 alone would spare each end a tenth of the handshake.
 */
const context = (certificate: string, key: string): tls.SecureContext =>
  tls.createSecureContext({
    cert: certificate,
    key,
    ca: [],
    ciphers,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    secureOptions: NodeCrypto.constants.SSL_OP_NO_TICKET
  })

/** Draws a key on P-256 and certifies it for `identity`, from an hour before `now` for a hundred years. */
export const make = (identity: Identity["Service"], crypto: Crypto["Service"], now: number): tls.SecureContext => {
  const { privateKey, publicKey } = NodeCrypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
  const spki = publicKey.export({ type: "spki", format: "der" })
  const serial = crypto.sha256(spki).slice(0, 8)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  const certificate = Certificate.make(
    {
      serial,
      algorithm: ecdsaSha256,
      publicKey: spki,
      notBefore: now - hour,
      notAfter: now + century,
      extensions: [Proof.extension(identity.publicKey, identity.sign(Proof.signedBytes(spki)))]
    },
    (signed) => NodeCrypto.sign("sha256", signed, privateKey)
  )
  return context(pem("CERTIFICATE", certificate), privateKey.export({ type: "pkcs8", format: "pem" }).toString())
}
