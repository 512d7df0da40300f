/**
 * The key of a private network: 256 bits that all of its nodes share, and the
 * file that go-libp2p, js-libp2p, rust-libp2p and Kubo (`swarm.key`) keep it in:
 *
 * ```
 * /key/swarm/psk/1.0.0/
 * /base16/
 * <64 hexadecimal digits>
 * ```
 *
 * The second line may be `/base64/`, or `/bin/` with the 32 bytes themselves
 * behind it. Specification: pnet/Private-Networks-PSK-V1.md
 */
import { salsa20 } from "@noble/ciphers/salsa.js"
import { shake128 } from "@noble/hashes/sha3.js"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "./Bytes.ts"
import * as Multibase from "./Multibase.ts"

/** Bytes of a key. */
export const size = 32
/** More than any such file has, for who reads one. */
export const maxFileSize = 1024

const header = "/key/swarm/psk/1.0.0/"

/** How the key is written in the file. */
export const encodings = ["base16", "base64", "bin"] as const
export type Encoding = (typeof encodings)[number]

/** A file holds no key of a network. `line` is where, counted from 1; `detail` never holds any of what is written there. */
export class NetworkKeyError extends Schema.TaggedError<NetworkKeyError>()("NetworkKeyError", {
  line: Schema.Int,
  detail: Schema.String
}) {
  override get message(): string {
    return `line ${this.line} ${this.detail}`
  }
}

/** The key. Its bytes are in no property that a log, an inspector or JSON would print. */
export class NetworkKey {
  readonly #bytes: Uint8Array
  #fingerprint: string | undefined

  /** Unchecked: use {@link fromBytes} for bytes from outside. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Names the network without giving it away: 16 bytes in hexadecimal, the same in every libp2p. */
  get fingerprint(): string {
    return (this.#fingerprint ??= Bytes.toHex(fingerprintOf(this.#bytes)))
  }

  toString(): string {
    return `NetworkKey(${this.fingerprint})`
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString()
  }
}

/** SHAKE-128 of a block of Salsa20, so that neither of the two alone keeps the key secret. */
const fingerprintOf = (key: Uint8Array): Uint8Array =>
  shake128(salsa20(key, Bytes.fromUtf8("finprint"), new Uint8Array(64)), { dkLen: 16 })

const wrong = (line: number, detail: string): Result.Result<never, NetworkKeyError> =>
  Result.fail(new NetworkKeyError({ line, detail }))

/** The key of these 32 bytes, of which it keeps a copy. */
export const fromBytes = (bytes: Uint8Array): Result.Result<NetworkKey, NetworkKeyError> =>
  bytes.length === size
    ? Result.succeed(new NetworkKey(Bytes.copy(bytes)))
    : wrong(1, `must be a key of ${size} bytes: it has ${bytes.length}`)

const isBlank = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0x0a || byte === 0x0d || byte === 0x20)

/** The text of a line, up to a line feed with or without a carriage return before it, and where the next begins. */
const lineAt = (file: Uint8Array, from: number): { readonly text: string; readonly next: number } => {
  const feed = file.indexOf(0x0a, from)
  const end = feed < 0 ? file.length : feed
  return { text: Bytes.toUtf8(file.subarray(from, end)).replace(/\r+$/, ""), next: feed < 0 ? file.length : feed + 1 }
}

const fromText = (
  text: string,
  encoding: "base16" | "base64",
  rest: Uint8Array
): Result.Result<NetworkKey, NetworkKeyError> => {
  const [expected, bytes] =
    encoding === "base16"
      ? [`64 hexadecimal digits`, Bytes.fromHex(text)]
      : [`44 characters of base64, for ${size} bytes`, Multibase.decode(`M${text}`)]
  if (bytes === undefined) return wrong(3, `must be the key: ${expected}, and it is something else`)
  if (bytes.length !== size) return wrong(3, `must be the key: ${expected}; it has ${text.length}`)
  return isBlank(rest) ? fromBytes(bytes) : wrong(4, "must not be there: nothing follows the key")
}

/** Reads the file of a key. */
export const decode = (file: Uint8Array): Result.Result<NetworkKey, NetworkKeyError> => {
  if (file.length === 0) return wrong(1, `must be ${header}, and the file is empty`)
  if (file.length > maxFileSize) return wrong(1, `is of a file with ${file.length} bytes, and a key takes far fewer`)
  const first = lineAt(file, 0)
  if (first.text !== header) {
    return wrong(1, `must be ${header}, which says that a key of a network follows; it is something else`)
  }
  const second = lineAt(file, first.next)
  const encoding = encodings.find((name) => second.text === `/${name}/`)
  if (encoding === undefined) {
    return wrong(2, "must say how the key is written: /base16/, /base64/ or /bin/; it is something else")
  }
  if (second.next === file.length) return wrong(3, "must be the key, and is not there")
  if (encoding !== "bin") {
    const third = lineAt(file, second.next)
    return fromText(third.text, encoding, file.subarray(third.next))
  }
  const key = file.subarray(second.next, second.next + size)
  const rest = file.subarray(second.next + size)
  if (key.length < size) return wrong(3, `must be the ${size} bytes of the key, and has ${key.length}`)
  // An editor may have ended the last line.
  return rest.length <= 2 && isBlank(rest)
    ? fromBytes(key)
    : wrong(3, `must be the ${size} bytes of the key alone: ${rest.length} more follow`)
}

/** Writes the file of a key. What js-libp2p is to read must be in base16. */
export const encode = (key: NetworkKey, encoding: Encoding = "base16"): Uint8Array => {
  const head = Bytes.fromUtf8(`${header}\n/${encoding}/\n`)
  switch (encoding) {
    case "bin":
      return Bytes.concat([head, key.bytes])
    case "base16":
      return Bytes.concat([head, Bytes.fromUtf8(`${Bytes.toHex(key.bytes)}\n`)])
    case "base64":
      return Bytes.concat([head, Bytes.fromUtf8(`${Multibase.toBase64pad(key.bytes).slice(1)}\n`)])
  }
}
