/** What every routing and every record store must do, done by a DHT of four nodes in memory. */
import { assert } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import { contentKey, peerRoutingSuite } from "../../../src/conformance/PeerRouting.ts"
import { recordStoreSuite } from "../../../src/conformance/RecordStore.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as KadRecordStore from "../../../src/layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../../src/layers/kad/KadRouting.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import { ContentRouting } from "../../../src/services/ContentRouting.ts"
import { Kad } from "../../../src/services/Kad.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"

const size = 4

const node = (network: MemoryNet.Network, n: number) =>
  KadRecordStore.layer().pipe(
    Layer.provideMerge(KadRouting.layer({ wan: false, mode: "server", records: MemoryRecordStore.make() })),
    Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(n))),
    Layer.provide(Layer.mergeAll(network.host([`10.0.${n}.1`]), NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh,
    Layer.build,
    Effect.orDie
  )

/** Nodes that all know each other. */
const nodes = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const all = yield* Effect.forEach(Array.from({ length: size }), (_, i) => node(network, i + 1))
  const peers = all.map((one, i) => ({
    peer: Context.get(one, Swarm).peerId,
    addresses: [Multiaddr.fromStringUnsafe(`/ip4/10.0.${i + 1}.1/tcp/4001`)]
  }))
  for (const [i, one] of all.entries()) {
    for (const other of peers.slice(0, i)) yield* Effect.orDie(Context.get(one, Swarm).dial(other))
  }
  for (let turn = 0; turn < 5000; turn++) {
    yield* Effect.yieldNow
    const statuses = yield* Effect.forEach(all, (one) => Context.get(one, Kad).status)
    if (statuses.flat().every((status) => status.peers === size - 1)) break
  }
  const [first, second] = all
  if (first === undefined || second === undefined) return yield* Effect.die("no nodes")
  return { first, second, all, peers }
})

peerRoutingSuite(
  "kad",
  Effect.map(nodes, ({ first, peers }) => ({ routing: Context.get(first, PeerRouting), peers: peers.slice(1) }))
)

const key = contentKey(0)
contentRoutingSuite(
  "kad",
  Effect.gen(function* () {
    const { all, first, peers, second } = yield* nodes
    for (const one of all.slice(1, 3)) yield* Effect.orDie(Context.get(one, ContentRouting).provide(key))
    // On its way to the holders: it is not answered.
    yield* Effect.repeat(Effect.yieldNow, { times: 1000 })
    return {
      routing: Context.get(first, ContentRouting),
      key,
      providers: peers.slice(1, 3),
      announces: { self: peers[0]?.peer ?? assert.fail("no peer"), other: Context.get(second, ContentRouting) }
    }
  })
)

// How long others keep a record is theirs to say.
recordStoreSuite(
  "kad",
  Effect.map(nodes, ({ first }) => Context.get(first, RecordStore)),
  { deletes: false, expires: false }
)
