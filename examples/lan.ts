// Who is on the local network, and who of them has some content: nothing is configured.
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { ContentKey, ContentRouting, IdentityFromSeed, Libp2p, LocalConnections, LocalNetwork } from "effect-libp2p"
import { MdnsNetwork, MdnsRouting, MemoryNet, MemoryPeerStore, NodeCrypto, Swarm } from "effect-libp2p"
import type { Net } from "effect-libp2p"

/** A node that finds those of its service, connects to them, and asks them for content. */
const node = (seed: number, net: Layer.Layer<Net.Net>) =>
  Layer.merge(MdnsRouting.layer, LocalConnections.layer()).pipe(
    Layer.provideMerge(MdnsNetwork.layer({ service: "example" })),
    Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
    Layer.provide(Layer.merge(Libp2p.layerTcp, MemoryPeerStore.layer())),
    Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh
  )

export const program = Effect.gen(function* () {
  // On real networks it is NodeNet.layer; here it is one in memory.
  const network = yield* MemoryNet.makeNetwork()
  const a = yield* Layer.build(node(1, network.host(["10.0.0.1"])))
  const { changes } = Context.get(a, LocalNetwork.LocalNetwork)
  const appeared = yield* Effect.forkChild(Stream.runHead(changes), { startImmediately: true })
  const b = yield* Layer.build(node(2, network.host(["10.0.0.2"])))
  const change = yield* Fiber.join(appeared)

  const cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
  const key = yield* Effect.fromResult(ContentKey.fromString(cid))
  yield* Context.get(b, ContentRouting.ContentRouting).provide(key)
  const found = yield* Stream.runHead(Context.get(a, ContentRouting.ContentRouting).findProviders(key))
  return { change, found, holder: Context.get(b, Swarm.Swarm).peerId }
}).pipe(Effect.scoped)
