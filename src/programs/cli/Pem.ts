/** Private keys as PKCS#8 in PEM, the form that OpenSSL and most other programs read. */
import * as Result from "effect/Result"
import * as NodeCrypto from "node:crypto"
import * as Keys from "../../data/Keys.ts"

const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex")
/** SEC 1 without the public half, which OpenSSL computes: version 1, the scalar, the curve. */
const secp256k1Prefix = Buffer.from("302e0201010420", "hex")
const secp256k1Suffix = Buffer.from("a00706052b8104000a", "hex")

const toKeyObject = (key: Keys.PrivateKey): NodeCrypto.KeyObject => {
  const from = (der: Uint8Array, type: "pkcs1" | "pkcs8" | "sec1") =>
    NodeCrypto.createPrivateKey({ key: Buffer.from(der), format: "der", type })
  switch (key.type) {
    case "Ed25519":
      return from(Buffer.concat([ed25519Prefix, key.bytes.subarray(0, 32)]), "pkcs8")
    case "secp256k1":
      return from(Buffer.concat([secp256k1Prefix, key.bytes, secp256k1Suffix]), "sec1")
    case "ECDSA":
      return from(key.bytes, "sec1")
    case "RSA":
      return from(key.bytes, "pkcs1")
  }
}

const attempt = <A>(run: () => A): Result.Result<A, string> =>
  Result.try({ try: run, catch: (cause) => (cause instanceof Error ? cause.message : String(cause)) })

/** A key as PEM; fails, with a reason, for a key that OpenSSL does not take. */
export const encode = (key: Keys.PrivateKey): Result.Result<string, string> =>
  attempt(() => toKeyObject(key).export({ format: "pem", type: "pkcs8" }).toString())

const fromBase64Url = (text: string | undefined): Uint8Array => Buffer.from(text ?? "", "base64url")

const fromKeyObject = (key: NodeCrypto.KeyObject): Result.Result<Keys.PrivateKey, string> => {
  const make = (type: Keys.KeyType, bytes: Uint8Array) =>
    Result.mapError(Keys.privateKey(type, Uint8Array.from(bytes)), (error) => error.detail)
  const curve = key.asymmetricKeyDetails?.namedCurve
  switch (key.asymmetricKeyType) {
    case "ed25519": {
      const { d, x } = key.export({ format: "jwk" })
      return make("Ed25519", Buffer.concat([fromBase64Url(d), fromBase64Url(x)]))
    }
    case "rsa":
      return make("RSA", key.export({ format: "der", type: "pkcs1" }))
    case "ec":
      if (curve === "secp256k1") return make("secp256k1", fromBase64Url(key.export({ format: "jwk" }).d))
      if (curve === "prime256v1") return make("ECDSA", key.export({ format: "der", type: "sec1" }))
      return Result.fail(`libp2p has no keys on the curve ${curve ?? "of this key"}, only on P-256 and secp256k1`)
    default:
      return Result.fail(`libp2p has no keys of the type ${key.asymmetricKeyType ?? "of this key"}`)
  }
}

/** Reads PEM: PKCS#8, and the older forms of RSA and EC keys. No passphrases. */
export const decode = (pem: string): Result.Result<Keys.PrivateKey, string> =>
  Result.flatMap(
    attempt(() => NodeCrypto.createPrivateKey(pem)),
    (key) =>
      Result.flatMap(
        attempt(() => fromKeyObject(key)),
        (made) => made
      )
  )
