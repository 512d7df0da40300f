/** Tells the holders of keys that this node provides them. */
import * as Effect from "effect/Effect"
import * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import type { Dht, Settings } from "./Dht.ts"
import * as Realm from "./Realm.ts"
import type { Rpc } from "./Rpc.ts"
import * as Wire from "./Wire.ts"

/** Peers that are told at once. */
export const concurrency = 10

/**
 * For a holder to be told: at first, and for each key. Who takes each of many
 * keys just in time for the deadline of a request would hold up all others for
 * hours; who lets 64 a second come, as nodes like this one do, has time enough.
 */
const patience = { ms: 60_000, msOfKey: 50 }

/** What is needed of a DHT to tell its peers. */
export interface Teller extends Pick<Dht, "self"> {
  readonly settings: Pick<Settings, "addresses">
  readonly rpc: Pick<Rpc, "send">
}

/** How this node names itself to a holder; `undefined` when it could not be reached from there. */
export type Name = (holder: RoutedPeer) => ReadonlyArray<Kad.Peer> | undefined

/** The name by these addresses of this node. A holder may be on this machine. */
export const nameBy =
  (dht: Teller, addresses: ReadonlyArray<Multiaddr.Multiaddr>): Name =>
  (holder) => {
    const nearby = holder.addresses.find((address) => Multiaddr.reach(address) === "loopback")
    const reachable = Realm.filter(dht.settings.addresses, addresses, nearby)
    return reachable.length === 0 ? undefined : [Wire.toWire({ peer: dht.self, addresses: reachable }, true)]
  }

/**
 * Tells a holder of keys, one after the other; gives how many it was told before
 * it could not be, or had taken too long.
 */
export const tell = (
  dht: Teller,
  holder: RoutedPeer,
  keys: ReadonlyArray<Uint8Array>,
  name: Name
): Effect.Effect<number> =>
  Effect.gen(function* () {
    const providerPeers = name(holder)
    let told = 0
    if (providerPeers === undefined) return told
    const until = (yield* monotonicMs) + patience.ms + patience.msOfKey * keys.length
    for (const key of keys) {
      if ((yield* monotonicMs) >= until) break
      const sent = yield* Effect.option(dht.rpc.send(holder, Kad.make("AddProvider", { key, providerPeers })))
      if (sent._tag === "None") break
      told++
    }
    return told
  })
