/** The local network of a node of the command line, as its settings have it. */
import * as Layer from "effect/Layer"
import * as LocalConnections from "../../layers/connections/LocalConnections.ts"
import * as MdnsNetwork from "../../layers/mdns/MdnsNetwork.ts"
import type { Actors } from "../../services/Actors.ts"
import type { Net } from "../../services/Net.ts"
import type { PeerStore } from "../../services/PeerStore.ts"
import type { Swarm } from "../../services/Swarm.ts"
import type { Settings } from "./Settings.ts"

/** Where it speaks: `loopback:5399` is on this machine, and on a port of its own. */
const where = (lan: Settings["lan"]): MdnsNetwork.Options => {
  const [, port] = /^loopback:(\d+)$/.exec(lan) ?? []
  return port === undefined ? {} : { interfaces: "loopback", port: Number(port) }
}

/** The local network that a command looks at, without being seen. */
export const layerWatch = ({ lan, service }: Settings) => MdnsNetwork.layer({ ...where(lan), service, watches: true })

/** A node is found by those of its service on the local network, and connects to them; unless that is off. */
export const layerNode = ({
  lan,
  service
}: Settings): Layer.Layer<never, MdnsNetwork.InvalidServiceName, Actors | Net | PeerStore | Swarm> =>
  lan === "off"
    ? Layer.empty
    : LocalConnections.layer().pipe(Layer.provide(MdnsNetwork.layer({ ...where(lan), service })))
