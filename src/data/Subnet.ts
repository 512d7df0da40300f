/**
 * Networks of IP addresses: `192.0.2.0/24`, `2001:db8::/48`, or one address.
 * An IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`) is the IPv4
 * address, here as everywhere.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Ip from "./IpAddress.ts"

/** The text is not a network. */
export class SubnetError extends Schema.TaggedError<SubnetError>()("SubnetError", {
  input: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `"${this.input}" is not a network such as 192.0.2.0/24 or 2001:db8::/48: ${this.detail}`
  }
}

/** The addresses whose first `bits` bits are those of `bytes`; the rest of `bytes` is zero. */
export interface Subnet {
  /** 4 or 16. */
  readonly bytes: Uint8Array
  readonly bits: number
}

/** The address itself, or the IPv4 address that it maps. */
export const unmap = (ip: Uint8Array): Uint8Array => (ip.length === 16 ? (Ip.mapped4(ip) ?? ip) : ip)

/** The network of `bits` bits that an address of 4 or 16 bytes is in. */
export const of = (ip: Uint8Array, bits: number): Subnet => {
  const bytes = new Uint8Array(ip.length)
  for (let i = 0, left = bits; left > 0 && i < bytes.length; i++, left -= 8) {
    bytes[i] = (ip[i] ?? 0) & (left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff)
  }
  return { bytes, bits }
}

/** True when the address (4 or 16 bytes) is in the network. */
export const contains = (subnet: Subnet, ip: Uint8Array): boolean => {
  const plain = unmap(ip)
  if (plain.length !== subnet.bytes.length) return false
  for (let i = 0, left = subnet.bits; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff
    if (((plain[i] ?? 0) & mask) !== (subnet.bytes[i] ?? 0)) return false
  }
  return true
}

/** The address alone when it is a single one; else with its length: `192.0.2.0/24`. */
export const format = (subnet: Subnet): string => {
  const text = subnet.bytes.length === 4 ? Ip.format4(subnet.bytes) : Ip.format6(subnet.bytes)
  return subnet.bits === subnet.bytes.length * 8 ? text : `${text}/${subnet.bits}`
}

/**
 * Reads a network, or a single address. Bits after the length are dropped:
 * `192.0.2.77/24` is `192.0.2.0/24`.
 */
export const fromString = (text: string): Result.Result<Subnet, SubnetError> => {
  const fail = (detail: string) => Result.fail(new SubnetError({ input: text.slice(0, 100), detail }))
  const slash = text.indexOf("/")
  const address = slash === -1 ? text : text.slice(0, slash)
  const given = Ip.parse4(address) ?? Ip.parse6(address)
  if (given === undefined) return fail("the part before the slash is not an IP address")
  const most = given.length * 8
  const length = slash === -1 ? String(most) : text.slice(slash + 1)
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN
  if (!(bits <= most)) return fail(`the length must be a number from 0 to ${most}`)
  const mapped = given.length === 16 && bits >= 96 ? Ip.mapped4(given) : undefined
  return Result.succeed(mapped === undefined ? of(given, bits) : of(mapped, bits - 96))
}
