/** One DHT of a node, as those who ask and announce in it see it, and what it is made by. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { KadStatus } from "../../services/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Density } from "./core/Density.ts"
import type * as Diversity from "./core/Diversity.ts"
import type * as Key from "./core/Key.ts"
import type * as Mode from "./core/Mode.ts"
import type { Estimate } from "./core/NetworkSize.ts"
import type * as Providers from "./core/Providers.ts"
import type { Holding } from "./Holding.ts"
import type * as Lookup from "./Lookup.ts"
import type { Readings } from "./Readings.ts"
import type * as Realm from "./Realm.ts"
import type * as Rpc from "./Rpc.ts"
import type * as Server from "./Server.ts"

export interface Settings {
  /** `wan` or `lan`. */
  readonly realm: string
  readonly protocol: string
  readonly addresses: Realm.Addresses
  readonly mode: Mode.Wanted
  readonly k: number
  readonly alpha: number
  /** How many of the closest must have answered when one thing is looked for. */
  readonly beta: number
  readonly paths: number
  /** Looks out for peers that crowd around a place. */
  readonly crowds: boolean
  /** For a request, from the dial to the answer. */
  readonly requestDeadline: Duration.Duration
  /** How often the buckets are refreshed. */
  readonly refreshEvery: Duration.Duration
  readonly diversity: Diversity.Limits
  /** What others may announce here. */
  readonly providers: Providers.Limits
  /** Whether this node has the content of a key, and says so. */
  readonly provides: (key: Uint8Array) => boolean
  /** What is held for others. */
  readonly holding: Holding | undefined
  readonly server: Server.Options | undefined
  /** Peers to enter the network by. */
  readonly bootstrap: Effect.Effect<ReadonlyArray<RoutedPeer>>
  /** The peers of its table in an earlier run. */
  readonly remembered: Effect.Effect<ReadonlyArray<RoutedPeer>>
}

/** A DHT at work. */
export interface Dht {
  readonly settings: Settings
  readonly self: PeerId
  readonly rpc: Rpc.Rpc
  /** What was read from messages lately. */
  readonly readings: Readings
  /** Peers in the table. */
  readonly size: () => number
  /** Completes when there is one. */
  readonly entered: Effect.Effect<void>
  /** The peers in the table. */
  readonly contacts: () => ReadonlyArray<RoutedPeer>
  /** Peers of the network, as far as lookups tell. */
  readonly networkSize: Effect.Effect<number | undefined>
  /** The same, with how sure it is. */
  readonly sizeEstimate: Effect.Effect<Estimate | undefined>
  /** What is expected around any place now; nothing while there is nothing to go by, or crowds are not looked out for. */
  readonly density: Effect.Effect<(target: Key.Key) => Density | undefined>
  /** What others have announced here, and this node. */
  readonly providersOf: (key: Uint8Array) => Effect.Effect<ReadonlyArray<RoutedPeer>>
  /** A lookup, which ends at the closest peers, whoever they are. */
  readonly lookup: (wanted: Lookup.Wanted) => Effect.Effect<Lookup.Found>
  /** The same, and where the closest are a crowd, others of the region are asked too, and are to hold what is put: see Question. */
  readonly question: (wanted: Lookup.Wanted) => Effect.Effect<Lookup.Found>
  /** Where a peer is, as far as this node knows. */
  readonly addressesOf: (peer: PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>>
  /** Where a peer of this DHT was last met. */
  readonly known: (peer: PeerId) => ReadonlyArray<Multiaddr>
  readonly refresh: Effect.Effect<void>
  readonly status: Effect.Effect<KadStatus>
}
