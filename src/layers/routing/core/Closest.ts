/** Which peers are closest to a key, as Kademlia measures it: XOR of SHA-256. Pure. */
import { sha256 } from "@noble/hashes/sha2.js"
import type { RoutedPeer } from "../../../services/PeerRouting.ts"

interface Candidate {
  readonly distance: Uint8Array
  readonly routed: RoutedPeer
}

const compare = (a: Uint8Array, b: Uint8Array): number => {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** The `count` peers closest to the key, the closest first, each once; of one that is told of twice, the first with addresses counts. */
export const closest = (
  key: Uint8Array,
  peers: Iterable<RoutedPeer>,
  count: number = Number.POSITIVE_INFINITY
): ReadonlyArray<RoutedPeer> => {
  const target = sha256(key)
  const candidates = new Map<string, Candidate>()
  for (const routed of peers) {
    const id = routed.peer.toString()
    const known = candidates.get(id)
    if (known !== undefined && (known.routed.addresses.length > 0 || routed.addresses.length === 0)) continue
    const distance = known?.distance ?? sha256(routed.peer.bytes).map((byte, i) => byte ^ (target[i] ?? 0))
    candidates.set(id, { distance, routed })
  }
  return [...candidates.values()]
    .toSorted((a, b) => compare(a.distance, b.distance))
    .slice(0, count)
    .map(({ routed }) => routed)
}
