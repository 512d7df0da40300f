/** Nodes whose limits are near what honest neighbours need, so that attackers meet every one of them. */
import * as Layer from "effect/Layer"
import * as ActorsLayer from "../../layers/actors/Actors.ts"
import * as ConnectionManager from "../../layers/connections/ConnectionManager.ts"
import * as Mplex from "../../layers/muxer/Mplex.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as ResourceManager from "../../layers/resources/ResourceManager.ts"
import * as Noise from "../../layers/security/Noise.ts"
import type { NodeInfo } from "../../layers/simulation/SimNode.ts"
import * as Protocols from "../../layers/swarm/Protocols.ts"
import * as Tcp from "../../layers/transport/Tcp.ts"
import { layerPrefer } from "../../services/StreamMuxer.ts"
import type { Parts } from "./Agent.ts"
import * as Attacks from "./Attacks.ts"

export const maxPeers = 4

const KiB = 1024

const limits: ResourceManager.LimitChanges = {
  system: { connections: 28, connectionsInbound: 22, streams: 160, streamsInbound: 120, memory: 2048 * KiB },
  transient: { connections: 12, connectionsInbound: 10, streams: 60, streamsInbound: 50 },
  peer: { connections: 5, connectionsInbound: 4, streams: 64, streamsInbound: 48, memory: 1024 * KiB },
  connection: { streams: 56, streamsInbound: 40, streamsOutbound: 40, memory: 768 * KiB },
  protocol: { streams: 90 },
  protocolOfPeer: { streams: 40, streamsInbound: 32 },
  serviceOfPeer: { streams: 8 },
  address: { connections: 6, pending: 5, ratePerSecond: 2, burst: 10 },
  subnet: { connections: 12, pending: 8, ratePerSecond: 4, burst: 20 }
}

const muxing = { wastedStreams: 300, wastedStreamsPerSecond: 50, emptyFrames: 1000, emptyFramesPerSecond: 500 }
const yamux = Yamux.make(muxing)
const mplex = Mplex.make(muxing)

/** The parts that a planted fault may stand for. */
export const resources = ResourceManager.layer({ limits })
const manager = ConnectionManager.layer({ lowWater: 14, highWater: 18, grace: "5 seconds" })

/** Every third prefers Mplex. */
export const parts = (node: NodeInfo): Parts => ({
  below: Layer.mergeAll(Tcp.layer, Noise.layer, layerPrefer(node.index % 3 === 2 ? [mplex, yamux] : [yamux, mplex])),
  beside: Layer.mergeAll(ActorsLayer.layer, Protocols.layer, MemoryPeerStore.layer({ maxPeers })),
  resources,
  manager
})

/** Default limits, and a peer store that is soon full. */
export const roomy = (): Parts => ({
  beside: Layer.mergeAll(ActorsLayer.layer, Protocols.layer, MemoryPeerStore.layer({ maxPeers }))
})

/** What a thousand seeds together should meet: each attack, each limit that can be reached, each way to refuse. */
export const expects: ReadonlyArray<string> = [
  ...Attacks.names.map((name) => `attack: ${name}`),
  ...Attacks.receptionNames.map((name) => `reception: ${name}`),
  ...[
    "address inbound connections",
    "address unfinished inbound connections",
    "connection inbound streams",
    "connection memory",
    "peer inbound connections",
    "peer inbound streams",
    "peer memory",
    "protocol inbound streams",
    "protocol of peer inbound streams",
    "protocol of peer streams",
    "service of peer streams",
    "subnet inbound connections",
    "subnet unfinished inbound connections",
    "system inbound connections",
    "transient inbound connections",
    "transient inbound streams"
  ].map((limit) => `limit: ${limit}`),
  ...[
    "deadline of securing",
    "deadline of multiplexing",
    "BadHandshake",
    "HandshakeInterrupted",
    "MalformedNegotiation",
    "NegotiationInterrupted"
  ].map((reason) => `inbound: ${reason}`),
  ...["WrongPeer", "BackingOff", "TransportFailed", "deadline of dialing", "deadline of securing"].map(
    (reason) => `dial: ${reason}`
  ),
  ...["IdentifyFailed", "IdentifyMalformed", "IdentifyTimeout", "IdentifyUnavailable"].map(
    (reason) => `identify: ${reason}`
  ),
  "ended: # bytes of data on stream #, whose window has # left",
  "ended: a window update beyond #^# - # bytes on stream #",
  "ended: more than # frames at once, or # a second, that carry no data and answer nothing",
  "ended: more than # streams at once, or # a second, that were reset or refused",
  "ended: no answer to a keep-alive within # ms",
  "above the high watermark",
  "connections are trimmed",
  "the peer store is full",
  "all is given back"
]
