/**
 * The X.509 certificates of libp2p: read from DER, and made. Only the form is
 * checked here; what a certificate proves is in Proof.ts. Node's own reader is
 * of no use for this: it hides extensions that it does not know.
 *
 * RFC 5280, section 4.1
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import * as Der from "../../../data/Der.ts"

/** The largest certificate read, in bytes: one with an RSA identity of 8192 bits takes 3 KiB. */
const maxSize = 16 * 1024

export interface Extension {
  /** The object identifier, as the body of its element. */
  readonly id: Uint8Array
  readonly critical: boolean
  readonly value: Uint8Array
}

export interface Certificate {
  /** What its signature covers. */
  readonly signed: Uint8Array
  /** The AlgorithmIdentifier of its signature, the same inside and outside of what is signed. */
  readonly algorithm: Uint8Array
  readonly signature: Uint8Array
  /** The SubjectPublicKeyInfo of its key. */
  readonly publicKey: Uint8Array
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  readonly extensions: ReadonlyArray<Extension>
}

/** Bytes are not a certificate that libp2p allows. `detail` says which rule they break. */
export interface CertificateFailure {
  readonly _tag: "CertificateFailure"
  readonly detail: string
}

const fail = (detail: string): Result.Result<never, CertificateFailure> =>
  Result.fail({ _tag: "CertificateFailure", detail })

const malformed = (what: string): Result.Result<never, CertificateFailure> => fail(`the certificate has ${what}`)

const { tags } = Der
const version3 = Der.encode(Der.context(0), Der.encode(tags.integer, Uint8Array.of(2)))

/** `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, the only forms that certificates may use. */
const readTime = (element: Der.Element | undefined): number | undefined => {
  if (element === undefined) return undefined
  const text = Bytes.toUtf8(element.body)
  let full: string
  if (element.tag === tags.utcTime && /^\d{12}Z$/.test(text)) full = `${text < "5" ? "20" : "19"}${text}`
  else if (element.tag === tags.generalizedTime && /^\d{14}Z$/.test(text)) full = text
  else return undefined
  const iso = full.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6.000Z")
  const time = Date.parse(iso)
  // A date that does not exist, such as the 30th of February, would come out as another one.
  return Number.isNaN(time) || new Date(time).toISOString() !== iso ? undefined : time
}

const readExtension = (bytes: Uint8Array): Extension | undefined => {
  const parts = Der.sequence(bytes)
  if (parts === undefined) return undefined
  const [id, ...rest] = parts
  const flag = rest.length === 2 ? rest[0] : undefined
  const value = rest.at(-1)
  if (id?.tag !== tags.oid || value?.tag !== tags.octetString || rest.length > 2) return undefined
  if (flag === undefined) return { id: id.body, critical: false, value: value.body }
  const truth = flag.body[0]
  if (flag.tag !== tags.boolean || flag.body.length !== 1 || (truth !== 0 && truth !== 0xff)) return undefined
  return { id: id.body, critical: truth !== 0, value: value.body }
}

/** Reads a certificate. Its parts are views of `der`. */
export const read = (der: Uint8Array): Result.Result<Certificate, CertificateFailure> => {
  if (der.length > maxSize) return malformed(`${der.length} bytes, over the limit of ${maxSize}`)
  const outer = Der.sequence(der)
  const [signed, algorithm, signature] = outer ?? []
  const signatureBits = Der.bits(signature)
  if (outer?.length !== 3 || signed?.tag !== tags.sequence || algorithm?.tag !== tags.sequence) {
    return fail("the certificate is not DER of the right form")
  }
  if (signatureBits === undefined) return malformed("a malformed signature")
  const fields = Der.elements(signed.body)
  if (fields === undefined) return malformed("malformed contents")
  const [version, serial, inner, issuer, validity, subject, publicKey, ...rest] = fields
  if (version === undefined || !Bytes.equals(version.whole, version3)) return malformed("another version than 3")
  if (serial?.tag !== tags.integer) return malformed("no serial number")
  if (inner === undefined || !Bytes.equals(inner.whole, algorithm.whole)) {
    return malformed("two signature algorithms that differ")
  }
  if (issuer?.tag !== tags.sequence || subject?.tag !== tags.sequence) return malformed("malformed names")
  const times = validity === undefined ? undefined : Der.sequence(validity.whole)
  const notBefore = readTime(times?.[0])
  const notAfter = readTime(times?.[1])
  if (times?.length !== 2 || notBefore === undefined || notAfter === undefined) return malformed("malformed dates")
  if (publicKey?.tag !== tags.sequence) return malformed("no public key")

  const extensions: Array<Extension> = []
  const [field] = rest
  if (field !== undefined) {
    if (field.tag === 0x81 || field.tag === 0x82) return malformed("a unique id of issuer or subject")
    const list = field.tag === Der.context(3) && rest.length === 1 ? Der.sequence(field.body) : undefined
    if (list === undefined) return malformed("malformed extensions")
    for (const { whole } of list) {
      const extension = readExtension(whole)
      if (extension === undefined) return malformed("a malformed extension")
      extensions.push(extension)
    }
  }
  return Result.succeed({
    signed: signed.whole,
    algorithm: algorithm.whole,
    signature: signatureBits,
    publicKey: publicKey.whole,
    notBefore,
    notAfter,
    extensions
  })
}

/** What a certificate is made of. */
export interface Fields {
  /** Bytes of a positive number: the first is neither 0 nor above 0x7f. */
  readonly serial: Uint8Array
  /** The AlgorithmIdentifier that `sign` belongs to. */
  readonly algorithm: Uint8Array
  readonly publicKey: Uint8Array
  readonly notBefore: number
  readonly notAfter: number
  readonly extensions: ReadonlyArray<Extension>
}

const encodeTime = (time: number): Uint8Array => {
  const iso = new Date(time).toISOString()
  const digits = `${iso.slice(0, 19).replace(/[-:T]/g, "")}Z`
  return iso >= "1950" && iso < "2050"
    ? Der.encode(tags.utcTime, Bytes.fromUtf8(digits.slice(2)))
    : Der.encode(tags.generalizedTime, Bytes.fromUtf8(digits))
}

const encodeExtension = ({ critical, id, value }: Extension): Uint8Array =>
  Der.encode(
    tags.sequence,
    Der.encode(tags.oid, id),
    critical ? Der.encode(tags.boolean, Uint8Array.of(0xff)) : new Uint8Array(0),
    Der.encode(tags.octetString, value)
  )

const serialNumber = Der.encodeOid("2.5.4.5")

/** Makes a certificate of version 3 whose issuer is its subject. The dates are cut to seconds. */
export const make = (fields: Fields, sign: (signed: Uint8Array) => Uint8Array): Uint8Array => {
  // RFC 5280 asks for a name that is not empty.
  const attribute = Der.encode(tags.printableString, Bytes.fromUtf8(Bytes.toHex(fields.serial)))
  const name = Der.encode(tags.sequence, Der.encode(tags.set, Der.encode(tags.sequence, serialNumber, attribute)))
  const signed = Der.encode(
    tags.sequence,
    version3,
    Der.encode(tags.integer, fields.serial),
    fields.algorithm,
    name,
    Der.encode(tags.sequence, encodeTime(fields.notBefore), encodeTime(fields.notAfter)),
    name,
    fields.publicKey,
    fields.extensions.length === 0
      ? new Uint8Array(0)
      : Der.encode(Der.context(3), Der.encode(tags.sequence, ...fields.extensions.map(encodeExtension)))
  )
  return Der.encode(tags.sequence, signed, fields.algorithm, Der.encodeBits(sign(signed)))
}
