/** Which peers are closest to a key, as Kademlia measures it. Pure. */
import * as KadKey from "../../../data/KadKey.ts"
import type { RoutedPeer } from "../../../services/PeerRouting.ts"

interface Candidate {
  readonly key: KadKey.Key
  readonly routed: RoutedPeer
}

/** The `count` peers closest to the key, the closest first, each once; of one that is told of twice, the first with addresses counts. */
export const closest = (
  key: Uint8Array,
  peers: Iterable<RoutedPeer>,
  count: number = Number.POSITIVE_INFINITY
): ReadonlyArray<RoutedPeer> => {
  const candidates = new Map<string, Candidate>()
  for (const routed of peers) {
    const id = routed.peer.toString()
    const known = candidates.get(id)
    if (known !== undefined && (known.routed.addresses.length > 0 || routed.addresses.length === 0)) continue
    candidates.set(id, { key: known?.key ?? KadKey.fromBytes(routed.peer.bytes), routed })
  }
  return KadKey.closest(KadKey.fromBytes(key), candidates.values(), count).map(({ routed }) => routed)
}
