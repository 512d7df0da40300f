/** What is shown of a peer, by `node` and by `identify`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { IdentifyInfo } from "../../services/Identify.ts"
import type { Connection } from "../../services/Swarm.ts"
import * as BlockList from "../../layers/connections/BlockList.ts"
import * as IdentityGenerated from "../../layers/identity/Generated.ts"
import * as Mplex from "../../layers/muxer/Mplex.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as Plaintext from "../../layers/security/Plaintext.ts"
import * as Noise from "../../layers/security/Noise.ts"
import * as Tls from "../../layers/security/Tls.ts"
import * as Tcp from "../../layers/transport/Tcp.ts"
import * as ConnectionSecurity from "../../services/ConnectionSecurity.ts"
import * as StreamMuxer from "../../services/StreamMuxer.ts"
import type { NetworkKey } from "../../data/NetworkKey.ts"
import * as NetworkKeyFile from "../../layers/pnet/NetworkKeyFile.ts"
import * as PrivateNetwork from "../../layers/pnet/PrivateNetwork.ts"
import type { NetworkKeyFileError } from "../../services/PrivateNetwork.ts"
import type * as FileSystem from "effect/FileSystem"
import * as Path from "node:path"
import * as Places from "./Places.ts"
import { UsageError } from "./Failure.ts"
import { type Event, writeError } from "./Output.ts"
import type { Settings } from "./Settings.ts"

const securities = {
  noise: Noise.make,
  tls: Tls.make,
  plaintext: Plaintext.make
} as const

const muxers = {
  yamux: Yamux.make(),
  mplex: Mplex.make()
} as const

/** The key of the private network that the node is to be in. */
export const networkKey = ({
  psk
}: Settings): Effect.Effect<NetworkKey | undefined, NetworkKeyFileError, FileSystem.FileSystem> =>
  psk === undefined ? Effect.undefined : NetworkKeyFile.read({ path: Path.resolve(psk), checkMode: Places.checkMode })

/** Where connections go: anywhere, or into the private network and nowhere else. */
const layerTransport = (settings: Settings) =>
  settings.psk === undefined
    ? Tcp.layer
    : Layer.unwrap(
        Effect.map(networkKey(settings), (key) =>
          key === undefined ? Tcp.layer : Layer.provide(PrivateNetwork.layer(key), Tcp.layer)
        )
      )

/** How connections are made, in the order of preference that was asked for. */
const layerConnections = (settings: Settings) =>
  Layer.mergeAll(
    layerTransport(settings),
    ConnectionSecurity.layerPrefer(settings.security.map((name) => securities[name])),
    StreamMuxer.layerPrefer(settings.muxers.map((name) => muxers[name]))
  )

/** SQLite is loaded only if it is asked for: Node says on stderr that its module may still change. */
const layerPeerStore = ({ peerStore: path }: Settings) =>
  path === "memory"
    ? MemoryPeerStore.layer()
    : Layer.unwrap(
        Effect.map(
          Effect.promise(() => import("../../layers/peerstore/SqlitePeerStore.ts")),
          (SqlitePeerStore) => SqlitePeerStore.layer({ path: Path.resolve(path) })
        )
      )

/** Who is kept away. A peer id has no slash and no dot or colon, and nothing else has none. */
const layerBlockList = ({ allow, deny }: Settings) =>
  BlockList.layer({
    peers: deny.filter((entry) => !/[./:]/.test(entry)),
    subnets: deny.filter((entry) => /[./:]/.test(entry)),
    allowed: allow
  })

const options = (settings: Settings): Libp2p.Options => ({
  limits: settings.limits,
  connectionManager: { lowWater: settings.connections?.low, highWater: settings.connections?.high },
  swarm: { dialDeadline: settings.timeout, upgradeDeadline: settings.timeout },
  identify: { agentVersion: settings.agent, deadline: settings.timeout }
})

/** A node without its identity and its system. */
export const layerNode = (settings: Settings) =>
  Libp2p.layer(options(settings)).pipe(
    Layer.provide(layerConnections(settings)),
    Layer.provide(layerBlockList(settings)),
    Layer.provideMerge(layerPeerStore(settings))
  )

/** A node that listens nowhere and is a new peer each time. */
export const layerClient = (settings: Settings) =>
  layerNode({ ...settings, peerStore: "memory" }).pipe(
    Layer.provideMerge(IdentityGenerated.layer),
    Layer.provideMerge(Libp2p.layerNode)
  )

/** What a user should know before it does harm. */
export const warn = (settings: Settings): void => {
  if (!settings.security.includes("plaintext")) return
  writeError(
    settings.security.length === 1
      ? "effect-libp2p: warning: plaintext is the only security: nothing is encrypted, and anybody may claim to be any peer. For tests only."
      : "effect-libp2p: warning: plaintext is allowed: a connection that agrees on it is not encrypted, and its peer may claim to be any other. For tests only."
  )
}

/** The address that a user gave to be dialled. */
export const parseAddress = (text: string): Effect.Effect<Multiaddr.Multiaddr, UsageError> => {
  const address = Multiaddr.fromString(text)
  return Result.isSuccess(address)
    ? Effect.succeed(address.success)
    : Effect.fail(
        new UsageError({
          detail:
            `"${text}" is not an address: ${address.failure.detail}. ` +
            "An address looks like /ip4/192.0.2.1/tcp/4001 or /dns4/example.com/tcp/4001/p2p/<peer id>."
        })
      )
}

/** An address with the peer's id at its end. */
export const fullAddress = (connection: Connection): string =>
  Multiaddr.withPeer(connection.remoteAddress, connection.remotePeer).toString()

export const identifiedEvent = (connection: Connection, info: IdentifyInfo): Event => ({
  event: "identified",
  peer: info.peer.toString(),
  address: fullAddress(connection),
  agent: info.agentVersion ?? null,
  protocolVersion: info.protocolVersion ?? null,
  keyType: info.publicKey.type,
  publicKey: Buffer.from(info.publicKey.bytes).toString("base64"),
  listenAddresses: info.listenAddresses.map(String),
  observedAddress: info.observedAddress?.toString() ?? null,
  protocols: info.protocols,
  security: connection.security,
  muxer: connection.muxer
})
