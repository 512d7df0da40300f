/** What is shown of a peer, by `node` and by `identify`. */
import { Effect, Layer, Result } from "effect"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { IdentifyInfo } from "../../services/Identify.ts"
import type { Connection } from "../../services/Swarm.ts"
import * as IdentityGenerated from "../../layers/identity/Generated.ts"
import { UsageError } from "./Failure.ts"
import type { Event } from "./Output.ts"
import type { Settings } from "./Settings.ts"

/** A node that listens nowhere and is a new peer each time. */
export const layerClient = (settings: Settings) =>
  Libp2p.layer(options(settings)).pipe(
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(IdentityGenerated.layer),
    Layer.provideMerge(Libp2p.layerNode)
  )

export const options = (settings: Settings): Libp2p.Options => ({
  swarm: { dialDeadline: settings.timeout, upgradeDeadline: settings.timeout },
  identify: { agentVersion: settings.agent, deadline: settings.timeout }
})

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
