/**
 * PeerId: the name of a peer, made from its public key. Short keys (Ed25519,
 * secp256k1) are inside it, others only by their SHA-256.
 *
 * https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#peer-ids
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Bytes from "./Bytes.ts"
import * as Keys from "./Keys.ts"
import * as Multibase from "./Multibase.ts"

/** Text or bytes are not a peer id. `input` is the text, or the bytes in hexadecimal, cut to 120 characters. */
export class PeerIdError extends Schema.TaggedError<PeerIdError>()("PeerIdError", {
  input: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `peer id "${this.input}": ${this.detail}`
  }
}

const fail = (input: string, detail: string): Result.Result<never, PeerIdError> =>
  Result.fail(new PeerIdError({ input: input.length > 120 ? `${input.slice(0, 120)}…` : input, detail }))

/**
 * The name of a peer. Immutable; equal ids are equal to Effect's `Equal`, so it
 * serves as a key of `HashMap` and the like. For a `Map`, use `toString()`,
 * which is made once and kept.
 */
export class PeerId implements Equal.Equal {
  /** The multihash, as it travels. Do not change it. */
  readonly bytes: Uint8Array
  /** The key, where the id holds it: Ed25519 and secp256k1. */
  readonly publicKey: Keys.PublicKey | undefined
  #text: string | undefined
  #hash: number | undefined

  /** @internal Unchecked: use `fromString`, `fromBytes` or `fromPublicKey`. */
  constructor(bytes: Uint8Array, publicKey: Keys.PublicKey | undefined) {
    this.bytes = bytes
    this.publicKey = publicKey
  }

  /** The usual text, base58btc: `12D3KooW…`, `16Uiu2…`, `Qm…`. */
  toString(): string {
    this.#text ??= Multibase.toBase58(this.bytes)
    return this.#text
  }

  /** The text as a CIDv1 (`libp2p-key`, base32): `bafz…`. */
  toCid(): string {
    return Multibase.toBase32(Bytes.concat([cidPrefix, this.bytes]))
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `PeerId(${this.toString()})`
  }

  [Equal.symbol](that: unknown): boolean {
    return that instanceof PeerId && Bytes.equals(this.bytes, that.bytes)
  }

  [Hash.symbol](): number {
    this.#hash ??= Hash.string(this.toString())
    return this.#hash
  }
}

/** CID version 1, multicodec `libp2p-key`. */
const cidPrefix = Uint8Array.of(0x01, 0x72)

const codeIdentity = 0x00
const codeSha256 = 0x12

/** A key that serialises to at most this many bytes is inside its peer id. */
const maxInlineKey = 42

/** The longest peer id, in bytes. */
export const maxSize = 2 + maxInlineKey

/** The longest text read, in characters; the longest real one is a CID in hexadecimal, 93. */
const maxText = 128

const read = (bytes: Uint8Array): PeerId | string => {
  const code = bytes[0]
  const length = bytes[1]
  if (code === undefined || length === undefined) return "too short for a multihash"
  if (bytes.length !== 2 + length) return `the multihash says ${length} bytes and has ${bytes.length - 2}`
  if (code === codeSha256) {
    return length === 32 ? new PeerId(bytes.slice(), undefined) : `a SHA-256 has 32 bytes, not ${length}`
  }
  if (code !== codeIdentity) {
    return `peer ids are identity or SHA-256 multihashes, this has code 0x${code.toString(16)}`
  }
  if (length > maxInlineKey) return `a key of ${length} bytes must be hashed: at most ${maxInlineKey} go inline`
  return Result.match(Keys.decodePublicKey(bytes.subarray(2)), {
    onSuccess: (publicKey): PeerId | string => new PeerId(bytes.slice(), publicKey),
    onFailure: (error) => `the key inside is malformed: ${error.detail}`
  })
}

/**
 * Reads a multihash. It must be SHA-256, or an identity multihash of a public
 * key of at most 42 bytes. The id has memory of its own.
 */
export const fromBytes = (bytes: Uint8Array): Result.Result<PeerId, PeerIdError> => {
  const id = read(bytes)
  return typeof id === "string" ? fail(Bytes.toHex(bytes.subarray(0, 64)), id) : Result.succeed(id)
}

/** As {@link fromBytes}, where nobody asks why it is none: making an error costs more than reading ten peer ids. */
export const parse = (bytes: Uint8Array): PeerId | undefined => {
  const id = read(bytes)
  return typeof id === "string" ? undefined : id
}

/**
 * Reads either text of a peer id: the bare base58btc (`12D3KooW…`, `16Uiu2…`,
 * `Qm…`) or a CIDv1 `libp2p-key` in base16, base32, base36, base58btc or base64.
 *
 * ```
 * const id = Result.getOrThrow(PeerId.fromString("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"))
 * ```
 */
export const fromString = (text: string): Result.Result<PeerId, PeerIdError> => {
  if (text.length > maxText) return fail(text, `${text.length} characters, over the limit of ${maxText}`)
  let multihash: Uint8Array | undefined
  if (text.startsWith("1") || text.startsWith("Qm")) {
    multihash = Multibase.fromBase58(text)
    if (multihash === undefined) return fail(text, "it is not base58btc")
  } else {
    const cid = Multibase.decode(text)
    if (cid === undefined) return fail(text, "it is neither base58btc that starts with 1 or Qm, nor a CID")
    if (cid[0] !== cidPrefix[0]) return fail(text, "a CID of a peer has version 1")
    if (cid[1] !== cidPrefix[1]) return fail(text, "a CID of a peer has the codec libp2p-key (0x72)")
    multihash = cid.subarray(2)
  }
  const id = read(multihash)
  return typeof id === "string" ? fail(text, id) : Result.succeed(id)
}

/** The peer id of a public key. */
export const fromPublicKey = (key: Keys.PublicKey): PeerId => {
  const encoded = Keys.encodePublicKey(key)
  return encoded.length <= maxInlineKey
    ? new PeerId(Bytes.concat([Uint8Array.of(codeIdentity, encoded.length), encoded]), key)
    : new PeerId(Bytes.concat([Uint8Array.of(codeSha256, 32), sha256(encoded)]), undefined)
}

export const equals = (a: PeerId, b: PeerId): boolean => a === b || Bytes.equals(a.bytes, b.bytes)

/** True when `key` is the key that the peer is named after. */
export const matchesPublicKey = (id: PeerId, key: Keys.PublicKey): boolean => equals(id, fromPublicKey(key))

export const isPeerId = (value: unknown): value is PeerId => value instanceof PeerId

/** Schema of a peer id itself. */
export const schema = Schema.declare(isPeerId, { identifier: "PeerId", expected: "a peer id" })

/** Schema that reads a peer id from either text, and writes base58btc. */
export const FromString = Schema.String.pipe(
  Schema.decodeTo(
    schema,
    SchemaTransformation.transformEffect({
      decode: (text: string, options) =>
        Result.match(fromString(text), {
          onSuccess: (id) => Effect.succeed(id),
          onFailure: (error) =>
            Effect.fail(new SchemaIssue.InvalidValue({ expected: `a peer id (${error.detail})` }, text, options))
        }),
      encode: (id: PeerId) => Effect.succeed(id.toString())
    })
  )
)
