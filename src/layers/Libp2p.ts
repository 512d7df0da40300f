/**
 * Whole nodes, composed of the public layers and nothing else. Where a preset
 * does not fit, copy its few lines and change the one that matters.
 */
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Multiaddr from "../data/Multiaddr.ts"
import type { PrivateKey } from "../data/Keys.ts"
import { Swarm } from "../services/Swarm.ts"
import * as Actors from "./actors/Actors.ts"
import * as NodeCrypto from "./crypto/NodeCrypto.ts"
import * as Identify from "./identify/Identify.ts"
import * as IdentityFromKey from "./identity/FromKey.ts"
import * as IdentityGenerated from "./identity/Generated.ts"
import * as Yamux from "./muxer/Yamux.ts"
import * as NodeNet from "./net/NodeNet.ts"
import * as MemoryPeerStore from "./peerstore/MemoryPeerStore.ts"
import * as Ping from "./ping/Ping.ts"
import * as Noise from "./security/Noise.ts"
import * as Protocols from "./swarm/Protocols.ts"
import * as SwarmLayer from "./swarm/Swarm.ts"
import * as Tcp from "./transport/Tcp.ts"

export interface Options {
  /** Where to listen, such as `/ip4/0.0.0.0/tcp/4001`. Default: nowhere; such a node can only dial. */
  readonly listen?: ReadonlyArray<string> | undefined
  readonly swarm?: SwarmLayer.Options | undefined
  readonly identify?: Identify.Options | undefined
}

/** Listens on each address for as long as the layer is in use. */
export const layerListen = (addresses: ReadonlyArray<string>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const swarm = yield* Swarm
      for (const text of addresses) yield* swarm.listen(yield* Effect.fromResult(Multiaddr.fromString(text)))
    })
  )

/**
 * A swarm with identify and ping, on whatever transport, security and
 * muxer are provided. It asks for Transport, ConnectionSecurity, StreamMuxer,
 * Identity, Net and SecureRandom.
 */
export const layer = (options?: Options) =>
  layerListen(options?.listen ?? []).pipe(
    Layer.provideMerge(Layer.mergeAll(Identify.layer(options?.identify), Ping.layer)),
    Layer.provideMerge(SwarmLayer.layer(options?.swarm)),
    Layer.provideMerge(Layer.mergeAll(Actors.layer, Protocols.layer, MemoryPeerStore.layer()))
  )

/** TCP, Noise and Yamux: what every libp2p node speaks. */
export const layerTcp = Layer.mergeAll(Tcp.layer, Noise.layer, Yamux.layer())

/** What Node and the operating system give. */
export const layerNode = Layer.mergeAll(NodeNet.layer, NodeCrypto.layer, SecureRandom.layerWebCrypto)

/**
 * A node on real sockets: TCP, Noise, Yamux, identify and ping.
 *
 * ```
 * const Node = Libp2p.layerDefault({ listen: ["/ip4/0.0.0.0/tcp/4001"] })
 * ```
 *
 * Without `privateKey` it is a new peer at each start.
 */
export const layerDefault = (options?: Options & { readonly privateKey?: PrivateKey | undefined }) =>
  layer(options).pipe(
    Layer.provide(layerTcp),
    Layer.provideMerge(
      options?.privateKey === undefined ? IdentityGenerated.layer : IdentityFromKey.layer(options.privateKey)
    ),
    Layer.provideMerge(layerNode)
  )
