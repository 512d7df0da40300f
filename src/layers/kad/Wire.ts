/** Peers in messages, and peers as the node knows them. What cannot be read is left out: others' words are passed on in answers. */
import * as Result from "effect/Result"
import type * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import * as Realm from "./Realm.ts"

/** Addresses of a peer that are told to others; a node has few that matter. */
export const maxToldAddresses = 32

/** Reads each peer once, at most `limit` of them. */
const readEach = (
  peers: ReadonlyArray<Kad.Peer>,
  limit: number,
  read: (peer: Kad.Peer, id: string) => RoutedPeer | undefined
): ReadonlyArray<RoutedPeer> => {
  const all = new Map<string, RoutedPeer>()
  for (const peer of peers) {
    if (all.size >= limit) break
    // What is longer is no peer id. One character a byte: cheaper by far than the text of a peer id.
    if (peer.id.length > PeerId.maxSize) continue
    const id = String.fromCharCode(...peer.id)
    const one = all.has(id) ? undefined : read(peer, id)
    if (one !== undefined) all.set(id, one)
  }
  return [...all.values()]
}

const addressesIn = (peer: PeerId.PeerId, { addrs }: Kad.Peer): ReadonlyArray<Multiaddr.Multiaddr> =>
  addrs.flatMap((bytes) => addressOf(peer, bytes))

const readPeer = (told: Kad.Peer): RoutedPeer | undefined => {
  const peer = PeerId.parse(told.id)
  return peer === undefined ? undefined : { peer, addresses: addressesIn(peer, told) }
}

/** Reads the peers of an answer, each once, at most `limit` of them. Addresses of other peers are left out. */
export const fromWire = (peers: ReadonlyArray<Kad.Peer>, limit: number): ReadonlyArray<RoutedPeer> =>
  readEach(peers, limit, readPeer)

/** What is believed in a DHT, and known. */
export interface Belief {
  readonly addresses: Realm.Addresses
  /** Where a peer was last met. */
  readonly known: (peer: PeerId.PeerId) => ReadonlyArray<Multiaddr.Multiaddr>
  /**
   * Peer ids that were read before, by their bytes: all whom one lookup asks name
   * the same few peers, and most of its work was to read them again. Where they
   * are is read each time, since some lie.
   */
  readonly before?: Map<string, PeerId.PeerId> | undefined
}

/**
 * Reads the peers that `from` tells of, at most `limit`, with those of their
 * addresses that count in the realm; for who has none, those that are known.
 */
export const believed = (
  { addresses: which, before, known }: Belief,
  from: RoutedPeer,
  peers: ReadonlyArray<Kad.Peer>,
  limit: number
): ReadonlyArray<RoutedPeer> => {
  const local = from.addresses.find((address) => Multiaddr.reach(address) === "loopback") ?? from.addresses[0]
  return readEach(peers, limit, (told, id) => {
    const peer = before?.get(id) ?? PeerId.parse(told.id)
    if (peer === undefined) return undefined
    before?.set(id, peer)
    const counting = Realm.filter(which, addressesIn(peer, told), local)
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
