// The same program on real sockets and in memory: one layer differs.
import { Context, Effect, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { IdentityFromSeed, Libp2p, MemoryNet, MemoryPeerStore, Multiaddr, NodeCrypto, Ping, Swarm } from "effect-libp2p"
import type { Net } from "effect-libp2p"

/** A node made of the layers that it is given. */
const node = (seed: number, net: Layer.Layer<Net.Net>, listen: ReadonlyArray<string>) =>
  Libp2p.layer({ listen }).pipe(
    Layer.provide(Layer.merge(Libp2p.layerTcp, MemoryPeerStore.layer())),
    Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh
  )

export const program = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const server = yield* Layer.build(node(1, network.host(["10.0.0.1"]), ["/ip4/10.0.0.1/tcp/4001"]))
  const client = yield* Layer.build(node(2, network.host(["10.0.0.2"]), []))

  const peer = Context.get(server, Swarm.Swarm).peerId
  const target = { peer, addresses: [Multiaddr.fromStringUnsafe("/ip4/10.0.0.1/tcp/4001")] }
  return yield* Stream.runCollect(Context.get(client, Ping.Ping).ping(target, { count: 3, interval: 1 }))
}).pipe(Effect.scoped)
