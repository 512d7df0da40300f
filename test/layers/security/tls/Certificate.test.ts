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
import { hex } from "../../../conformance/Crypto.ts"
import { lyingCertificates } from "./lies.ts"
import { certificate, day, honestExtension, mallory } from "./remote.ts"

const { verify } = Crypto.make()
const now = Date.now()
const check = (der: Uint8Array, at = now) => Proof.check(verify, der, at)
const failure = (der: Uint8Array, at?: number): string =>
  Result.match(check(der, at), { onSuccess: () => assert.fail("it was accepted"), onFailure: ({ detail }) => detail })
const peerOf = (der: Uint8Array): string => PeerId.fromPublicKey(Result.getOrThrow(check(der))).toString()

/** https://github.com/libp2p/specs/blob/master/tls/tls.md#test-vectors */
const head =
  "a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea3"
const vectors = {
  ed25519: hex(
    `308201ae30820156${head}7c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77`
  ),
  ecdsa: hex(
    `308201f63082019d${head}81c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a`
  ),
  secp256k1: hex(
    `308201ba3082015f${head}8184308181307f060a2b0601040183a25a01010471306f0425080212210206dc6968726765b820f050263ececf7f71e4955892776c0970542efd689d2382044630440220145e15a991961f0d08cd15425bb95ec93f6ffa03c5a385eedc34ecf464c7a8ab022026b3109b8a3f40ef833169777eb2aa337cfb6282f188de0666d1bcec2a4690dd300a06082a8648ce3d0403020349003046022100e1a217eeef9ec9204b3f774a08b70849646b6a1e6b8b27f93dc00ed58545d9fe022100b00dafa549d0f03547878338c7b15e7502888f6d45db387e5ae6b5d46899cef0`
  ),
  invalid: hex(
    `308201f73082019d${head}81c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f204473045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba24ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3fd56eef0d0df`
  )
}

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
