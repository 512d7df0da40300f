/** The meter that counts: what the node tells, as it happens, into the instruments. */
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { ActorEvent } from "../../services/Actors.ts"
import type { Role } from "../../services/ConnectionSecurity.ts"
import type { Meter } from "../../services/Meter.ts"
import type { AttemptReason, Connection, SwarmEvent } from "../../services/Swarm.ts"
import * as Catalogue from "./Catalogue.ts"
import type { Instruments } from "./Instruments.ts"

const ipVersions: ReadonlySet<string> = new Set(["ip4", "ip6"])
/** What a transport adds to an address, from the outermost: a `/tcp/…/ws` address is of the WebSocket transport. */
const transports = [
  "p2p-circuit",
  "webrtc-direct",
  "webtransport",
  "wss",
  "ws",
  "quic-v1",
  "quic",
  "tcp",
  "memory",
  "unix"
]

/** Which transport an address is of, by the name that go-libp2p gives it. */
export const transportOf = (address: Multiaddr): string => {
  const names = new Set<string>(address.components.map(({ name }) => name))
  return transports.find((name) => names.has(name)) ?? "other"
}

const ipVersionOf = (address: Multiaddr): string => {
  const first = address.components[0]?.name ?? ""
  return ipVersions.has(first) ? first : "unknown"
}

/** The tag of a reason, and for the network that of its own reason, such as `ConnectionRefused`. */
export const errorOf = (reason: AttemptReason): string => {
  switch (reason._tag) {
    case "TransportFailed": {
      const cause = reason.cause.reason
      return cause._tag === "NetworkFailure" ? cause.cause.reason._tag : cause._tag
    }
    case "NegotiationFailed":
    case "SecurityFailed":
      return reason.cause.reason._tag
    default:
      return reason._tag
  }
}

/** `listener` of `listener /ip4/…`, `connection` of `swarm/connection 3`. */
export const kindOfActor = (path: string): string => /([^/ ]*)(?: .*)?$/.exec(path.replace(/ \/.*$/, ""))?.[1] ?? path

const manyDials = 6
const outcome = (failed: unknown): string => (failed === undefined ? "success" : "failed")
const directionOf = (role: Role): string => (role === "dialer" ? "outbound" : "inbound")

const labelsOf = (connection: Connection): ReadonlyArray<string> => [
  connection.direction,
  transportOf(connection.remoteAddress),
  connection.security,
  connection.muxer,
  String(connection.earlyMuxer),
  ipVersionOf(connection.remoteAddress)
]

/** `now` is in milliseconds of the node's clock. */
export const make = (instruments: Instruments, now: () => number): Meter => {
  const add = (definition: Catalogue.Definition, ...labels: ReadonlyArray<string>) =>
    instruments.add(definition, 1, labels)
  const observe = (definition: Catalogue.Definition, ms: number, ...labels: ReadonlyArray<string>) =>
    instruments.observe(definition, ms / 1000, labels)

  const swarm = (event: SwarmEvent): void => {
    switch (event._tag) {
      case "Connected":
        instruments.add(Catalogue.connectionsOpened, 1, labelsOf(event.connection))
        return
      case "Disconnected": {
        const { connection, end } = event
        instruments.add(Catalogue.connectionsClosed, 1, labelsOf(connection))
        add(Catalogue.connectionsEnded, end.by)
        const openMs = Math.max(0, now() - connection.openedAt)
        observe(Catalogue.connectionDuration, openMs, connection.direction, transportOf(connection.remoteAddress))
        return
      }
      case "InboundFailed":
        return add(Catalogue.inboundFailed, errorOf(event.reason))
      case "HandlerFailed":
        return add(Catalogue.handlersFailed, event.protocol, event.died ? "died" : "failed")
      default:
        return
    }
  }

  return {
    traffic: { received: 0, sent: 0 },
    swarm,
    dialed: (failed, tried, ms) => {
      observe(Catalogue.dialLatency, ms, outcome(failed), tried < manyDials ? String(tried) : `>=${manyDials}`)
      if (failed !== undefined) add(Catalogue.dialsFailed, failed)
    },
    attempted: (address, failed, ms) => {
      observe(Catalogue.attempts, ms, transportOf(address), outcome(failed))
      if (failed !== undefined) add(Catalogue.dialErrors, transportOf(address), errorOf(failed), ipVersionOf(address))
    },
    secured: (protocol, role, failed, ms) =>
      observe(Catalogue.secured, ms, protocol, directionOf(role), outcome(failed)),
    multiplexed: (muxer, role, failed, ms) =>
      observe(Catalogue.multiplexed, ms, muxer, directionOf(role), outcome(failed)),
    upgraded: (at, security, muxer, early, ms) =>
      observe(Catalogue.handshakeLatency, ms, transportOf(at), security, muxer, String(early), ipVersionOf(at)),
    negotiated: (direction, protocol, failed, ms) => {
      if (failed === undefined) {
        observe(Catalogue.negotiation, ms, direction)
        add(Catalogue.streamsOpened, direction, protocol)
      } else add(Catalogue.streamsFailed, direction, failed)
    },
    identified: (failed, ms) => {
      observe(Catalogue.identifyDuration, ms, outcome(failed))
      if (failed !== undefined) add(Catalogue.identifyFailed, failed)
    },
    pinged: (failed, ms) => {
      if (failed === undefined) observe(Catalogue.pingRtt, ms)
      else add(Catalogue.pingFailed, failed)
    }
  }
}

/** The same for actors. */
export const onActor =
  (instruments: Instruments) =>
  ({ kind, path }: ActorEvent): void => {
    if (kind === "restarted") instruments.add(Catalogue.actorsRestarted, 1, [kindOfActor(path)])
    else if (kind === "failed") instruments.add(Catalogue.actorsFailed, 1, [kindOfActor(path)])
  }
