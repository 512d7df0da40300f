/**
 * The nodes of the scenarios: whole nodes that also speak a few protocols of
 * their own. What they do is in AgentLife.ts.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as ActorsLayer from "../../layers/actors/Actors.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import type { Crypto } from "../../services/Crypto.ts"
import type { NodeInfo, NodeServices } from "../../layers/simulation/SimNode.ts"
import * as ConnectionManagerLayer from "../../layers/connections/ConnectionManager.ts"
import * as IdentifyLayer from "../../layers/identify/Identify.ts"
import * as PingLayer from "../../layers/ping/Ping.ts"
import * as ProtocolsLayer from "../../layers/swarm/Protocols.ts"
import * as ResourceManagerLayer from "../../layers/resources/ResourceManager.ts"
import * as SwarmLayer from "../../layers/swarm/Swarm.ts"
import type { Actors } from "../../services/Actors.ts"
import type { StreamError } from "../../services/ByteStream.ts"
import type { ConnectionManager } from "../../services/ConnectionManager.ts"
import type { ConnectionSecurity } from "../../services/ConnectionSecurity.ts"
import { protocol as identifyProtocol } from "../../services/Identify.ts"
import type { PeerStore } from "../../services/PeerStore.ts"
import { protocol as pingProtocol } from "../../services/Ping.ts"
import * as Protocols from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import type { ResourceManager } from "../../services/ResourceManager.ts"
import type { StreamMuxer } from "../../services/StreamMuxer.ts"
import type { Swarm } from "../../services/Swarm.ts"
import type { Transport } from "../../services/Transport.ts"
import * as Ledger from "./Ledger.ts"

export const echo = "/sim/echo/1.0.0"
export const stuck = "/sim/stuck/1.0.0"
export const digest = "/sim/digest/1.0.0"
export const broken = "/sim/broken/1.0.0"

/** Reads to the end, says nothing meanwhile, and answers with a hash of it all. */
const answerDigest = (stream: ProtocolStream): Effect.Effect<void, StreamError> =>
  Effect.gen(function* () {
    const hash = sha256.create()
    for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) hash.update(batch)
    // The other end has half-closed long ago when this leaves.
    yield* Effect.sleep("200 millis")
    yield* stream.write(hash.digest())
  })

/** Fails, dies, or ends in order in the middle of what it is sent, as its first byte says. */
const break_ = (stream: ProtocolStream) =>
  Effect.flatMap(stream.read, (batch) => {
    const how = batch?.[0]
    return how === 0 ? Effect.fail("a handler that fails") : how === 1 ? Effect.die("a handler that dies") : Effect.void
  })

/** Below the swarm, and beside it: what a node is made of, so that a test can put something else in its place. */
export interface Parts {
  readonly below?: Layer.Layer<Transport | ConnectionSecurity | StreamMuxer, never, NodeServices> | undefined
  readonly beside?: Layer.Layer<Actors | Protocols.Protocols | PeerStore, never, Crypto> | undefined
  readonly resources?: Layer.Layer<ResourceManager, unknown> | undefined
  readonly manager?: Layer.Layer<ConnectionManager, unknown, Actors | PeerStore | ResourceManager | Swarm> | undefined
  readonly swarm?: SwarmLayer.Options | undefined
}

export const beside = Layer.mergeAll(ActorsLayer.layer, ProtocolsLayer.layer, MemoryPeerStore.layer())

/** Hosts of a node share all but the last number of their addresses, which no other node has. */
const networks = new Map<string, string>()

/** Where the peer's addresses are; undefined for one that is none of the scenario's own. */
export const networkOf = (peer: string): string | undefined => networks.get(peer)

/** A whole node that also speaks the protocols of the scenarios, and writes down what it sees. */
export const layerOf = (of: Parts | ((node: NodeInfo) => Parts)) => (node: NodeInfo) => {
  const parts = typeof of === "function" ? of(node) : of
  networks.set(node.peerId.toString(), (node.hosts[0] ?? "").replace(/\.\d+$/, ""))
  return Libp2p.layerListen(["/ip4/0.0.0.0/tcp/4001"]).pipe(
    Layer.provideMerge(
      Ledger.layer({
        networkOf,
        protocols: [echo, stuck, digest, broken, identifyProtocol, pingProtocol],
        mayDie: [broken]
      })
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        IdentifyLayer.layer(),
        PingLayer.layer,
        parts.manager ?? ConnectionManagerLayer.layer(),
        Protocols.layerHandler(echo, (stream) => Stream.run(stream.readable, stream.writable)),
        Protocols.layerHandler(stuck, (stream) => Effect.andThen(stream.read, Effect.sleep("45 seconds"))),
        Protocols.layerHandler(digest, answerDigest),
        Protocols.layerHandler(broken, break_)
      )
    ),
    Layer.provideMerge(SwarmLayer.layer(parts.swarm)),
    Layer.provideMerge(parts.resources ?? ResourceManagerLayer.layer()),
    Layer.provideMerge(parts.beside ?? beside),
    Layer.provide(parts.below ?? Libp2p.layerTcp)
  )
}

export const layer = layerOf({})

export type AgentNode = Layer.Success<ReturnType<typeof layer>>
