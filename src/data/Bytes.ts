/** The few operations on bytes that the data modules share. */

const encoder = new TextEncoder()
const lenient = new TextDecoder("utf-8", { ignoreBOM: true })
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true })

/** The parts one after the other, in memory of its own. */
export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  let size = 0
  for (const part of parts) size += part.length
  const whole = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** The same bytes in memory of their own. `slice` of a Node Buffer, which is a Uint8Array too, shares its memory. */
export const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

/** True for the same bytes. It stops at the first difference: not for secrets. */
export const equals = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Lower-case hexadecimal. */
export const toHex = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0")
  return text
}

/** The bytes of hexadecimal text of either case; `undefined` if it is not. */
export const fromHex = (text: string): Uint8Array | undefined => {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** Room for the characters of one text: an array is spread seven times as fast as bytes are. */
const characters: Array<number> = []

/** Text with a character a byte, for use as the key of a `Map`. For short bytes only, such as ids and addresses. */
export const toKey = (bytes: Uint8Array): string => {
  characters.length = bytes.length
  for (let i = 0; i < bytes.length; i++) characters[i] = bytes[i] ?? 0
  return String.fromCharCode(...characters)
}

export const fromUtf8 = (text: string): Uint8Array => encoder.encode(text)

/** Text of UTF-8 bytes, in one piece; what is malformed becomes U+FFFD. */
export const toUtf8 = (bytes: Uint8Array): string => lenient.decode(bytes)

/** Text of UTF-8 bytes; `undefined` if they are malformed. */
export const toUtf8Strict = (bytes: Uint8Array): string | undefined => {
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}
