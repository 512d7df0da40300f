/** What addresses are, as text. */
import type { Endpoint } from "../../../services/Net.ts"

export const familyOf = (host: string): 4 | 6 => (host.includes(":") ? 6 : 4)
export const isLoopback = (host: string): boolean => host === "::1" || host.startsWith("127.")
/** The address for "all of mine". */
export const wildcard = (family: 4 | 6): string => (family === 6 ? "::" : "0.0.0.0")
export const isWild = (host: string): boolean => host === "0.0.0.0" || host === "::"
export const isAddress = (host: string): boolean =>
  (host.includes(":") ? /^[0-9a-fA-F:.]+(%.+)?$/ : /^\d+\.\d+\.\d+\.\d+$/).test(host)
export const isMulticast = (host: string): boolean => {
  if (host.includes(":")) return host.toLowerCase().startsWith("ff")
  const first = Number(host.split(".")[0])
  return first >= 224 && first <= 239
}
export const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65_535
export const isSame = (a: Endpoint, b: Endpoint): boolean => a.port === b.port && a.host === b.host
/** An endpoint as one word, for tables and notes. */
export const text = (at: Endpoint): string =>
  at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`
