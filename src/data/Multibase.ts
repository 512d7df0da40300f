/**
 * Multibase: bytes as text, the first character saying how. The bases that
 * peer ids, CIDs and certificate hashes are met in.
 *
 * https://github.com/multiformats/multibase
 */
import { base10 } from "multiformats/bases/base10"
import { base16, base16upper } from "multiformats/bases/base16"
import { base2 } from "multiformats/bases/base2"
import { base256emoji } from "multiformats/bases/base256emoji"
import {
  base32,
  base32hex,
  base32hexpad,
  base32hexpadupper,
  base32hexupper,
  base32pad,
  base32padupper,
  base32upper,
  base32z
} from "multiformats/bases/base32"
import { base36, base36upper } from "multiformats/bases/base36"
import { base58btc, base58flickr } from "multiformats/bases/base58"
import { base64, base64pad, base64url, base64urlpad } from "multiformats/bases/base64"
import { base8 } from "multiformats/bases/base8"
import * as Bytes from "./Bytes.ts"

interface Decoder {
  readonly prefix: string
  readonly decoder: { readonly decode: (text: string) => Uint8Array }
}

const codecs: ReadonlyArray<Decoder> = [
  base2,
  base8,
  base10,
  base16,
  base16upper,
  base32,
  base32hex,
  base32hexpad,
  base32hexpadupper,
  base32hexupper,
  base32pad,
  base32padupper,
  base32upper,
  base32z,
  base36,
  base36upper,
  base58btc,
  base58flickr,
  base64,
  base64pad,
  base64url,
  base64urlpad,
  base256emoji
]
const decoders = new Map(codecs.map((codec) => [codec.prefix, codec.decoder]))

/** Reads text with a multibase prefix; `undefined` if the base is unknown or the text is not in it. */
export const decode = (text: string): Uint8Array | undefined => {
  // One of the prefixes is an emoji, of two code units.
  const decoder = decoders.get(String.fromCodePoint(text.codePointAt(0) ?? 0))
  if (decoder === undefined) return undefined
  try {
    return decoder.decode(text)
  } catch {
    return undefined
  }
}

/** base32 in lower case with its prefix `b`. */
export const toBase32 = (bytes: Uint8Array): string => base32.encode(bytes)

/** base64url with its prefix `u`. */
export const toBase64url = (bytes: Uint8Array): string => base64url.encode(bytes)

/** base64 in its common form with padding, and its prefix `M`. */
export const toBase64pad = (bytes: Uint8Array): string => base64pad.encode(bytes)

/**
 * base58btc without a prefix. The encoder appends one character after the other, which V8 keeps as a chain of pieces,
 * 1.3 KB of them for a peer id: those are kept for long, so that it is made one piece here.
 */
export const toBase58 = (bytes: Uint8Array): string => Bytes.toUtf8(Bytes.fromUtf8(base58btc.baseEncode(bytes)))

/** Reads base58btc without a prefix; `undefined` if it is not. */
export const fromBase58 = (text: string): Uint8Array | undefined => decode(`z${text}`)
