/** Nodes that find each other on a local network in memory. */
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { NetworkKey } from "../../../src/data/NetworkKey.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as LocalConnections from "../../../src/layers/connections/LocalConnections.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MdnsNetwork from "../../../src/layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as MdnsRecordStore from "../../../src/layers/records/MdnsRecordStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import * as MdnsRouting from "../../../src/layers/routing/MdnsRouting.ts"
import { LocalNetwork } from "../../../src/services/LocalNetwork.ts"
import type { Net } from "../../../src/services/Net.ts"
import { ContentRouting } from "../../../src/services/ContentRouting.ts"
import { PeerRouting } from "../../../src/services/PeerRouting.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"

export interface Options extends MdnsNetwork.Options {
  readonly seed: number
  readonly net: Layer.Layer<Net>
  readonly listen?: ReadonlyArray<string> | undefined
  /** Connects to those that it hears. Default false. */
  readonly connects?: boolean | undefined
  readonly wait?: MdnsRouting.Options["wait"]
  /** Seals what it says with this key. */
  readonly key?: NetworkKey | undefined
  readonly alsoPlain?: boolean | undefined
}

export const start = Effect.fnUntraced(function* (given: Options) {
  const { alsoPlain, connects, key, listen, net, seed, wait, ...options } = given
  const bytes = new Uint8Array(32).fill(seed)
  const context = yield* (connects === true ? LocalConnections.layer() : Layer.empty).pipe(
    Layer.provideMerge(MdnsRouting.layerWith({ wait })),
    Layer.provideMerge(MdnsRecordStore.layer({ wait, records: MemoryRecordStore.make() })),
    Layer.provideMerge(
      key === undefined ? MdnsNetwork.layer(options) : MdnsNetwork.layerSealed({ ...options, key, alsoPlain })
    ),
    Layer.provideMerge(Libp2p.layer({ listen: listen ?? ["/ip4/0.0.0.0/tcp/4001"] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provide(IdentityFromSeed.layer(bytes)),
    Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh,
    Layer.build,
    Effect.orDie
  )
  const swarm = Context.get(context, Swarm)
  return {
    swarm,
    network: Context.get(context, LocalNetwork),
    peers: Context.get(context, PeerRouting),
    content: Context.get(context, ContentRouting),
    peerStore: Context.get(context, PeerStore),
    records: Context.get(context, RecordStore),
    routed: { peer: swarm.peerId, addresses: yield* swarm.listenAddresses }
  }
})

export type Node = Effect.Success<ReturnType<typeof start>>

/** Waits, in real time, until something is so; for five seconds at most. */
export const until = (what: string, is: Effect.Effect<boolean>) =>
  Effect.gen(function* () {
    for (let tries = 0; tries < 500; tries++) {
      if (yield* is) return
      yield* Effect.sleep(10)
    }
    return yield* Effect.die(`not within five seconds: ${what}`)
  })

export const knows = (node: Node, ...others: ReadonlyArray<Node>) =>
  until(
    "they know each other",
    Effect.map(node.network.peers, (peers) => {
      const ids = new Set(peers.map(({ peer }) => peer.toString()))
      return others.every(({ swarm }) => ids.has(swarm.peerId.toString()))
    })
  )
