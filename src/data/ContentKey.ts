/**
 * ContentKey: what content is asked for by: the multihash inside a CID. CIDs of
 * other versions, bases or codecs of the same bytes have the same key.
 *
 * ```
 * const key = ContentKey.fromString("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
 * ```
 *
 * https://github.com/multiformats/cid
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "./Bytes.ts"
import * as Multibase from "./Multibase.ts"
import * as PeerId from "./PeerId.ts"
import * as Varint from "./Varint.ts"

/** Text or bytes are not a CID, or not a multihash. `input` is the text, or the bytes in hexadecimal, cut to 120 characters. */
export class ContentKeyError extends Schema.TaggedError<ContentKeyError>()("ContentKeyError", {
  input: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `not the key of content: ${JSON.stringify(this.input)}: ${this.detail}`
  }
}

/** The longest key, in bytes: a digest of 64 bytes and two varints; others of the DHT take no more than this. */
export const maxSize = 80
/** The longest text read, in characters: the longest of such keys, in base 2. */
const maxText = 1024

const codeSha256 = 0x12
const codeRaw = 0x55

const fail = (input: string, detail: string) => Result.fail(new ContentKeyError({ input: input.slice(0, 120), detail }))

/** Says what is wrong with bytes that should be a multihash; `undefined` when nothing is. */
const refuse = (bytes: Uint8Array): string | undefined => {
  if (bytes.length > maxSize) return `a multihash of ${bytes.length} bytes, over the limit of ${maxSize}`
  const code = Varint.decode(bytes, 0)
  if (code._tag !== "Complete") return "it has no hash function"
  const length = Varint.decode(bytes, code.size)
  if (length._tag !== "Complete") return "the multihash has no length"
  const rest = bytes.length - code.size - length.size
  if (length.value !== rest) return `the multihash says ${length.value} bytes and has ${rest}`
  return rest === 0 ? "the digest is empty" : undefined
}

/** The multihash in the bytes of a CID, or what is wrong with them. */
const read = (cid: Uint8Array): Uint8Array | string => {
  // Version 0 is a bare SHA-256.
  if (cid.length === 34 && cid[0] === codeSha256 && cid[1] === 32) return cid
  const version = Varint.decode(cid, 0)
  if (version._tag !== "Complete") return "it has no version"
  if (version.value !== 1) return `a CID of the unknown version ${version.value}`
  const codec = Varint.decode(cid, version.size)
  if (codec._tag !== "Complete") return "it has no codec"
  const multihash = cid.subarray(version.size + codec.size)
  return refuse(multihash) ?? multihash
}

/** The key of a CID in binary, of version 0 or 1. It has memory of its own. */
export const fromBytes = (cid: Uint8Array): Result.Result<Uint8Array, ContentKeyError> => {
  const key = read(cid)
  return typeof key === "string" ? fail(Bytes.toHex(cid.subarray(0, 64)), key) : Result.succeed(key.slice())
}

/** The key of a CID in text: version 0 (`Qm…`), or version 1 in any multibase. */
export const fromString = (text: string): Result.Result<Uint8Array, ContentKeyError> => {
  if (text.length > maxText) return fail(text, `${text.length} characters, over the limit of ${maxText}`)
  const isVersion0 = text.length === 46 && text.startsWith("Qm")
  const cid = isVersion0 ? Multibase.fromBase58(text) : Multibase.decode(text)
  if (cid === undefined) return fail(text, "it is neither of version 0 (Qm…) nor in a known multibase")
  // Version 0 is never written in a multibase.
  if (!isVersion0 && cid[0] === codeSha256) return fail(text, "a CID of the unknown version 18")
  const key = read(cid)
  return typeof key === "string" ? fail(text, key) : Result.succeed(key.slice())
}

/** Bytes that are a multihash already, checked. They have memory of their own. */
export const fromMultihash = (bytes: Uint8Array): Result.Result<Uint8Array, ContentKeyError> => {
  const wrong = refuse(bytes)
  return wrong === undefined ? Result.succeed(bytes.slice()) : fail(Bytes.toHex(bytes.subarray(0, 64)), wrong)
}

/** The key for people: a CID of version 1 of raw bytes, in base32. */
export const toText = (key: Uint8Array): string => Multibase.toBase32(Bytes.concat([Uint8Array.of(1, codeRaw), key]))

const codeIdentity = 0

/** Any key of a network for people: a peer id that is its own key, a CID, or what else it is in hexadecimal, cut. */
export const nameOf = (key: Uint8Array): string => {
  const peer = key[0] === codeIdentity ? PeerId.fromBytes(key) : undefined
  if (peer !== undefined && Result.isSuccess(peer)) return peer.success.toString()
  return refuse(key) === undefined ? toText(key) : Bytes.toHex(key.subarray(0, 64))
}
