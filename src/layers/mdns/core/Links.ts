/**
 * The links of a machine: where multicast DNS is spoken. A link is one family of
 * IP addresses on one interface. What is said on it is about it: its addresses,
 * and peers that are on it. Pure.
 *
 * Specification: RFC 6762, sections 6.2, 11 and 14.
 */
import * as Ip from "../../../data/IpAddress.ts"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as Subnet from "../../../data/Subnet.ts"
import type { InterfaceAddress } from "../../../services/Net.ts"

export interface Link {
  /** Such as `eth0/4`. */
  readonly id: string
  readonly interfaceName: string
  /** By which IPv6 addresses that hold on one link only are told apart. */
  readonly zone: string
  readonly family: 4 | 6
  /** An address of the machine on it, by which it is joined. */
  readonly via: string
  readonly isLoopback: boolean
  /** The addresses of the machine there, of both families, in bytes. */
  readonly own: ReadonlyArray<Uint8Array>
  /** The networks that are reached through it directly. */
  readonly subnets: ReadonlyArray<Subnet.Subnet>
}

/** Links that are used; a machine of many containers has hundreds of interfaces. */
const maxLinks = 16

const plain = (host: string): string => (host.includes("%") ? host.slice(0, host.indexOf("%")) : host)

const bytesOf = (host: string): Uint8Array | undefined => Ip.parse4(plain(host)) ?? Ip.parse6(plain(host))

/** Whether an IPv6 address is of use on its own interface only. */
const isLinkLocal6 = (ip: Uint8Array): boolean => ip.length === 16 && ip[0] === 0xfe && ((ip[1] ?? 0) & 0xc0) === 0x80

/** The links of these interfaces: loopback by IPv4, the others by each family that they have. */
export const linksOf = (
  interfaces: ReadonlyArray<InterfaceAddress>,
  which: "all" | "loopback"
): ReadonlyArray<Link> => {
  const byName = Map.groupBy(interfaces, ({ name }) => name)
  const links: Array<Link> = []
  for (const [interfaceName, addresses] of byName) {
    const isLoopback = addresses.every(({ internal }) => internal)
    if (which === "loopback" && !isLoopback) continue
    const parsed = addresses.flatMap(({ host, prefixLength }) => {
      const bytes = bytesOf(host)
      return bytes === undefined ? [] : [{ bytes, subnet: Subnet.of(bytes, prefixLength) }]
    })
    const own = parsed.map(({ bytes }) => bytes)
    const subnets = parsed.map(({ subnet }) => subnet)
    for (const family of [4, 6] as const) {
      const via = addresses.find((address) => address.family === family)?.host
      if (via === undefined || (isLoopback && family === 6)) continue
      const zone = addresses.find((address) => address.family === 6)?.zone ?? interfaceName
      links.push({ id: `${interfaceName}/${family}`, interfaceName, zone, family, via, isLoopback, own, subnets })
    }
  }
  // Real interfaces come first, whatever the order of the system.
  return links.toSorted((a, b) => Number(b.isLoopback) - Number(a.isLoopback)).slice(0, maxLinks)
}

/** Whether two describe the same state of a link. */
export const isSame = (a: Link, b: Link): boolean =>
  a.via === b.via &&
  a.own.length === b.own.length &&
  a.own.every((ip, i) => a.subnets[i]?.bits === b.subnets[i]?.bits && String(ip) === String(b.own[i]))

const isOn = ({ subnets }: Link, ip: Uint8Array): boolean => subnets.some((subnet) => Subnet.contains(subnet, ip))

/**
 * Whether a packet came from this link, as far as its sender's address says. RFC 6762, section 11, has two ways to tell:
 * that the packet was never forwarded, which Node does not tell, or that its sender is of a network of the link.
 */
export const isFrom = (link: Link, host: string): boolean => {
  const ip = bytesOf(host)
  if (ip === undefined || ip.length !== (link.family === 4 ? 4 : 16) || Subnet.unmap(ip) !== ip) return false
  const percent = host.indexOf("%")
  // Each interface has these addresses, and each socket hears what comes on all of them.
  if (isLinkLocal6(ip) && percent >= 0 && host.slice(percent + 1) !== link.zone) return false
  return isOn(link, ip)
}

const endsPlainly = (address: Multiaddr.Multiaddr): boolean =>
  !address.components.some(({ name }) => name === "p2p-circuit")

/** Of the addresses of a node, those that others on this link can use. */
export const ownOn = (link: Link, addresses: ReadonlyArray<Multiaddr.Multiaddr>): ReadonlyArray<Multiaddr.Multiaddr> =>
  addresses.filter((address) => {
    const ip = Multiaddr.ipBytes(address)
    if (ip === undefined || isLinkLocal6(ip) || !endsPlainly(address)) return false
    return link.own.some((own) => own.length === ip.length && own.every((byte, i) => byte === ip[i]))
  })

/** Whether an address that was heard on this link leads to it, and nowhere else. */
export const leadsTo = (link: Link, address: Multiaddr.Multiaddr): boolean => {
  const ip = Multiaddr.ipBytes(address)
  if (ip === undefined || isLinkLocal6(ip) || Ip.isUnspecified(ip) || !endsPlainly(address)) return false
  return isOn(link, Subnet.unmap(ip))
}
