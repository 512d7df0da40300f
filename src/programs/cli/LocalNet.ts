/** The local network of a node of the command line, as its settings have it. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import * as LocalConnections from "../../layers/connections/LocalConnections.ts"
import * as MdnsNetwork from "../../layers/mdns/MdnsNetwork.ts"
import type { Actors } from "../../services/Actors.ts"
import type { Net } from "../../services/Net.ts"
import type { PeerStore } from "../../services/PeerStore.ts"
import type { Swarm } from "../../services/Swarm.ts"
import * as Peer from "./Peer.ts"
import type { Settings } from "./Settings.ts"

/** The file of the private network's key cannot be used. */
type Keyless = Effect.Error<ReturnType<typeof Peer.networkKey>>

/** Where it speaks: `loopback:5399` is on this machine, and on a port of its own. */
const where = (lan: Settings["lan"]): MdnsNetwork.Options => {
  const [, port] = /^loopback:(\d+)$/.exec(lan) ?? []
  return port === undefined ? {} : { interfaces: "loopback", port: Number(port) }
}

/** In a private network, for those who have its key. */
const layer = (settings: Settings, options: MdnsNetwork.Options) =>
  Layer.unwrap(
    Effect.map(Peer.networkKey(settings), (key) =>
      key === undefined
        ? MdnsNetwork.layer(options)
        : MdnsNetwork.layerSealed({ ...options, key, alsoPlain: settings.lan === "both" })
    )
  )

/** The local network that a command looks at, without being seen. */
export const layerWatch = (settings: Settings) =>
  layer(settings, { ...where(settings.lan), service: settings.service, watches: true })

/** A node is found by those of its service on the local network, and connects to them; unless that is off. */
export const layerNode = (
  settings: Settings
): Layer.Layer<
  never,
  MdnsNetwork.InvalidServiceName | Keyless,
  Actors | FileSystem.FileSystem | Net | PeerStore | SecureRandom | Swarm
> =>
  settings.lan === "off"
    ? Layer.empty
    : LocalConnections.layer().pipe(
        Layer.provide(layer(settings, { ...where(settings.lan), service: settings.service }))
      )
