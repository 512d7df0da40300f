/**
 * The two networks that a node is in: the public one (WAN) and the local one
 * (LAN), each with a DHT of its own, so that public tables do not fill with
 * addresses that lead nowhere, and local names stay local.
 *
 * What is said and believed in each is filtered alike, on the way in and out.
 */
import * as Multiaddr from "../../data/Multiaddr.ts"

/**
 * Which addresses are told and believed: `public` ones only; `private` ones,
 * with loopback among those who met on loopback; or `any`, for networks of
 * one's own.
 */
export type Addresses = "public" | "private" | "any"

/** True for an address by way of a relay. */
export const isRelayed = (address: Multiaddr.Multiaddr): boolean =>
  address.components.some(({ name }) => name === "p2p-circuit")

/**
 * Those of the addresses that count. `from` is where the peer that tells or asks
 * is: who came over loopback may hear of loopback addresses. Relayed addresses
 * are as public as their relay.
 */
export const filter = (
  which: Addresses,
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  from: Multiaddr.Multiaddr | undefined
): ReadonlyArray<Multiaddr.Multiaddr> => {
  if (which === "any") return addresses
  const nearby = from !== undefined && Multiaddr.reach(from) === "loopback"
  return addresses.filter((address) => {
    const reach = Multiaddr.reach(address)
    if (which === "public") return reach === "public"
    return reach === "private" || (nearby && reach === "loopback" && !Multiaddr.isUnspecified(address))
  })
}

/**
 * True when a peer belongs here, by where it is connected from and what it says
 * of itself: in the public network, it has a public address that is its own; in
 * the local one, it is connected over a local address.
 */
export const belongs = (
  which: Addresses,
  remote: Multiaddr.Multiaddr,
  listen: ReadonlyArray<Multiaddr.Multiaddr>
): boolean => {
  if (which === "any") return true
  if (which === "private") return mayAsk(which, remote)
  return filter("public", listen, undefined).some((address) => !isRelayed(address))
}

/** True when a peer may ask here, by where it is connected from: what is local is told to nobody outside. */
export const mayAsk = (which: Addresses, remote: Multiaddr.Multiaddr): boolean =>
  which !== "private" || Multiaddr.reach(remote) !== "public"
