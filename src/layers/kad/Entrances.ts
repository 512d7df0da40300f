/**
 * Peers to enter a DHT by: those that are given, those that were discovered
 * lately, those of the bootstrap list, and those that the peer store knows to
 * speak the protocol.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Discovery } from "../../services/Discovery.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { type PeerStore, tolerant } from "../../services/PeerStore.ts"
import type { Swarm } from "../../services/Swarm.ts"

/** Discovered peers that are remembered, and those that are dialled at once. */
const maxDiscovered = 64
const concurrency = 4
/** Peers of the store that are looked at. */
const maxStored = 200

/** For the way in to be found by who looks after that. */
const patience = "30 seconds"

export interface Options {
  /** Connects to peers of a bootstrap list, where there is one. */
  readonly reenter: Effect.Effect<unknown> | undefined
  readonly given: Effect.Effect<ReadonlyArray<RoutedPeer>>
  readonly discovery: Discovery["Service"] | undefined
  readonly peerStore: PeerStore["Service"]
  readonly swarm: Swarm["Service"]
  /** True while a table has room: who is discovered is dialled at once then. */
  readonly wanted: () => boolean
}

/** For the DHT of a protocol: whom to dial. Listens for discovered peers until the scope closes. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<(protocol: string) => Effect.Effect<ReadonlyArray<RoutedPeer>>, never, Scope.Scope> {
  const { discovery, given, peerStore, reenter, swarm, wanted } = options
  const use = tolerant("the DHT")
  const discovered = new Map<string, RoutedPeer>()

  const meet = (found: RoutedPeer) =>
    Effect.suspend(() => {
      const id = found.peer.toString()
      discovered.delete(id)
      discovered.set(id, { peer: found.peer, addresses: found.addresses })
      const [oldest] = discovered.keys()
      if (discovered.size > maxDiscovered && oldest !== undefined) discovered.delete(oldest)
      // Identify tells of it once it is connected.
      return wanted() ? Effect.ignore(swarm.dial(found)) : Effect.void
    })
  if (discovery !== undefined) {
    yield* Effect.forkScoped(
      Stream.runDrain(Stream.mapEffect(discovery.discovered, meet, { concurrency, unordered: true }))
    )
  }

  return (protocol) =>
    Effect.gen(function* () {
      if (reenter !== undefined) yield* Effect.timeoutOption(reenter, patience)
      const stored: Array<RoutedPeer> = []
      for (const peer of (yield* use.read(peerStore.peers(maxStored))) ?? []) {
        const info = yield* use.read(peerStore.get(peer))
        if (info === undefined || !info.protocols.includes(protocol) || info.addresses.length === 0) continue
        stored.push({ peer, addresses: info.addresses.map(({ address }) => address) })
      }
      return [...(yield* given), ...discovered.values(), ...stored]
    })
})
