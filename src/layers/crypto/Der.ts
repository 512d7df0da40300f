/**
 * The few forms of DER that libp2p keys and signatures take. Strict: one
 * encoding of a key, since two would be two peer ids.
 */
import * as Bytes from "../../data/Bytes.ts"
import { element, type Element, encode, encodeBits, only, sequence, tags } from "../../data/Der.ts"

const fromHex = (hex: string): Uint8Array => Bytes.fromHex(hex) ?? new Uint8Array(0)

const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean => {
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false
  return true
}

/** Big-endian bytes as a number. */
export const toBigInt = (bytes: Uint8Array): bigint => BigInt(`0x0${Bytes.toHex(bytes)}`)

/** A number in `length` bytes, big-endian. */
export const fromBigInt = (value: bigint, length: number): Uint8Array =>
  fromHex(value.toString(16).padStart(2 * length, "0"))

/** Bits of a positive number. */
export const bitLength = (value: bigint): number => value.toString(2).length

const positive = (part: Element | undefined): bigint | undefined => {
  if (part === undefined || part.tag !== tags.integer || part.body.length === 0) return undefined
  const [first = 0, second = 0] = part.body
  if (first > 0x7f || (first === 0 && part.body.length > 1 && second < 0x80)) return undefined
  return toBigInt(part.body)
}

const encodeInteger = (value: bigint): Uint8Array => {
  const hex = value.toString(16)
  const bytes = fromHex(hex.length % 2 === 0 ? hex : `0${hex}`)
  return encode(tags.integer, (bytes[0] ?? 0) > 0x7f ? Bytes.concat([Uint8Array.of(0), bytes]) : bytes)
}

/** The two numbers of an ECDSA signature. */
export const decodeSignature = (der: Uint8Array): { readonly r: bigint; readonly s: bigint } | undefined => {
  const parts = sequence(der)
  if (parts?.length !== 2) return undefined
  const r = positive(parts[0])
  const s = positive(parts[1])
  return r === undefined || s === undefined ? undefined : { r, s }
}

/** An ECDSA signature of two positive numbers. */
export const encodeSignature = (r: bigint, s: bigint): Uint8Array =>
  encode(tags.sequence, encodeInteger(r), encodeInteger(s))

const rsaAlgorithm = fromHex("300d06092a864886f70d0101010500")

/** The modulus and exponent of an RSA public key in PKIX form. */
export const rsaPublicKey = (der: Uint8Array): { readonly modulus: bigint; readonly exponent: bigint } | undefined => {
  const outer = only(der, tags.sequence)
  if (outer === undefined || !startsWith(outer.body, rsaAlgorithm)) return undefined
  const bits = element(outer.body, rsaAlgorithm.length)
  if (bits === undefined || bits.tag !== tags.bitString || bits.next !== outer.body.length || bits.body[0] !== 0)
    return undefined
  const numbers = sequence(bits.body.subarray(1))
  if (numbers?.length !== 2) return undefined
  const modulus = positive(numbers[0])
  const exponent = positive(numbers[1])
  return modulus === undefined || exponent === undefined ? undefined : { modulus, exponent }
}

/** What go-libp2p accepts: RSA keys of 2048 to 8192 bits, with an exponent that is odd and below 2^31. */
export const minRsaBits = 2048
export const maxRsaBits = 8192

/** What is wrong with an RSA public key, if something is. */
export const checkRsa = (
  key: { readonly modulus: bigint; readonly exponent: bigint } | undefined
): string | undefined => {
  if (key === undefined) return "not an RSA public key in DER (PKIX)"
  const bits = bitLength(key.modulus)
  if (bits < minRsaBits || bits > maxRsaBits) {
    return `RSA of ${bits} bits: ${minRsaBits} to ${maxRsaBits} are accepted`
  }
  if (key.exponent < 3n || key.exponent >= 2n ** 31n || key.exponent % 2n === 0n) {
    return "an RSA exponent must be odd, at least 3 and below 2^31"
  }
  return undefined
}

const p256Spki = fromHex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
const p256Oid = fromHex("06082a8648ce3d030107")
const secp256k1Oid = fromHex("06052b8104000a")
const secp256k1Spki = fromHex("3036301006072a8648ce3d020106052b8104000a032200")

/** A P-256 point (65 bytes, uncompressed) as PKIX. */
export const p256PublicKey = (point: Uint8Array): Uint8Array => Bytes.concat([p256Spki, point])

/** The point of a P-256 key in PKIX form; `undefined` for any other curve or form. */
export const p256Point = (der: Uint8Array): Uint8Array | undefined =>
  der.length === p256Spki.length + 65 && startsWith(der, p256Spki) && der[p256Spki.length] === 4
    ? der.subarray(p256Spki.length)
    : undefined

/** A secp256k1 point (33 bytes, compressed) as PKIX. */
export const secp256k1PublicKey = (point: Uint8Array): Uint8Array => Bytes.concat([secp256k1Spki, point])

const version1 = Uint8Array.of(tags.integer, 1, 1)

/** A private key as SEC 1 (RFC 5915) with its curve and public point. */
const sec1 = (oid: Uint8Array, scalar: Uint8Array, point: Uint8Array): Uint8Array =>
  encode(tags.sequence, version1, encode(tags.octetString, scalar), encode(0xa0, oid), encode(0xa1, encodeBits(point)))

/** A P-256 private key (32 bytes) and its point (65 bytes) as SEC 1. */
export const p256PrivateKey = (scalar: Uint8Array, point: Uint8Array): Uint8Array => sec1(p256Oid, scalar, point)

/** A secp256k1 private key (32 bytes) and its point as SEC 1. */
export const secp256k1PrivateKey = (scalar: Uint8Array, point: Uint8Array): Uint8Array =>
  sec1(secp256k1Oid, scalar, point)

/** The scalar of a P-256 private key in SEC 1 form, and its public point if it holds one. */
export const p256Scalar = (
  der: Uint8Array
): { readonly scalar: Uint8Array; readonly point: Uint8Array | undefined } | undefined => {
  const parts = sequence(der)
  const [version, key, ...rest] = parts ?? []
  if (version === undefined || positive(version) !== 1n || key?.tag !== tags.octetString || key.body.length !== 32)
    return undefined
  const curve = rest.find((part) => part.tag === 0xa0)
  if (curve === undefined || curve.body.length !== p256Oid.length || !startsWith(curve.body, p256Oid)) return undefined
  const published = rest.find((part) => part.tag === 0xa1)
  const bits = published === undefined ? undefined : element(published.body, 0)
  return { scalar: key.body, point: bits?.body.subarray(1) }
}
