/** Certificates that prove nothing, each with the words that say why. */
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Der from "../../../../src/data/Der.ts"
import * as Proof from "../../../../src/layers/security/tls/Proof.ts"
import { certificate, type Changes, day, honestExtension, keyPem, mallory, spki, victim } from "./remote.ts"

const nothing = new Uint8Array(0)
const { tags } = Der
const octets = (bytes: Uint8Array) => Der.encode(tags.octetString, bytes)
const other = { id: Der.encodeOid("2.5.29.15").subarray(2), value: Uint8Array.of(3, 2, 5, 160) }
const withExtension = (value: Uint8Array) => ({ extensions: [{ ...honestExtension, value }] })

const lies: ReadonlyArray<readonly [string, Changes, RegExp]> = [
  [
    "expired",
    { notBefore: Date.UTC(2019, 0, 1), notAfter: Date.UTC(2020, 1, 29, 1, 2, 3) },
    /expired on 2020-02-29T01:02:03Z/
  ],
  ["not yet valid", { notBefore: Date.now() + day }, /not valid before 2/],
  [
    "a self-signature over other bytes",
    { sign: () => NodeCrypto.sign("sha256", spki, keyPem) },
    /self-signature is wrong/
  ],
  ["a self-signature that is no signature", { sign: () => Uint8Array.of(1, 2, 3) }, /self-signature is wrong/],
  ["an empty self-signature", { sign: () => nothing }, /self-signature is wrong/],
  [
    "a signature on SHA-1",
    {
      algorithm: Bytes.fromHex("300906072a8648ce3d0401") ?? nothing,
      sign: (signed) => NodeCrypto.sign("sha1", signed, keyPem)
    },
    /algorithm that is not accepted: 300906072a8648ce3d0401/
  ],
  [
    "an algorithm that is not that of the key",
    {
      algorithm: Bytes.fromHex("300d06092a864886f70d01010b0500") ?? nothing,
      sign: (signed) => NodeCrypto.sign("sha256", signed, keyPem)
    },
    /self-signature is wrong/
  ],
  ["no extension", { extensions: [] }, /no libp2p extension/],
  ["another extension only", { extensions: [{ ...other, critical: false }] }, /no libp2p extension/],
  ["the extension twice", { extensions: [honestExtension, honestExtension] }, /extension 2 times/],
  [
    "an unknown critical extension",
    { extensions: [honestExtension, { ...other, critical: true }] },
    /critical extension that is not known: 2\.5\.29\.15$/
  ],
  [
    "a host signature by another key",
    { extensions: [Proof.extension(victim.publicKey, mallory.sign(Proof.signedBytes(spki)))] },
    /did not sign/
  ],
  [
    "a host signature over another key",
    { extensions: [Proof.extension(victim.publicKey, victim.sign(Proof.signedBytes(spki.toReversed())))] },
    /did not sign/
  ],
  [
    "a host signature without the prefix",
    { extensions: [Proof.extension(mallory.publicKey, mallory.sign(spki))] },
    /did not sign/
  ],
  ["an empty host signature", { extensions: [Proof.extension(mallory.publicKey, nothing)] }, /did not sign/],
  ["an empty libp2p extension", withExtension(nothing), /libp2p extension is malformed/],
  [
    "bytes after the libp2p extension",
    withExtension(Bytes.concat([honestExtension.value, Uint8Array.of(5, 0)])),
    /libp2p extension is malformed/
  ],
  [
    "a host key of no type",
    withExtension(Der.encode(tags.sequence, octets(Uint8Array.of(8, 9, 18, 0)), octets(nothing))),
    /identity key is malformed/
  ],
  [
    "a host key that is no point of its curve",
    {
      extensions: [
        Proof.extension(
          { type: "secp256k1", bytes: Uint8Array.from({ length: 33 }, (_, i) => (i === 0 ? 2 : 255)) },
          nothing
        )
      ]
    },
    /cannot be used/
  ]
]

/** Title, certificate, reason. */
export const lyingCertificates = lies.map(([title, changes, words]) => ({ title, der: certificate(changes), words }))
