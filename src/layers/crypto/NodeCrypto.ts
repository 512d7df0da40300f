/**
 * Crypto on node:crypto. Secrets are made into `KeyObject`s once: on Node 24,
 * raw key bytes cost 10 µs more in every operation.
 *
 * ECDSA and secp256k1 signatures differ from one call to the next, because
 * OpenSSL draws their nonces itself; use Ed25519 keys, or the noble layer, where
 * a run must repeat to the byte.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as NodeCrypto from "node:crypto"
import * as Bytes from "../../data/Bytes.ts"
import { type KeyType, PrivateKey, type PublicKey } from "../../data/Keys.ts"
import { Crypto, CryptoError, type DhKeyPair, type Signer } from "../../services/Crypto.ts"
import { attempt, fail, generate, isScalar, lowS } from "./Common.ts"
import * as Der from "./Der.ts"
import { aeadKey } from "./NodeAead.ts"

type Service = Crypto["Service"]

/** The same bytes, without the `slice` of a Buffer, which shares memory where a Uint8Array's copies. */
const plain = (buffer: Uint8Array): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const base64url = (bytes: Uint8Array): string => asBuffer(bytes).toString("base64url")

// Hashes and HKDF

const sha256 = (bytes: Uint8Array): Uint8Array => plain(NodeCrypto.hash("sha256", bytes, "buffer"))

const hkdfSha256: Service["hkdfSha256"] = (salt, input, info, length) =>
  new Uint8Array(NodeCrypto.hkdfSync("sha256", NodeCrypto.createSecretKey(input), salt, info, length))

// X25519 and Ed25519

type Curve = "X25519" | "Ed25519"

const pkcs8 = {
  X25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20]),
  Ed25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20])
}

/**
 * Node finds out that the options of an import are no key by an error that it
 * throws and catches. The stack trace of that error takes longer than the import.
 */
const withoutTraces = (load: () => NodeCrypto.KeyObject): NodeCrypto.KeyObject => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return load()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

const importSeedDer = (curve: Curve, seed: Uint8Array): NodeCrypto.KeyObject =>
  withoutTraces(() =>
    NodeCrypto.createPrivateKey({ key: Buffer.concat([pkcs8[curve], seed]), format: "der", type: "pkcs8" })
  )

const importSeedRaw = (curve: Curve, seed: Uint8Array): NodeCrypto.KeyObject =>
  withoutTraces(() =>
    NodeCrypto.createPrivateKey({
      key: asBuffer(seed),
      format: "raw-private",
      asymmetricKeyType: curve === "X25519" ? "x25519" : "ed25519"
    })
  )

/** Raw import spares a parse of DER, a quarter of the time; Node 22 has no raw import. */
const importSeed = Result.match(
  attempt("import", "", () => importSeedRaw("X25519", new Uint8Array(32).fill(1))),
  {
    onSuccess: () => importSeedRaw,
    onFailure: () => importSeedDer
  }
)

/** Takes as long as the agreement itself. */
const importPoint = (curve: Curve, point: Uint8Array): NodeCrypto.KeyObject =>
  withoutTraces(() =>
    NodeCrypto.createPublicKey({ key: { kty: "OKP", crv: curve, x: base64url(point) }, format: "jwk" })
  )

const exportPoint = (key: NodeCrypto.KeyObject): Uint8Array =>
  Uint8Array.from(Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url"))

interface ImportedPoint {
  readonly point: Uint8Array
  readonly key: NodeCrypto.KeyObject
}

/** The last two points imported: a handshake agrees with each of its remote's two keys more than once. */
let recent: readonly [ImportedPoint | undefined, ImportedPoint | undefined] = [undefined, undefined]

const importRemote = (point: Uint8Array): NodeCrypto.KeyObject => {
  for (const known of recent) if (known !== undefined && Bytes.equals(known.point, point)) return known.key
  const key = importPoint("X25519", point)
  recent = [{ point: Uint8Array.from(point), key }, recent[0]]
  return key
}

const dhKeyPair = (seed: Uint8Array): DhKeyPair => {
  const privateKey = importSeed("X25519", seed)
  return {
    publicKey: exportPoint(privateKey),
    agree: (remote) => {
      if (remote.length !== 32) return fail("agree", `an X25519 public key has 32 bytes, not ${remote.length}`)
      return attempt("agree", "the X25519 public key is of low order", () =>
        plain(NodeCrypto.diffieHellman({ privateKey, publicKey: importRemote(remote) }))
      )
    }
  }
}

// Identity keys

const ecPoint = (
  curve: "secp256k1" | "prime256v1",
  scalar: Uint8Array,
  form: "compressed" | "uncompressed"
): Uint8Array => {
  const ecdh = NodeCrypto.createECDH(curve)
  ecdh.setPrivateKey(scalar)
  return Uint8Array.from(ecdh.getPublicKey(null, form))
}

const sec1 = (der: Uint8Array): NodeCrypto.KeyObject =>
  NodeCrypto.createPrivateKey({ key: asBuffer(der), format: "der", type: "sec1" })

const spki = (der: Uint8Array): NodeCrypto.KeyObject =>
  NodeCrypto.createPublicKey({ key: asBuffer(der), format: "der", type: "spki" })

const ready = (
  publicKey: PublicKey,
  privateKey: NodeCrypto.KeyObject,
  shape: (signature: Uint8Array) => Uint8Array = plain
): Signer => ({
  publicKey,
  sign:
    publicKey.type === "Ed25519"
      ? (message) => plain(NodeCrypto.sign(null, message, privateKey))
      : (message) => shape(plain(NodeCrypto.sign("sha256", message, privateKey)))
})

const signer: Service["signer"] = (key) => {
  const bytes = key.bytes
  switch (key.type) {
    case "Ed25519": {
      if (bytes.length !== 64) return fail("import", `an Ed25519 private key has 64 bytes, not ${bytes.length}`)
      return Result.flatMap(
        attempt("import", "not an Ed25519 private key", () => importSeed("Ed25519", bytes.subarray(0, 32))),
        (privateKey) => {
          const point = exportPoint(privateKey)
          return Bytes.equals(point, bytes.subarray(32))
            ? Result.succeed(ready({ type: "Ed25519", bytes: point }, privateKey))
            : fail("import", "the public half of the Ed25519 key does not belong to its seed")
        }
      )
    }
    case "secp256k1": {
      if (bytes.length !== 32 || !isScalar("secp256k1", bytes)) {
        return fail("import", "a secp256k1 private key is a number of 32 bytes, above 0 and below the curve's order")
      }
      return attempt("import", "not a secp256k1 private key", () => {
        const point = ecPoint("secp256k1", bytes, "compressed")
        return ready({ type: "secp256k1", bytes: point }, sec1(Der.secp256k1PrivateKey(bytes, point)), lowS)
      })
    }
    case "ECDSA": {
      const parsed = Der.p256Scalar(bytes)
      if (parsed === undefined || !isScalar("ECDSA", parsed.scalar)) {
        return fail("import", "not an ECDSA private key on P-256 in DER (SEC 1)")
      }
      return Result.flatMap(
        attempt("import", "not an ECDSA private key", () => ecPoint("prime256v1", parsed.scalar, "uncompressed")),
        (point) => {
          if (parsed.point !== undefined && !Bytes.equals(parsed.point, point)) {
            return fail("import", "the public half of the ECDSA key does not belong to its private half")
          }
          const publicKey: PublicKey = { type: "ECDSA", bytes: Der.p256PublicKey(point) }
          return attempt("import", "not an ECDSA private key", () =>
            ready(publicKey, sec1(Der.p256PrivateKey(parsed.scalar, point)))
          )
        }
      )
    }
    case "RSA":
      return Result.flatMap(
        attempt("import", "not an RSA private key in DER (PKCS#1)", () => {
          const privateKey = NodeCrypto.createPrivateKey({ key: asBuffer(bytes), format: "der", type: "pkcs1" })
          const der = NodeCrypto.createPublicKey(privateKey).export({ format: "der", type: "spki" })
          return { privateKey, der: plain(der) }
        }),
        ({ privateKey, der }) => {
          const wrong = Der.checkRsa(Der.rsaPublicKey(der))
          return wrong === undefined
            ? Result.succeed(ready({ type: "RSA", bytes: der }, privateKey))
            : fail("import", wrong)
        }
      )
  }
}

const importPublic = (key: PublicKey): Result.Result<NodeCrypto.KeyObject, CryptoError> => {
  const bytes = key.bytes
  switch (key.type) {
    case "Ed25519":
      if (bytes.length !== 32) return fail("import", `an Ed25519 public key has 32 bytes, not ${bytes.length}`)
      return attempt("import", "not an Ed25519 public key", () => importPoint("Ed25519", bytes))
    case "secp256k1":
      if (bytes.length !== 33) return fail("import", `a secp256k1 public key has 33 bytes, not ${bytes.length}`)
      return attempt("import", "not a point of secp256k1", () => spki(Der.secp256k1PublicKey(bytes)))
    case "ECDSA":
      if (Der.p256Point(bytes) === undefined) return fail("import", "not an ECDSA public key on P-256 in DER (PKIX)")
      return attempt("import", "not a point of P-256", () => spki(bytes))
    case "RSA": {
      const wrong = Der.checkRsa(Der.rsaPublicKey(bytes))
      return wrong === undefined ? attempt("import", "not an RSA public key", () => spki(bytes)) : fail("import", wrong)
    }
  }
}

/** Public keys kept ready: importing one costs as much as half a verification. */
const cacheSize = 512

const makeVerify = (): Service["verify"] => {
  const imported = new Map<string, NodeCrypto.KeyObject>()
  const find = (key: PublicKey): Result.Result<NodeCrypto.KeyObject, CryptoError> => {
    const name = `${key.type}:${asBuffer(key.bytes).toString("latin1")}`
    const known = imported.get(name)
    if (known !== undefined) {
      // Last used, last to go.
      imported.delete(name)
      imported.set(name, known)
      return Result.succeed(known)
    }
    const made = importPublic(key)
    if (Result.isSuccess(made)) {
      for (const oldest of imported.keys()) {
        if (imported.size < cacheSize) break
        imported.delete(oldest)
      }
      imported.set(name, made.success)
    }
    return made
  }
  return (key, message, signature) =>
    Result.flatMap(find(key), (ready) =>
      attempt("verify", "OpenSSL cannot verify with this key", () =>
        NodeCrypto.verify(key.type === "Ed25519" ? null : "sha256", message, ready, signature)
      )
    )
}

const points = {
  ed25519: (seed: Uint8Array) => exportPoint(importSeed("Ed25519", seed)),
  p256: (scalar: Uint8Array) => ecPoint("prime256v1", scalar, "uncompressed")
}

const generateRsa = (bits: number): Effect.Effect<PrivateKey, CryptoError> =>
  Effect.callback((resume) => {
    if (!Number.isInteger(bits) || bits < Der.minRsaBits || bits > Der.maxRsaBits) {
      const detail = `RSA of ${bits} bits: ${Der.minRsaBits} to ${Der.maxRsaBits} are accepted`
      return resume(Effect.fail(new CryptoError({ operation: "generate", detail })))
    }
    NodeCrypto.generateKeyPair("rsa", { modulusLength: bits }, (error, _, key) => {
      resume(
        error === null
          ? Effect.sync(() => new PrivateKey("RSA", plain(key.export({ format: "der", type: "pkcs1" }))))
          : Effect.fail(new CryptoError({ operation: "generate", detail: "OpenSSL made no RSA key" }))
      )
    })
  })

const generateKey = (type: KeyType, options?: { readonly rsaBits?: number | undefined }) =>
  type === "RSA" ? generateRsa(options?.rsaBits ?? Der.minRsaBits) : generate(type, points)

/** A Crypto on node:crypto, with its own store of imported keys. */
export const make = (): Service =>
  Crypto.of({ sha256, hkdfSha256, dhKeyPair, aeadKey, signer, verify: makeVerify(), generateKey })

/** Crypto on node:crypto: the layer to use on Node. */
export const layer: Layer.Layer<Crypto> = Layer.sync(Crypto, make)
