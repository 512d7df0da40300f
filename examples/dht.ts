// A DHT of one's own: one node announces content, another finds out who has it. Then the same without a DHT.
import { Context, Effect, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import {
  ContentKey,
  ContentRouting,
  IdentityFromSeed,
  Kad,
  KadRouting,
  Libp2p,
  MemoryNet,
  MemoryPeerStore
} from "effect-libp2p"
import { MemoryRecordStore, MemoryRouting, NodeCrypto, Swarm } from "effect-libp2p"
import type { PeerRouting } from "effect-libp2p"

/** Whoever is asked builds on the services of its node. */
const node = <A>(seed: number, network: MemoryNet.Network, routing: Layer.Layer<A, never, KadRouting.Needs>) =>
  routing.pipe(
    Layer.provideMerge(Libp2p.layer({ listen: [`/ip4/10.0.0.${seed}/tcp/4001`] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(network.host([`10.0.0.${seed}`]), NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh
  )

/** A server of a DHT that is entered by the peers of `bootstrap`. */
const kad = (bootstrap: ReadonlyArray<PeerRouting.RoutedPeer>) =>
  KadRouting.layer({ mode: "server", bootstrap, records: MemoryRecordStore.make() })

/** A DHT is entered a moment after its node has started: until then there is nobody to ask. */
const enter = (node: Context.Context<Kad.Kad>) => Effect.timeout(Context.get(node, Kad.Kad).entered, "10 seconds")

/** Announces by one node and looks by another. Which routing they have is none of its business. */
const share = (key: Uint8Array, giver: Context.Context<ContentRouting.ContentRouting>, taker: typeof giver) =>
  Effect.gen(function* () {
    yield* Context.get(giver, ContentRouting.ContentRouting).provide(key)
    const { findProviders } = Context.get(taker, ContentRouting.ContentRouting)
    return yield* Stream.runCollect(Stream.take(findProviders(key, { deadline: "10 seconds" }), 1))
  })

export const program = Effect.gen(function* () {
  const cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
  const key = yield* Effect.fromResult(ContentKey.fromString(cid))

  const network = yield* MemoryNet.makeNetwork()
  const first = Context.get(yield* Layer.build(node(1, network, kad([]))), Swarm.Swarm)
  const entrance = kad([{ peer: first.peerId, addresses: yield* first.listenAddresses }])
  const b = yield* Layer.build(node(2, network, entrance))
  const c = yield* Layer.build(node(3, network, entrance))
  yield* Effect.all([enter(b), enter(c)])
  const byDht = yield* share(key, b, c)

  const hub = yield* MemoryRouting.makeHub
  const d = yield* Layer.build(node(4, network, MemoryRouting.layer(hub)))
  const e = yield* Layer.build(node(5, network, MemoryRouting.layer(hub)))
  const byHub = yield* share(key, d, e)
  return { byDht, byHub }
}).pipe(Effect.scoped)
