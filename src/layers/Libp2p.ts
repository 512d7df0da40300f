/**
 * Whole nodes, composed of the public layers and nothing else. Where a preset
 * does not fit, copy its few lines and change the one that matters.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Multiaddr from "../data/Multiaddr.ts"
import type { PrivateKey } from "../data/Keys.ts"
import type { NetworkKey } from "../data/NetworkKey.ts"
import * as ConnectionSecurity from "../services/ConnectionSecurity.ts"
import type { PrivateNetworkError } from "../services/PrivateNetwork.ts"
import { Swarm } from "../services/Swarm.ts"
import * as Actors from "./actors/Actors.ts"
import * as ConnectionManager from "./connections/ConnectionManager.ts"
import * as NodeCrypto from "./crypto/NodeCrypto.ts"
import * as Identify from "./identify/Identify.ts"
import * as IdentityFromKey from "./identity/FromKey.ts"
import * as IdentityGenerated from "./identity/Generated.ts"
import * as Yamux from "./muxer/Yamux.ts"
import * as NodeMachine from "./net/NodeMachine.ts"
import * as NodeNet from "./net/NodeNet.ts"
import * as MemoryPeerStore from "./peerstore/MemoryPeerStore.ts"
import * as Ping from "./ping/Ping.ts"
import * as PrivateNetwork from "./pnet/PrivateNetwork.ts"
import * as ResourceManager from "./resources/ResourceManager.ts"
import * as TurnScheduler from "./scheduler/TurnScheduler.ts"
import * as Noise from "./security/Noise.ts"
import * as Tls from "./security/Tls.ts"
import * as Protocols from "./swarm/Protocols.ts"
import * as SwarmLayer from "./swarm/Swarm.ts"
import * as Tcp from "./transport/Tcp.ts"

export interface Options {
  /** Where to listen, such as `/ip4/0.0.0.0/tcp/4001`. Default: nowhere; such a node can only dial. */
  readonly listen?: ReadonlyArray<string> | undefined
  /** The limits to change; see docs/limits.md. */
  readonly limits?: ResourceManager.LimitChanges | undefined
  /** Between how many connections the node stays; see docs/limits.md. */
  readonly connectionManager?: ConnectionManager.Options | undefined
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
 * A swarm within limits, with a connection manager, identify and ping, on whatever transport, security,
 * muxer and peer store are provided. It asks for Transport, ConnectionSecurity,
 * StreamMuxer, PeerStore, Identity, Crypto, Net and SecureRandom.
 */
export const layer = (options?: Options) =>
  layerListen(options?.listen ?? []).pipe(
    Layer.provideMerge(
      Layer.mergeAll(Identify.layer(options?.identify), Ping.layer, ConnectionManager.layer(options?.connectionManager))
    ),
    Layer.provideMerge(SwarmLayer.layer(options?.swarm)),
    Layer.provideMerge(
      Layer.mergeAll(Actors.layer, Protocols.layer, ResourceManager.layer({ limits: options?.limits }))
    )
  )

/** TCP, Noise and Yamux: what every libp2p node speaks. */
export const layerTcp = Layer.mergeAll(Tcp.layer, Noise.layer, Yamux.layer())

/** The same with TLS 1.3 beside Noise, for peers that have nothing else: those cost a second connection, others nothing. */
export const layerTcpTls = Layer.mergeAll(
  Tcp.layer,
  ConnectionSecurity.layerPrefer([Noise.make, Tls.make]),
  Yamux.layer()
)

type Ways = typeof layerTcpTls

/** The same in the private network of a key, if there is one. */
const layerWithin = (
  network: NetworkKey | undefined
): Layer.Layer<Layer.Success<Ways>, PrivateNetworkError, Layer.Services<Ways> | SecureRandom.SecureRandom> =>
  network === undefined ? layerTcpTls : Layer.provideMerge(PrivateNetwork.layer(network), layerTcpTls)

/** What Node and the operating system give. */
export const layerNode = Layer.mergeAll(
  NodeNet.layer,
  NodeMachine.layer,
  NodeCrypto.layer,
  SecureRandom.layerWebCrypto
).pipe(Layer.provideMerge(TurnScheduler.layer))

export interface DefaultOptions extends Options {
  /** Who the node is. Default: a new peer at each start. */
  readonly privateKey?: PrivateKey | undefined
  /** The key of the private network that it is in; see docs/private-networks.md. Default: anybody may connect with it. */
  readonly network?: NetworkKey | undefined
}

/**
 * A node on real sockets: TCP, Noise or TLS, Yamux, identify and ping, with
 * limits that scale with the machine; what it learns of others it keeps in
 * memory.
 *
 * ```
 * const Node = Libp2p.layerDefault({ listen: ["/ip4/0.0.0.0/tcp/4001"] })
 * ```
 *
 * Without `privateKey` it is a new peer at each start.
 */
export const layerDefault = (options?: DefaultOptions) =>
  layer(options).pipe(
    Layer.provide(layerWithin(options?.network)),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(
      options?.privateKey === undefined ? IdentityGenerated.layer : IdentityFromKey.layer(options.privateKey)
    ),
    Layer.provideMerge(layerNode)
  )
