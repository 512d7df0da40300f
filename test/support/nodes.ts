/** Whole nodes for tests, on any Net. */
import { Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../src/layers/identity/FromSeed.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../src/layers/peerstore/MemoryPeerStore.ts"
import * as PerfLayer from "../../src/layers/perf/Perf.ts"
import { Actors } from "../../src/services/Actors.ts"
import { Identify } from "../../src/services/Identify.ts"
import type { Identity } from "../../src/services/Identity.ts"
import type { Net } from "../../src/services/Net.ts"
import type { Crypto } from "../../src/services/Crypto.ts"
import { PeerStore } from "../../src/services/PeerStore.ts"
import { Perf } from "../../src/services/Perf.ts"
import { Ping } from "../../src/services/Ping.ts"
import { Protocols } from "../../src/services/Protocols.ts"
import { ResourceManager } from "../../src/services/ResourceManager.ts"
import { ConnectionGater } from "../../src/services/ConnectionGater.ts"
import { ConnectionManager } from "../../src/services/ConnectionManager.ts"
import type { ConnectionSecurity } from "../../src/services/ConnectionSecurity.ts"
import type { StreamMuxer } from "../../src/services/StreamMuxer.ts"
import { Swarm } from "../../src/services/Swarm.ts"
import type { Transport } from "../../src/services/Transport.ts"

export interface TestNode {
  readonly swarm: Swarm["Service"]
  readonly protocols: Protocols["Service"]
  readonly identify: Identify["Service"]
  readonly ping: Ping["Service"]
  readonly perf: Perf["Service"]
  readonly peerStore: PeerStore["Service"]
  readonly connectionManager: ConnectionManager["Service"]
  readonly resources: ResourceManager["Service"]
  readonly actors: Actors["Service"]
  /** Its first address, with its id. */
  readonly address: Multiaddr.Multiaddr
  /** Ends it before the test does. */
  readonly stop: Effect.Effect<void>
}

export interface NodeOptions extends Libp2p.Options {
  /** Tells peers apart: the first byte of the key's seed. */
  readonly seed: number
  readonly net: Layer.Layer<Net>
  /** Instead of one in memory. */
  readonly peerStore?: Layer.Layer<PeerStore, never, Crypto> | undefined
  readonly gater?: ConnectionGater | undefined
  /** Instead of TCP, Noise and Yamux. */
  readonly below?:
    | Layer.Layer<
        Transport | ConnectionSecurity | StreamMuxer,
        never,
        Net | Crypto | Identity | SecureRandom.SecureRandom
      >
    | undefined
}

/** Starts a node; it ends with the scope. */
export const startNode = Effect.fnUntraced(function* ({ seed, net, below, gater, peerStore, ...options }: NodeOptions) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const bytes = new Uint8Array(32)
  bytes[0] = seed
  const context = yield* PerfLayer.layer.pipe(
    Layer.provideMerge(Libp2p.layer(options)),
    Layer.provide(below ?? Libp2p.layerTcp),
    Layer.provideMerge(peerStore ?? MemoryPeerStore.layer()),
    Layer.provide(IdentityFromSeed.layer(bytes)),
    Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.provide(Layer.succeed(ConnectionGater, gater ?? {})),
    Layer.fresh,
    Layer.buildWithScope(scope),
    Effect.orDie
  )
  const swarm = Context.get(context, Swarm)
  const [first] = yield* swarm.listenAddresses
  const node: TestNode = {
    swarm,
    protocols: Context.get(context, Protocols),
    identify: Context.get(context, Identify),
    ping: Context.get(context, Ping),
    perf: Context.get(context, Perf),
    peerStore: Context.get(context, PeerStore),
    connectionManager: Context.get(context, ConnectionManager),
    resources: Context.get(context, ResourceManager),
    actors: Context.get(context, Actors),
    address: Multiaddr.withPeer(first ?? Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1"), swarm.peerId),
    stop: Scope.close(scope, Exit.void)
  }
  return node
})

/** For tests that provoke what would be logged. */
export const silent = Logger.layer([])
