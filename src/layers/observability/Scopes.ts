/** The scopes of the resource manager by kind: peers and protocols are many, kinds are few. */
import type {
  ConnectionScopeLimits,
  Limits,
  PlaceLimits,
  ScopeLimits,
  StreamScopeLimits
} from "../../services/ResourceManager.ts"

export interface Scope {
  /** `system`, `transient`, `peer`, `connection`, `protocol`, `protocol of peer`, `service`, `service of peer`, `address` or `subnet`. */
  readonly kind: string
  /** Which of its kind; empty for those that there is one of, or for all that have ended. */
  readonly name: string
}

/** True for what is told of all scopes of a kind that have ended, such as `peer (ended)`. */
export const isEnded = (text: string): boolean => text.endsWith(" (ended)")

/** Reads the name of a scope as usage and refusals have it, such as `protocol /ipfs/ping/1.0.0 of peer 12D3…`. */
export const parse = (text: string): Scope => {
  const ended = isEnded(text)
  const scope = ended ? text.slice(0, -" (ended)".length) : text
  const space = scope.indexOf(" ")
  if (space < 0) return { kind: scope, name: "" }
  const kind = scope.slice(0, space)
  const name = scope.slice(space + 1)
  // Of all that have ended, only the kind is told: `protocol of peer (ended)`.
  if (ended) return { kind: scope, name: "" }
  return (kind === "protocol" || kind === "service") && / of peer [^ ]+$/.test(name)
    ? { kind: `${kind} of peer`, name }
    : { kind, name }
}

/** `inbound` for the resource `inbound streams`; undefined for other resources. */
export const directionOfStreams = (resource: string): string | undefined =>
  resource === "inbound streams" ? "inbound" : resource === "outbound streams" ? "outbound" : undefined

/** One limit. */
export interface Bound {
  readonly kind: string
  readonly resource: string
  readonly limit: number
}

type Fields = Partial<ScopeLimits & StreamScopeLimits & ConnectionScopeLimits>

/** What each limit bounds, in the words of the refusals. */
const resources: ReadonlyArray<readonly [field: keyof Fields, resource: string]> = [
  ["connections", "connections"],
  ["connectionsInbound", "inbound connections"],
  ["connectionsOutbound", "outbound connections"],
  ["streams", "streams"],
  ["streamsInbound", "inbound streams"],
  ["streamsOutbound", "outbound streams"],
  ["memory", "memory"]
]

const ofScope = (kind: string, fields: Fields): ReadonlyArray<Bound> =>
  resources.flatMap(([field, resource]) => {
    const limit = fields[field]
    return limit === undefined ? [] : [{ kind, resource, limit }]
  })

const ofPlace = (kind: string, limits: PlaceLimits): ReadonlyArray<Bound> => [
  { kind, resource: "inbound connections", limit: limits.connections },
  { kind, resource: "unfinished inbound connections", limit: limits.pending },
  { kind, resource: "inbound connections a second", limit: limits.ratePerSecond }
]

/** Every limit of a kind of scope; those for peers and protocols by name are not among them. */
export const bounds = (limits: Limits): ReadonlyArray<Bound> => [
  ...ofScope("system", limits.system),
  ...ofScope("transient", limits.transient),
  ...ofScope("peer", limits.peer),
  ...ofScope("connection", limits.connection),
  ...ofScope("protocol", limits.protocol),
  ...ofScope("protocol of peer", limits.protocolOfPeer),
  ...ofScope("service", limits.service),
  ...ofScope("service of peer", limits.serviceOfPeer),
  ...ofPlace("address", limits.address),
  ...ofPlace("subnet", limits.subnet)
]
