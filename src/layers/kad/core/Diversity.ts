/**
 * Which networks the addresses of a peer are in: /16 of IPv4, /32 of IPv6. Peer
 * ids cost nothing, addresses in many networks do; so a table takes few peers
 * of one network. Loopback and private networks are none: on a LAN all peers
 * are neighbours, and that is no attack.
 */
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as Subnet from "../../../data/Subnet.ts"

export interface Limits {
  /** Peers of one network in one bucket. */
  readonly perBucket: number
  /** Peers of one network in the whole table. */
  readonly perTable: number
}

/** As go-libp2p has it for the public network. */
export const defaults: Limits = { perBucket: 2, perTable: 3 }

/** No limit: for networks of one's own. */
export const unlimited: Limits = { perBucket: Number.POSITIVE_INFINITY, perTable: Number.POSITIVE_INFINITY }

/**
 * The networks of the addresses, each once; none for names, relayed, private
 * and loopback addresses. A peer chooses what it says of itself: give the
 * address of its connection, too.
 */
export const groups = (addresses: ReadonlyArray<Multiaddr.Multiaddr>): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const address of addresses) {
    const bytes = Multiaddr.ipBytes(address)
    if (bytes === undefined || Multiaddr.reach(address) !== "public") continue
    // The IP in front of a circuit is that of the relay.
    if (address.components.some(({ name }) => name === "p2p-circuit")) continue
    const ip = Subnet.unmap(bytes)
    found.add(Subnet.format(Subnet.of(ip, ip.length === 4 ? 16 : 32)))
  }
  return [...found]
}
