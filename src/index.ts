/**
 * effect-libp2p: values, services and layers of a libp2p node.
 *
 * Every module can also be imported by its own path, such as
 * `effect-libp2p/layers/net/NodeNet`, which loads less.
 */

// Values that travel.
export * as Keys from "./data/Keys.ts"
export * as LengthPrefix from "./data/LengthPrefix.ts"
export * as Multiaddr from "./data/Multiaddr.ts"
export * as PeerId from "./data/PeerId.ts"
export * as PublicKeyRecord from "./data/PublicKeyRecord.ts"

// What each subsystem promises.
export * as Actors from "./services/Actors.ts"
export * as ByteStream from "./services/ByteStream.ts"
export * as ConnectionGater from "./services/ConnectionGater.ts"
export * as ConnectionManager from "./services/ConnectionManager.ts"
export * as ConnectionSecurity from "./services/ConnectionSecurity.ts"
export * as ContentRouting from "./services/ContentRouting.ts"
export * as Crypto from "./services/Crypto.ts"
export * as Discovery from "./services/Discovery.ts"
export * as Identify from "./services/Identify.ts"
export * as Identity from "./services/Identity.ts"
export * as Machine from "./services/Machine.ts"
export * as Net from "./services/Net.ts"
export * as PeerRouting from "./services/PeerRouting.ts"
export * as PeerStore from "./services/PeerStore.ts"
export * as Perf from "./services/Perf.ts"
export * as Ping from "./services/Ping.ts"
export * as Protocols from "./services/Protocols.ts"
export * as ProtocolStream from "./services/ProtocolStream.ts"
export * as RecordStore from "./services/RecordStore.ts"
export * as RecordValidators from "./services/RecordValidators.ts"
export * as ResourceManager from "./services/ResourceManager.ts"
export * as SignedEnvelope from "./services/SignedEnvelope.ts"
export * as StreamMuxer from "./services/StreamMuxer.ts"
export * as Swarm from "./services/Swarm.ts"
export * as Transport from "./services/Transport.ts"

// How: the ways to choose from, and whole nodes.
export * as BlockList from "./layers/connections/BlockList.ts"
export * as IdentityFromFile from "./layers/identity/FromFile.ts"
export * as IdentityFromKey from "./layers/identity/FromKey.ts"
export * as IdentityFromSeed from "./layers/identity/FromSeed.ts"
export * as IdentityGenerated from "./layers/identity/Generated.ts"
export * as Libp2p from "./layers/Libp2p.ts"
export * as MemoryNet from "./layers/net/MemoryNet.ts"
export * as MemoryPeerStore from "./layers/peerstore/MemoryPeerStore.ts"
export * as MemoryRecordStore from "./layers/records/MemoryRecordStore.ts"
export * as MemoryTransport from "./layers/transport/MemoryTransport.ts"
export * as Mplex from "./layers/muxer/Mplex.ts"
export * as NodeCrypto from "./layers/crypto/NodeCrypto.ts"
export * as NodeNet from "./layers/net/NodeNet.ts"
export * as NodeMetrics from "./layers/observability/NodeMetrics.ts"
export * as Noise from "./layers/security/Noise.ts"
export * as Plaintext from "./layers/security/Plaintext.ts"
export * as SqlitePeerStore from "./layers/peerstore/SqlitePeerStore.ts"
export * as Tcp from "./layers/transport/Tcp.ts"
export * as Tls from "./layers/security/Tls.ts"
export * as Yamux from "./layers/muxer/Yamux.ts"
