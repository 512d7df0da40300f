/** What the nodes of a simulation are made of, unless it says otherwise. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { PeerId } from "../../data/PeerId.ts"
import type { Crypto } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import * as NodeCrypto from "../crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../identity/FromSeed.ts"
import * as CheapCrypto from "./CheapCrypto.ts"
import * as Libp2p from "../Libp2p.ts"
import * as MemoryPeerStore from "../peerstore/MemoryPeerStore.ts"
import type { NodeInfo, NodeServices } from "./SimNode.ts"

/** TCP, Noise, Yamux, identify and ping, listening on TCP port 4001. */
export const wholeNode = (_node: NodeInfo) =>
  Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] }).pipe(
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer())
  )

/** The services of {@link wholeNode}. */
export type WholeNode = Layer.Success<ReturnType<typeof wholeNode>>

export interface NodeIdentity {
  readonly peerId: PeerId
  readonly layer: Layer.Layer<Identity | Crypto>
}

/**
 * The identity and the computations of a node; Ed25519, which repeats to the
 * byte. With cheap computations it is another peer.
 */
export const environment = (seed: Uint8Array, cheap = false): NodeIdentity => {
  const crypto = cheap ? CheapCrypto.layer : NodeCrypto.layer
  const built = Effect.runSync(
    Effect.scoped(Layer.build(IdentityFromSeed.layer(seed).pipe(Layer.provideMerge(crypto), Layer.orDie)))
  )
  return { peerId: Context.get(built, Identity).peerId, layer: Layer.succeedContext(built) }
}

export type { NodeServices }
