// A DHT of one's own: one node announces content, another finds out who has it. Then the same without a DHT.
import { Context, Effect, Layer, Schedule, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import {
  ContentKey,
  ContentRouting,
  IdentityFromSeed,
  KadRouting,
  Libp2p,
  MemoryNet,
  MemoryPeerStore
} from "effect-libp2p"
import { MemoryRecordStore, MemoryRouting, NodeCrypto, Swarm } from "effect-libp2p"
import type { PeerRouting } from "effect-libp2p"

/** Whoever is asked. It may build on the services of its node. */
type Routing = Layer.Layer<ContentRouting.ContentRouting | PeerRouting.PeerRouting, never, KadRouting.Needs>

const node = (seed: number, network: MemoryNet.Network, routing: Routing) =>
  routing.pipe(
    Layer.provideMerge(Libp2p.layer({ listen: [`/ip4/10.0.0.${seed}/tcp/4001`] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(network.host([`10.0.0.${seed}`]), NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh
  )

/** A server of a DHT that is entered by the peers of `bootstrap`. */
const kad = (bootstrap: ReadonlyArray<PeerRouting.RoutedPeer>): Routing =>
  KadRouting.layer({ mode: "server", bootstrap, records: MemoryRecordStore.make() })

/** A DHT is entered a moment after its node has started: until then there is nobody to ask, and that passes. */
const entered = <A>(question: Effect.Effect<A, PeerRouting.RoutingError>) =>
  Effect.retry(question, {
    while: ({ reason }) => reason._tag === "NobodyToAsk",
    schedule: Schedule.spaced("100 millis"),
    times: 50
  })

/** Announces by one node and looks by another. Which routing they have is none of its business. */
const share = (key: Uint8Array, giver: Context.Context<ContentRouting.ContentRouting>, taker: typeof giver) =>
  Effect.gen(function* () {
    yield* Context.get(giver, ContentRouting.ContentRouting).provide(key).pipe(entered)
    const { findProviders } = Context.get(taker, ContentRouting.ContentRouting)
    return yield* Stream.runCollect(Stream.take(findProviders(key, { deadline: "10 seconds" }), 1)).pipe(entered)
  })

export const program = Effect.gen(function* () {
  const cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
  const key = yield* Effect.fromResult(ContentKey.fromString(cid))

  const network = yield* MemoryNet.makeNetwork()
  const first = Context.get(yield* Layer.build(node(1, network, kad([]))), Swarm.Swarm)
  const entrance = kad([{ peer: first.peerId, addresses: yield* first.listenAddresses }])
  const b = yield* Layer.build(node(2, network, entrance))
  const c = yield* Layer.build(node(3, network, entrance))
  const byDht = yield* share(key, b, c)

  const hub = yield* MemoryRouting.makeHub
  const d = yield* Layer.build(node(4, network, MemoryRouting.layer(hub)))
  const e = yield* Layer.build(node(5, network, MemoryRouting.layer(hub)))
  const byHub = yield* share(key, d, e)
  return { byDht, byHub }
}).pipe(Effect.scoped)
