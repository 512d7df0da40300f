/** Peers in messages, and peers as the node knows them. What cannot be read is left out: others' words are passed on in answers. */
import * as Result from "effect/Result"
import type * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"

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
