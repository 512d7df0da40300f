/**
 * The addresses of one peer: a short list, proven ones first, then certified,
 * then claimed, the latest learnt first in each. Values, not changed in place.
 */
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as PeerId from "../../../data/PeerId.ts"
import type { Confidence, PeerAddress } from "../../../services/PeerStore.ts"

export type Addresses = ReadonlyArray<PeerAddress>

const rank = { proven: 0, certified: 1, claimed: 2 } as const

/** Those that have not expired. */
export const live = (addresses: Addresses, now: number): Addresses =>
  addresses.every(({ expiresAt }) => now < expiresAt) ? addresses : addresses.filter(({ expiresAt }) => now < expiresAt)

/**
 * The address as it is kept: without `/p2p/<peer>` at its end. `undefined` when
 * it leads to another peer, when nothing is left of it, and when it is over the
 * bounds of addresses that are read.
 */
export const normalise = (peer: PeerId.PeerId, address: Multiaddr.Multiaddr): Multiaddr.Multiaddr | undefined => {
  const leadsTo = Multiaddr.peerId(address)
  if (leadsTo !== undefined && !PeerId.equals(leadsTo, peer)) return undefined
  const bare = Multiaddr.withoutPeer(address)
  if (bare === undefined || (bare !== address && Multiaddr.peerId(bare) !== undefined)) return undefined
  return bare.bytes.length > Multiaddr.maxSize || bare.components.length > Multiaddr.maxComponents ? undefined : bare
}

/** In their order, and the last of the least confidence cut off: what is claimed pushes out nothing better. */
const bounded = (addresses: Addresses, max: number): Addresses => {
  const of = (wanted: Confidence) => addresses.filter(({ confidence }) => confidence === wanted)
  return [...of("proven"), ...of("certified"), ...of("claimed")].slice(0, max)
}

/**
 * Learns addresses, which must be normalised. `before` must be live, or what
 * had expired would lend its confidence to what comes now. One that is known
 * keeps the better confidence and the later expiry.
 */
export const learn = (
  before: Addresses,
  given: ReadonlyArray<Multiaddr.Multiaddr>,
  confidence: Confidence,
  expiresAt: number,
  max: number
): Addresses => {
  const fresh = new Map<string, PeerAddress>()
  for (const address of given) {
    const text = address.toString()
    if (!fresh.has(text)) fresh.set(text, { address, confidence, expiresAt })
  }
  const kept: Array<PeerAddress> = []
  for (const old of before) {
    const text = old.address.toString()
    const again = fresh.get(text)
    if (again === undefined) {
      kept.push(old)
      continue
    }
    const later = Math.max(old.expiresAt, again.expiresAt)
    if (rank[old.confidence] < rank[confidence]) {
      // Hearsay about a better address does not move it forward either.
      kept.push({ ...old, expiresAt: later })
      fresh.delete(text)
    } else {
      fresh.set(text, { ...again, expiresAt: later })
    }
  }
  return bounded([...fresh.values(), ...kept], max)
}

/** The addresses of a newer record, in place of those of the last. A proven one outlives that the peer no longer names it. */
export const certify = (
  before: Addresses,
  given: ReadonlyArray<Multiaddr.Multiaddr>,
  expiresAt: number,
  max: number
): Addresses => {
  const named = new Set(given.map((address) => address.toString()))
  const rest = before.filter(({ address, confidence }) => confidence !== "certified" || named.has(address.toString()))
  return learn(rest, given, "certified", expiresAt, max)
}

export const remove = (before: Addresses, given: ReadonlyArray<Multiaddr.Multiaddr>): Addresses => {
  const named = new Set(given.map((address) => address.toString()))
  return before.filter(({ address }) => !named.has(address.toString()))
}
