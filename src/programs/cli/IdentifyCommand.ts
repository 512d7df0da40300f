/** `effect-libp2p identify`: all that a node says of itself. */
import * as Effect from "effect/Effect"
import { Identify } from "../../services/Identify.ts"
import { Swarm } from "../../services/Swarm.ts"
import { Output, plain, table } from "./Output.ts"
import * as Peer from "./Peer.ts"
import type { Settings } from "./Settings.ts"

const none = (items: ReadonlyArray<string>): ReadonlyArray<string> =>
  items.length === 0 ? ["(none)"] : items.map(plain)

const identify = (text: string) =>
  Effect.gen(function* () {
    const output = yield* Output
    const swarm = yield* Swarm
    const identify = yield* Identify
    const connection = yield* swarm.dial(yield* Peer.parseAddress(text))
    const info = yield* identify.identified(connection)
    yield* output.event(
      Peer.identifiedEvent(connection, info),
      table([
        ["peer id", [info.peer.toString(), info.peer.toCid()]],
        ["address", [connection.remoteAddress.toString()]],
        ["secured by", [connection.security]],
        ["muxed by", [connection.earlyMuxer ? `${connection.muxer} (agreed within the handshake)` : connection.muxer]],
        ["key", [info.publicKey.type]],
        ["agent", none(info.agentVersion === undefined ? [] : [info.agentVersion])],
        ["version", none(info.protocolVersion === undefined ? [] : [info.protocolVersion])],
        ["listens on", none(info.listenAddresses.map(String))],
        ["sees us at", none(info.observedAddress === undefined ? [] : [info.observedAddress.toString()])],
        ["protocols", none(info.protocols)]
      ])
    )
  })

export const run = (settings: Settings, address: string) => {
  Peer.warn(settings)
  return Effect.provide(identify(address), Peer.layerClient(settings))
}
