/**
 * ResourceManager: what a node may hold, and what it holds now. Connections,
 * streams and memory are counted in every scope that they belong to; the first
 * scope that is full refuses, and the refusal names it.
 *
 * ```
 * system
 *  ├─ transient            connections before their peer is known, streams before their protocol is
 *  ├─ peer <id>            everything of one peer, over all its connections
 *  │   └─ connection <n>   streams and memory of one connection
 *  ├─ protocol <id>        streams of one protocol, of all peers;  protocol <id> of peer <id>
 *  ├─ service <name>       streams of the protocols of one service; service <name> of peer <id>
 *  └─ address, subnet      inbound connections by where they come from, and how fast they come
 * ```
 *
 * It is plain code: a reservation costs a few additions and no Effect. What was
 * reserved is given back by `release`, which may be called twice.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"

export type Direction = "inbound" | "outbound"

// ---- limits -----------------------------------------------------------------

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** The bounds of one scope. `memory` is in bytes. */
export const ScopeLimits = Schema.Struct({
  connections: Count,
  connectionsInbound: Count,
  connectionsOutbound: Count,
  streams: Count,
  streamsInbound: Count,
  streamsOutbound: Count,
  memory: Count
})
export type ScopeLimits = typeof ScopeLimits.Type

/** The bounds of a scope that holds streams only. */
export const StreamScopeLimits = Schema.Struct({
  streams: Count,
  streamsInbound: Count,
  streamsOutbound: Count
})
export type StreamScopeLimits = typeof StreamScopeLimits.Type

/** The bounds of one connection. */
export const ConnectionScopeLimits = Schema.Struct({ ...StreamScopeLimits.fields, memory: Count })
export type ConnectionScopeLimits = typeof ConnectionScopeLimits.Type

/** Inbound connections from one place: how many may be open, how many of those unfinished, and how fast they may come. */
export const PlaceLimits = Schema.Struct({
  connections: Count,
  /** Whose peer is not known yet: before the end of the security handshake. */
  pending: Count,
  /** New connections a second, in the long run. */
  ratePerSecond: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  /** How many may come at once before the rate counts. */
  burst: Count
})
export type PlaceLimits = typeof PlaceLimits.Type

/** Every limit of a node. `ResourceManager`'s layer derives defaults from the machine; give the ones to change. */
export const Limits = Schema.Struct({
  system: ScopeLimits,
  transient: ScopeLimits,
  peer: ScopeLimits,
  connection: ConnectionScopeLimits,
  protocol: StreamScopeLimits,
  protocolOfPeer: StreamScopeLimits,
  service: StreamScopeLimits,
  serviceOfPeer: StreamScopeLimits,
  /** One address (IPv4), or /64 (IPv6). */
  address: PlaceLimits,
  /** One /24 (IPv4), or /48 (IPv6). */
  subnet: PlaceLimits,
  /** Networks that `address` and `subnet` do not apply to, such as `127.0.0.0/8`. */
  exempt: Schema.Array(Schema.String),
  /** Other limits for peers, protocols and services by name. */
  peers: Schema.Record(Schema.String, ScopeLimits),
  protocols: Schema.Record(Schema.String, StreamScopeLimits),
  services: Schema.Record(Schema.String, StreamScopeLimits)
})
export type Limits = typeof Limits.Type

// ---- refusals ---------------------------------------------------------------

/**
 * A limit was met. `scope` is such as `system`, `transient`, `peer 12D3…`,
 * `protocol /ipfs/ping/1.0.0`, `address 192.0.2.1`; `resource` such as `inbound
 * connections`, `streams`, `memory`, `inbound connections a second`.
 */
export class LimitExceeded extends Schema.TaggedClass<LimitExceeded>()("LimitExceeded", {
  scope: Schema.String,
  resource: Schema.String,
  limit: Schema.Finite,
  /** In use when it was asked for. */
  current: Schema.Finite
}) {}

/** A refusal in words: which limit, in which scope, at what use, and where it is set. */
export const describeLimit = ({ current, limit, resource, scope }: LimitExceeded): string =>
  `limit of ${limit} ${resource === "memory" ? "bytes of memory" : resource} of ${scope} reached (${current} ${
    resource.endsWith("a second") ? "at once" : "in use"
  }); see docs/limits.md`

// ---- reservations -----------------------------------------------------------

/** Memory that grows and shrinks. */
export interface MemoryAccount {
  /** Sets the bytes in use. The refusal of a limit, and the use left as it was; else `undefined`. Shrinking is never refused. */
  readonly resize: (bytes: number) => LimitExceeded | undefined
}

/** One stream. */
export interface StreamReservation {
  /** Once its protocol is agreed: leaves the transient scope for those of the protocol and, if given, the service. */
  readonly setProtocol: (protocol: string, service?: string) => LimitExceeded | undefined
  readonly release: () => void
}

/** One connection, from before its handshake to its end. */
export interface ConnectionReservation {
  /** Once the remote has proven who it is: leaves the transient scope for that of the peer. */
  readonly setPeer: (peer: PeerId) => LimitExceeded | undefined
  readonly openStream: (direction: Direction) => Result.Result<StreamReservation, LimitExceeded>
  readonly memory: MemoryAccount
  /** Also gives back its streams and memory. */
  readonly release: () => void
}

/** One line of the table of limits. */
export interface Usage {
  readonly scope: string
  readonly resource: string
  readonly limit: number
  readonly current: number
  /** The most there ever was. */
  readonly peak: number
  /** How often it refused. */
  readonly refused: number
}

export class ResourceManager extends Context.Service<
  ResourceManager,
  {
    readonly limits: Limits
    /** For a connection that comes in from `remote`. */
    readonly acceptConnection: (remote: Multiaddr) => Result.Result<ConnectionReservation, LimitExceeded>
    /** For one that is dialled. */
    readonly dialConnection: () => Result.Result<ConnectionReservation, LimitExceeded>
    /** Every scope that is in use or has refused, the system first. */
    readonly usage: Effect.Effect<ReadonlyArray<Usage>>
    /** Scopes that exist now: a function of the open connections, whatever remotes do. */
    readonly scopeCount: () => number
  }
>()("effect-libp2p/ResourceManager") {}
