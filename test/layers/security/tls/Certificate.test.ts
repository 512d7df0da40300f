import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Der from "../../../../src/data/Der.ts"
import * as Keys from "../../../../src/data/Keys.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as Crypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as Certificate from "../../../../src/layers/security/tls/Certificate.ts"
import * as Proof from "../../../../src/layers/security/tls/Proof.ts"
import { hex } from "../../../../src/conformance/Crypto.ts"
import { lyingCertificates } from "./lies.ts"
import { certificate, day, honestExtension, mallory } from "./remote.ts"
import { vectors } from "./vectors.ts"

const { verify } = Crypto.make()
const now = Date.now()
const check = (der: Uint8Array, at = now) => Proof.check(verify, der, at)
const failure = (der: Uint8Array, at?: number): string =>
  Result.match(check(der, at), { onSuccess: () => assert.fail("it was accepted"), onFailure: ({ detail }) => detail })
const peerOf = (der: Uint8Array): string => PeerId.fromPublicKey(Result.getOrThrow(check(der))).toString()

describe("certificates of the specification", () => {
  it("are valid for an Ed25519, an ECDSA and a secp256k1 identity", () => {
    assert.strictEqual(peerOf(vectors.ed25519), "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv")
    assert.strictEqual(peerOf(vectors.ecdsa), "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE")
    assert.strictEqual(peerOf(vectors.secp256k1), "16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs")
  })

  it("the one that claims the identity of another is not", () => {
    assert.match(failure(vectors.invalid), /did not sign/)
  })

  it("their dates are read", () => {
    const { notAfter, notBefore } = Result.getOrThrow(Certificate.read(vectors.ed25519))
    assert.deepStrictEqual([notBefore, notAfter], [Date.UTC(1975, 0, 1, 13), Date.UTC(4096, 0, 1, 13)])
    assert.match(failure(vectors.ed25519, notBefore - 1), /not valid before 1975-01-01T13:00:00Z/)
    assert.isTrue(Result.isSuccess(check(vectors.ed25519, notBefore)))
    assert.isTrue(Result.isSuccess(check(vectors.ed25519, notAfter)))
    assert.match(failure(vectors.ed25519, notAfter + 1), /expired on 4096-01-01T13:00:00Z/)
  })
})

describe("what a certificate proves", () => {
  it("an honest one, its extension critical or not, others that are unknown beside it", () => {
    const other = { id: Der.encodeOid("2.5.29.15").subarray(2), critical: false, value: Uint8Array.of(5, 0) }
    for (const extensions of [[honestExtension], [{ ...honestExtension, critical: true }], [other, honestExtension]]) {
      assert.isTrue(Keys.equals(Result.getOrThrow(check(certificate({ extensions }))), mallory.publicKey))
    }
  })

  for (const { der, title, words } of lyingCertificates) {
    it(`nothing: ${title}`, () => {
      assert.match(failure(der), words)
    })
  }

  it("with any key and signature algorithm that is accepted", () => {
    const rsa = NodeCrypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
    const pss = (hash: string, saltLength: number) => (signed: Uint8Array) =>
      NodeCrypto.sign(hash, signed, {
        key: rsa.privateKey,
        padding: NodeCrypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength
      })
    const ec = (namedCurve: string) => NodeCrypto.generateKeyPairSync("ec", { namedCurve })
    const ed25519 = NodeCrypto.generateKeyPairSync("ed25519")
    const [p384, p521] = [ec("P-384"), ec("P-521")]
    const pssId = (n: number, salt: string) =>
      `304106092a864886f70d01010a3034a00f300d060960864801650304020${n}0500a11c301a06092a864886f70d010108300d060960864801650304020${n}0500a2030201${salt}`
    const cases: ReadonlyArray<readonly [NodeCrypto.KeyObject, string, (signed: Uint8Array) => Uint8Array]> = [
      [p384.publicKey, "300a06082a8648ce3d040303", (signed) => NodeCrypto.sign("sha384", signed, p384.privateKey)],
      [p521.publicKey, "300a06082a8648ce3d040304", (signed) => NodeCrypto.sign("sha512", signed, p521.privateKey)],
      [ed25519.publicKey, "300506032b6570", (signed) => NodeCrypto.sign(null, signed, ed25519.privateKey)],
      [rsa.publicKey, "300d06092a864886f70d01010b0500", (signed) => NodeCrypto.sign("sha256", signed, rsa.privateKey)],
      [rsa.publicKey, "300d06092a864886f70d01010d0500", (signed) => NodeCrypto.sign("sha512", signed, rsa.privateKey)],
      [rsa.publicKey, pssId(1, "20"), pss("sha256", 32)],
      [rsa.publicKey, pssId(2, "30"), pss("sha384", 48)],
      [rsa.publicKey, pssId(3, "40"), pss("sha512", 64)]
    ]
    for (const [key, algorithm, sign] of cases) {
      const publicKey = Uint8Array.from(key.export({ type: "spki", format: "der" }))
      const extension = Proof.extension(mallory.publicKey, mallory.sign(Proof.signedBytes(publicKey)))
      const der = certificate({ publicKey, algorithm: hex(algorithm), sign, extensions: [extension] })
      // OpenSSL agrees that it is a certificate.
      const read = new NodeCrypto.X509Certificate(der)
      assert.isTrue(read.verify(read.publicKey), algorithm)
      assert.isTrue(Result.isSuccess(check(der)), algorithm)
    }
  })
})

describe("the form of a certificate", () => {
  /** The honest certificate, after a change to its hexadecimal text that keeps all lengths. */
  const changed = (from: string, to: string) => {
    const text = Bytes.toHex(vectors.ed25519)
    assert.include(text, from)
    assert.strictEqual(from.length, to.length)
    return hex(text.replace(from, to))
  }
  const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
    ["nothing", new Uint8Array(0), /not DER/],
    ["more than 16 KiB", new Uint8Array(16 * 1024 + 1), /16385 bytes, over the limit of 16384/],
    ["version 1", changed("a003020102", "a003020100"), /another version than 3/],
    ["two algorithms", changed("04499602d2300a06082a8648ce3d040302", "04499602d2300a06082a8648ce3d040303"), /differ/],
    ["a 13th month", changed("3735303130313133303030305a", "3735313330313133303030305a"), /malformed dates/],
    ["a 30th of February", changed("3735303130313133303030305a", "3735303233303133303030305a"), /malformed dates/],
    ["a time that is none", changed("3735303130313133303030305a", "37353031303131333030303020"), /malformed dates/],
    ["a unique id", changed("a37c307a", "817c307a"), /unique id/],
    ["extensions under another tag", changed("a37c307a", "a47c307a"), /malformed extensions/],
    ["bytes behind it", Bytes.concat([vectors.ed25519, Uint8Array.of(0)]), /not DER/]
  ]
  for (const [title, der, words] of cases) {
    it(`${title} is refused`, () => {
      assert.match(failure(der), words)
    })
  }

  it("dates on both sides of 2050 are written in the form that RFC 5280 asks for", () => {
    for (const year of [1969, 1970, 2049, 2050, 2150]) {
      const notBefore = Date.UTC(year, 11, 31, 23, 59, 59)
      const der = certificate({ notBefore, notAfter: notBefore + day })
      assert.strictEqual(Result.getOrThrow(Certificate.read(der)).notBefore, notBefore)
      assert.strictEqual(Date.parse(new NodeCrypto.X509Certificate(der).validFrom), notBefore)
    }
  })

  it("cut off at any byte, it is refused", () => {
    for (let n = 0; n < vectors.ecdsa.length; n++) assert.isString(failure(vectors.ecdsa.subarray(0, n)))
  })

  it("with any byte changed, it is refused, unless the change is in what is not looked at", () => {
    for (let n = 0; n < vectors.ed25519.length; n++) {
      const damaged = Uint8Array.from(vectors.ed25519)
      damaged[n] = (damaged[n] ?? 0) ^ 0x55
      assert.isString(failure(damaged), `byte ${n}`)
    }
  })

  const bytes = Schema.Uint8Array
  it.prop("random bytes are never accepted, and never thrown at", [bytes, bytes], ([first, second]) => {
    const at = (first[0] ?? 0) * 2
    for (const input of [
      first,
      Der.encode(0x30, first),
      Der.encode(0x30, Der.encode(0x30, first), Der.encode(0x30, second), Der.encodeBits(first)),
      Bytes.concat([vectors.ed25519.subarray(0, at), first, vectors.ed25519.subarray(at + second.length)])
    ]) {
      // The last may come out unchanged.
      if (!Bytes.equals(input, vectors.ed25519)) assert.isString(failure(input))
    }
  })
})
