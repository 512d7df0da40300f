// Who is where: asked of the nodes of this process first, then of a server; entered by a list of peers.
import { Context, Effect, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient } from "effect/http"
import { BootstrapList, CompositeRouting, DelegatedRouting, Discovery, MemoryRouting, RandomWalk } from "effect-libp2p"
import { IdentityFromSeed, Libp2p, MemoryNet, MemoryPeerStore, NodeCrypto, PeerRouting, Ping } from "effect-libp2p"
import { Routing, Swarm } from "effect-libp2p"
import type { Net } from "effect-libp2p"

/** The server is asked about peers of which the hub does not know. */
const routing = (hub: MemoryRouting.Hub) =>
  CompositeRouting.layerSequential([
    Routing.fromLayer(MemoryRouting.layer(hub)),
    DelegatedRouting.make({ url: "https://delegated-ipfs.dev" })
  ])

/** A node that enters by the peers of `list`, and walks through its network now and then. */
const node = (seed: number, net: Layer.Layer<Net.Net>, hub: MemoryRouting.Hub, list: ReadonlyArray<string>) =>
  Discovery.layerAll([BootstrapList.make({ list }), RandomWalk.make({ interval: "5 minutes" })]).pipe(
    Layer.provideMerge(routing(hub)),
    Layer.provideMerge(Libp2p.layer({ listen: [`/ip4/10.0.0.${seed}/tcp/4001`] })),
    Layer.provide(Layer.mergeAll(Libp2p.layerTcp, FetchHttpClient.layer)),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh
  )

export const program = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const hub = yield* MemoryRouting.makeHub
  const a = yield* Layer.build(node(1, network.host(["10.0.0.1"]), hub, []))
  const { peerId } = Context.get(a, Swarm.Swarm)
  const b = yield* Layer.build(
    node(2, network.host(["10.0.0.2"]), hub, [`/ip4/10.0.0.1/tcp/4001/p2p/${peerId.toString()}`])
  )

  const met = yield* Stream.runHead(Context.get(b, Discovery.Discovery).discovered)
  const found = yield* Context.get(b, PeerRouting.PeerRouting).findPeer(peerId, { deadline: "5 seconds" })
  const rtts = yield* Stream.runCollect(Context.get(b, Ping.Ping).ping(found, { count: 1 }))
  return { met, found, rtts }
}).pipe(Effect.scoped)
