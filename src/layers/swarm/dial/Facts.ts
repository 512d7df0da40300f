/** Facts: what an address alone tells of how good it is to dial. Pure. */
import * as Multiaddr from "../../../data/Multiaddr.ts"

/** What is spoken above the network, from the one that connects in the fewest round trips to the one that takes most. */
type Kind = "quic" | "webtransport" | "tcp" | "websocket" | "other"

export interface Facts {
  readonly reach: Multiaddr.Reach
  readonly kind: Kind
  /** Of a literal address, or of a name that has one family only. */
  readonly family: 4 | 6 | undefined
  readonly udp: boolean
  /** By way of another peer, which the other facts are of. */
  readonly relayed: boolean
}

const kindOf = (names: ReadonlySet<string>): Kind =>
  names.has("webtransport")
    ? "webtransport"
    : names.has("quic-v1") || names.has("quic")
      ? "quic"
      : names.has("ws") || names.has("wss")
        ? "websocket"
        : names.has("tcp")
          ? "tcp"
          : "other"

const familyOf = (names: ReadonlySet<string>): 4 | 6 | undefined =>
  names.has("ip6") || names.has("dns6") ? 6 : names.has("ip4") || names.has("dns4") ? 4 : undefined

export const of = (address: Multiaddr.Multiaddr): Facts => {
  const names = new Set<string>(address.components.map(({ name }) => name))
  return {
    reach: Multiaddr.reach(address),
    kind: kindOf(names),
    family: familyOf(names),
    udp: names.has("udp"),
    relayed: names.has("p2p-circuit")
  }
}

const reaches: ReadonlyArray<Multiaddr.Reach> = ["loopback", "private", "public"]
const kinds: ReadonlyArray<Kind> = ["quic", "webtransport", "tcp", "websocket", "other"]

/** The class of an address; lower ones are dialled first. */
export const rank = ({ kind, reach, relayed }: Facts): number =>
  (relayed ? 100 : 0) + 10 * reaches.indexOf(reach) + kinds.indexOf(kind)
