/** IP addresses between text and bytes (4 or 16), and the ranges that matter here. */

/** The bytes of a dotted IPv4 address; `undefined` if it is not one. Leading zeros are refused. */
export const parse4 = (text: string): Uint8Array | undefined => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const bytes = new Uint8Array(4)
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1] ?? ""
    const value = Number(part)
    if (value > 255 || String(value) !== part) return undefined
    bytes[i] = value
  }
  return bytes
}

const groups = (text: string): Array<number> | undefined => {
  if (text === "") return []
  const values: Array<number> = []
  const parts = text.split(":")
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1 && part.includes(".")) {
      const tail = parse4(part)
      if (tail === undefined) return undefined
      const view = new DataView(tail.buffer)
      values.push(view.getUint16(0), view.getUint16(2))
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined
      values.push(Number.parseInt(part, 16))
    }
  }
  return values
}

/** The bytes of an IPv6 address, with `::` or a dotted tail as may be; `undefined` if it is not one. No zone. */
export const parse6 = (text: string): Uint8Array | undefined => {
  if (text.length > 45) return undefined
  const gap = text.indexOf("::")
  const head = groups(gap === -1 ? text : text.slice(0, gap))
  const tail = groups(gap === -1 ? "" : text.slice(gap + 2))
  if (head === undefined || tail === undefined) return undefined
  if (gap !== -1 && text.slice(0, gap).includes(".")) return undefined
  const given = head.length + tail.length
  if (gap === -1 ? given !== 8 : given > 7) return undefined
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  head.forEach((value, i) => view.setUint16(2 * i, value))
  tail.forEach((value, i) => view.setUint16(16 - 2 * (tail.length - i), value))
  return bytes
}

export const format4 = (bytes: Uint8Array): string => bytes.join(".")

/** The four bytes of an IPv4-mapped IPv6 address (`::ffff:0:0/96`). */
export const mapped4 = (bytes: Uint8Array): Uint8Array | undefined => {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return undefined
  return bytes[10] === 0xff && bytes[11] === 0xff ? bytes.subarray(12) : undefined
}

/** The text of 16 bytes as RFC 5952 recommends. */
export const format6 = (bytes: Uint8Array): string => {
  const mapped = mapped4(bytes)
  if (mapped !== undefined) return `::ffff:${format4(mapped)}`
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  const values = Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i))
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && values[end] === 0) end++
    if (end - i > length) {
      start = i
      length = end - i
    }
  }
  const hex = (part: ReadonlyArray<number>) => part.map((value) => value.toString(16)).join(":")
  return start === -1 ? hex(values) : `${hex(values.slice(0, start))}::${hex(values.slice(start + length))}`
}

const inPrefix = (bytes: Uint8Array, prefix: ReadonlyArray<number>, bits: number): boolean => {
  for (let i = 0, left = bits; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff
    if (((bytes[i] ?? 0) & mask) !== ((prefix[i] ?? 0) & mask)) return false
  }
  return true
}

/** The address itself, or the IPv4 address that it maps. */
const unmap = (bytes: Uint8Array): Uint8Array => (bytes.length === 16 ? (mapped4(bytes) ?? bytes) : bytes)

const loopback6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]

/** 127.0.0.0/8 and ::1. */
export const isLoopback = (bytes: Uint8Array): boolean => {
  const ip = unmap(bytes)
  return ip.length === 4 ? inPrefix(ip, [127], 8) : inPrefix(ip, loopback6, 128)
}

/** 0.0.0.0 and ::. */
export const isUnspecified = (bytes: Uint8Array): boolean => unmap(bytes).every((byte) => byte === 0)

/** Private, shared (carrier-grade NAT), link-local and unique-local networks; not loopback. */
export const isPrivate = (bytes: Uint8Array): boolean => {
  const ip = unmap(bytes)
  return ip.length === 4
    ? inPrefix(ip, [10], 8) ||
        inPrefix(ip, [172, 16], 12) ||
        inPrefix(ip, [192, 168], 16) ||
        inPrefix(ip, [100, 64], 10) ||
        inPrefix(ip, [169, 254], 16)
    : inPrefix(ip, [0xfc], 7) || inPrefix(ip, [0xfe, 0x80], 10)
}
