/** Peers in messages, and peers as the node knows them. What cannot be read is left out: others' words are passed on in answers. */
import * as Result from "effect/Result"
import type * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import * as Realm from "./Realm.ts"

/** Addresses of a peer that are told to others; a node has few that matter. */
export const maxToldAddresses = 32

/** Reads the peers of an answer, each once, at most `limit` of them. Addresses of other peers are left out. */
export const fromWire = (peers: ReadonlyArray<Kad.Peer>, limit: number): ReadonlyArray<RoutedPeer> => {
  const read = new Map<string, RoutedPeer>()
  for (const { addrs, id } of peers) {
    if (read.size >= limit) break
    const peer = Result.getOrUndefined(PeerId.fromBytes(id))
    if (peer === undefined || read.has(peer.toString())) continue
    read.set(peer.toString(), { peer, addresses: addrs.flatMap((bytes) => addressOf(peer, bytes)) })
  }
  return [...read.values()]
}

/** What is believed in a DHT, and known. */
export interface Belief {
  readonly addresses: Realm.Addresses
  /** Where a peer was last met. */
  readonly known: (peer: PeerId.PeerId) => ReadonlyArray<Multiaddr.Multiaddr>
}

/**
 * Reads the peers that `from` tells of, at most `limit`, with those of their
 * addresses that count in the realm; for who has none, those that are known.
 */
export const believed = (
  { addresses: which, known }: Belief,
  from: RoutedPeer,
  peers: ReadonlyArray<Kad.Peer>,
  limit: number
): ReadonlyArray<RoutedPeer> => {
  const local = from.addresses.find((address) => Multiaddr.reach(address) === "loopback") ?? from.addresses[0]
  return fromWire(peers, limit).map(({ addresses, peer }) => {
    const counting = Realm.filter(which, addresses, local)
    return { peer, addresses: counting.length > 0 ? counting : known(peer) }
  })
}

const addressOf = (peer: PeerId.PeerId, bytes: Uint8Array): ReadonlyArray<Multiaddr.Multiaddr> => {
  const address = Result.getOrUndefined(Multiaddr.fromBytes(bytes))
  if (address === undefined) return []
  const named = Multiaddr.peerId(address)
  return named === undefined || PeerId.equals(named, peer) ? [address] : []
}

/** A peer as it is told to others. */
export const toWire = ({ addresses, peer }: RoutedPeer, connected: boolean): Kad.Peer => ({
  id: peer.bytes,
  addrs: addresses.slice(0, maxToldAddresses).map(({ bytes }) => bytes),
  connection: connected ? "Connected" : "NotConnected"
})
