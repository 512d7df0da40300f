/**
 * Multibase: bytes as text, the first character saying how. The bases that
 * peer ids and certificate hashes are met in.
 *
 * https://github.com/multiformats/multibase
 */
import { base16, base16upper } from "multiformats/bases/base16"
import { base32, base32upper } from "multiformats/bases/base32"
import { base36, base36upper } from "multiformats/bases/base36"
import { base58btc } from "multiformats/bases/base58"
import { base64, base64url } from "multiformats/bases/base64"

interface Decoder {
  readonly prefix: string
  readonly decoder: { readonly decode: (text: string) => Uint8Array }
}

const codecs: ReadonlyArray<Decoder> = [
  base16,
  base16upper,
  base32,
  base32upper,
  base36,
  base36upper,
  base58btc,
  base64,
  base64url
]
const decoders = new Map(codecs.map((codec) => [codec.prefix, codec.decoder]))

/** Reads text with a multibase prefix; `undefined` if the base is unknown or the text is not in it. */
export const decode = (text: string): Uint8Array | undefined => {
  const decoder = decoders.get(text.slice(0, 1))
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

/** base58btc without a prefix. */
export const toBase58 = (bytes: Uint8Array): string => base58btc.baseEncode(bytes)

/** Reads base58btc without a prefix; `undefined` if it is not. */
export const fromBase58 = (text: string): Uint8Array | undefined => decode(`z${text}`)
