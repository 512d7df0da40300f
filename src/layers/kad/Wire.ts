/** Peers in messages, and peers as the node knows them. What cannot be read is left out: others' words are passed on in answers. */
import type * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Readings } from "./Readings.ts"
import * as Realm from "./Realm.ts"

/** Addresses of a peer that are told to others; a node has few that matter. */
export const maxToldAddresses = 32

/** Reads each peer once, at most `limit` of them. */
const readEach = (
  readings: Readings,
  peers: ReadonlyArray<Kad.Peer>,
  limit: number,
  read: (peer: PeerId.PeerId, told: Kad.Peer) => RoutedPeer
): ReadonlyArray<RoutedPeer> => {
  const all: Array<RoutedPeer> = []
  // The same peer is the same object: a message names fewer than are remembered.
  const seen = new Set<PeerId.PeerId>()
  for (const told of peers) {
    if (all.length >= limit) break
    const peer = readings.peer(told.id)
    if (peer === undefined || seen.has(peer)) continue
    seen.add(peer)
    all.push(read(peer, told))
  }
  return all
}

const addressesIn = (readings: Readings, peer: PeerId.PeerId, { addrs }: Kad.Peer): Array<Multiaddr.Multiaddr> => {
  const all: Array<Multiaddr.Multiaddr> = []
  for (const bytes of addrs) {
    const address = readings.address(bytes)
    if (address === undefined) continue
    const named = Multiaddr.peerId(address)
    if (named === undefined || PeerId.equals(named, peer)) all.push(address)
  }
  return all
}

/** Reads the peers of an answer, each once, at most `limit` of them. Addresses of other peers are left out. */
export const fromWire = (
  readings: Readings,
  peers: ReadonlyArray<Kad.Peer>,
  limit: number
): ReadonlyArray<RoutedPeer> =>
  readEach(readings, peers, limit, (peer, told) => ({ peer, addresses: addressesIn(readings, peer, told) }))

/** What is believed in a DHT, and known. */
export interface Belief {
  readonly addresses: Realm.Addresses
  /** Where a peer was last met. */
  readonly known: (peer: PeerId.PeerId) => ReadonlyArray<Multiaddr.Multiaddr>
  /** What was read before. Where peers are is read each time, since some lie. */
  readonly readings: Readings
}

/**
 * Reads the peers that `from` tells of, at most `limit`, with those of their
 * addresses that count in the realm; for who has none, those that are known.
 */
export const believed = (
  { addresses: which, known, readings }: Belief,
  from: RoutedPeer,
  peers: ReadonlyArray<Kad.Peer>,
  limit: number
): ReadonlyArray<RoutedPeer> => {
  const local = from.addresses.find((address) => Multiaddr.reach(address) === "loopback") ?? from.addresses[0]
  return readEach(readings, peers, limit, (peer, told) => {
    const counting = Realm.filter(which, addressesIn(readings, peer, told), local)
    return { peer, addresses: counting.length > 0 ? counting : known(peer) }
  })
}

/** A peer as it is told to others. */
export const toWire = ({ addresses, peer }: RoutedPeer, connected: boolean): Kad.Peer => ({
  id: peer.bytes,
  addrs: addresses.slice(0, maxToldAddresses).map(({ bytes }) => bytes),
  connection: connected ? "Connected" : "NotConnected"
})
