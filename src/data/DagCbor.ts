/**
 * DAG-CBOR: data of maps, lists, text, bytes and links as bytes, one encoding
 * for one value, so that what is signed or hashed is the same everywhere.
 *
 * Only that encoding is read: keys are text, in their order and without
 * duplicates; lengths are definite, numbers as short as can be; the only tag is
 * 42, for links. Fractions are allowed, but no NaN and no infinity. A float
 * that is a whole number is refused too: it could not be written back as one.
 *
 * https://ipld.io/specs/codecs/dag-cbor/spec/
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Cborg from "cborg"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "./Bytes.ts"
import * as ContentKey from "./ContentKey.ts"
import * as Multibase from "./Multibase.ts"

/** Bytes are not DAG-CBOR in its one encoding, or a value has none. */
export class DagCborError extends Schema.TaggedError<DagCborError>()("DagCborError", { detail: Schema.String }) {
  override get message(): string {
    return `DAG-CBOR: ${this.detail}`
  }
}

/** A link to another object, by the bytes of its CID. */
export class Link {
  /** Do not change it. */
  readonly cid: Uint8Array

  /** @internal Unchecked: use `linkTo` or `linkFromCid`. */
  constructor(cid: Uint8Array) {
    this.cid = cid
  }

  /** The CID as text, in base32. */
  toString(): string {
    return Multibase.toBase32(this.cid)
  }

  toJSON(): { readonly "/": string } {
    return { "/": this.toString() }
  }
}

export const isLink = (value: unknown): value is Link => value instanceof Link

/** Schema of a link itself. */
export const LinkSchema = Schema.declare(isLink, { identifier: "Link", expected: "a link" })

/** CID version 1, codec dag-cbor, SHA-256 of 32 bytes. */
const cidPrefix = Uint8Array.of(0x01, 0x71, 0x12, 0x20)

/** The link to an object, given its encoding. */
export const linkTo = (encoded: Uint8Array): Link => new Link(Bytes.concat([cidPrefix, sha256(encoded)]))

/** The link of a CID. */
export const linkFromCid = (cid: Uint8Array): Result.Result<Link, DagCborError> =>
  Result.mapBoth(ContentKey.fromBytes(cid), {
    onSuccess: () => new Link(Bytes.copy(cid)),
    onFailure: ({ detail }) => new DagCborError({ detail: `a link is no CID: ${detail}` })
  })

const linkTag = 42

/** Lists and maps inside of each other, at most. */
const maxDepth = 32

/** A value of data, or what is inside of it, that has no encoding. */
class Unsupported extends Error {}

const unsupported = (what: string) => (): never => {
  throw new Unsupported(`there is no ${what} in it`)
}

const encodeOptions: Cborg.EncodeOptions = {
  float64: true,
  typeEncoders: {
    Object: (value: unknown) =>
      // The leading zero is the multibase prefix of bytes.
      isLink(value)
        ? [
            new Cborg.Token(Cborg.Type.tag, linkTag),
            new Cborg.Token(Cborg.Type.bytes, Bytes.concat([Uint8Array.of(0), value.cid]))
          ]
        : null,
    undefined: unsupported("undefined"),
    // In UTF-8 it would be another text, and two keys might be one.
    string: (value: unknown) =>
      typeof value === "string" && !value.isWellFormed() ? unsupported("text with half of a surrogate pair")() : null,
    number: (value: unknown) => (Number.isFinite(value) ? null : unsupported("NaN or infinity")())
  }
}

/** Reads no deeper than {@link maxDepth}: the decoder calls itself. */
class Tokenizer extends Cborg.Tokenizer {
  /** What is still to be read of each list, map or tag around. */
  readonly #open: Array<number> = []

  override next(): Cborg.Token {
    const token = super.next()
    while (this.#open.at(-1) === 0) this.#open.pop()
    if (this.#open.length > 0) this.#open.push((this.#open.pop() ?? 0) - 1)
    const { name } = token.type
    const items =
      name === "map" ? 2 * Number(token.value) : name === "array" ? Number(token.value) : name === "tag" ? 1 : 0
    if (items > 0 && this.#open.push(items) > maxDepth) throw new Unsupported(`it is nested deeper than ${maxDepth}`)
    return token
  }
}

const readLink = (content: Cborg.TagDecodeControl): Link => {
  const bytes: unknown = content()
  if (!(bytes instanceof Uint8Array) || bytes[0] !== 0) throw new Unsupported("a link is not the bytes of a CID")
  return Result.getOrThrowWith(linkFromCid(bytes.subarray(1)), ({ detail }) => new Unsupported(detail))
}

const decodeOptions: Cborg.DecodeOptions = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: true,
  rejectDuplicateMapKeys: true,
  tags: { [linkTag]: readLink }
}

const attempt = <A>(run: () => A): Result.Result<A, DagCborError> =>
  Result.try({
    try: run,
    catch: (thrown) =>
      new DagCborError({
        detail:
          thrown instanceof Error
            ? thrown.message.replace(/^CBOR (de|en)code error: /, "").slice(0, 200)
            : String(thrown)
      })
  })

/** The one encoding of a value of data: null, booleans, numbers, bigints, text (no halves of surrogate pairs), bytes, links, lists and plain objects of these. */
export const encode = (value: unknown): Result.Result<Uint8Array, DagCborError> =>
  // Larger ones are written into a Buffer.
  attempt(() => Bytes.copy(Cborg.encode(value, encodeOptions)))

/** Reads that one encoding and no other. Whole numbers beyond `Number.MAX_SAFE_INTEGER` are bigints. */
export const decode = (bytes: Uint8Array): Result.Result<unknown, DagCborError> =>
  Result.flatMap(
    attempt((): unknown => {
      // Of a Buffer the bytes inside would be parts, not copies.
      const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
      const tokenizer = new Tokenizer(plain, decodeOptions)
      return Cborg.decode(bytes, { ...decodeOptions, tokenizer })
    }),
    (value) =>
      // The decoder takes keys in any order and floats of any size: there is one way to write them.
      Result.flatMap(encode(value), (canonical) =>
        Bytes.equals(canonical, bytes)
          ? Result.succeed(value)
          : Result.fail(new DagCborError({ detail: "it is not in the one encoding of its value" }))
      )
  )
