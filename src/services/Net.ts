/**
 * Net: the one door to the operating system's network. Everything that opens a
 * socket, joins a multicast group, lists interfaces or asks DNS goes through
 * it, so that a test or a simulation can own it. Layers: Node, memory.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ByteStream } from "./ByteStream.ts"

/** An IP endpoint. `host` is a literal address, never a name; an IPv6 zone is written `fe80::1%eth0`. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

const endpoint = Schema.Struct({ host: Schema.String, port: Schema.Finite })

/** Nobody listens there. */
export class ConnectionRefused extends Schema.TaggedClass<ConnectionRefused>()("ConnectionRefused", {}) {}
/** No route to the host or network. */
export class Unreachable extends Schema.TaggedClass<Unreachable>()("Unreachable", { code: Schema.String }) {}
/** The operating system gave up waiting. */
export class ConnectTimeout extends Schema.TaggedClass<ConnectTimeout>()("ConnectTimeout", {}) {}
/** Another socket has this address and port. */
export class AddressInUse extends Schema.TaggedClass<AddressInUse>()("AddressInUse", {}) {}
/** This machine has no such address, or may not use the port. */
export class AddressUnavailable extends Schema.TaggedClass<AddressUnavailable>()("AddressUnavailable", {
  code: Schema.String
}) {}
/** The socket was closed. */
export class SocketClosed extends Schema.TaggedClass<SocketClosed>()("SocketClosed", {}) {}
/** The name does not exist or has no record of the kind asked for. */
export class NameNotFound extends Schema.TaggedClass<NameNotFound>()("NameNotFound", { name: Schema.String }) {}
/** The name could not be looked up. */
export class LookupFailed extends Schema.TaggedClass<LookupFailed>()("LookupFailed", {
  name: Schema.String,
  code: Schema.String
}) {}
/** Any other refusal, with the system's code. */
export class SystemRefused extends Schema.TaggedClass<SystemRefused>()("SystemRefused", { code: Schema.String }) {}

export const NetErrorReason = Schema.Union([
  ConnectionRefused,
  Unreachable,
  ConnectTimeout,
  AddressInUse,
  AddressUnavailable,
  SocketClosed,
  NameNotFound,
  LookupFailed,
  SystemRefused
])
export type NetErrorReason = typeof NetErrorReason.Type

const describe = (reason: NetErrorReason): string => {
  switch (reason._tag) {
    case "ConnectionRefused":
      return "connection refused"
    case "Unreachable":
      return `unreachable (${reason.code})`
    case "ConnectTimeout":
      return "timed out"
    case "AddressInUse":
      return "address already in use"
    case "AddressUnavailable":
      return `address not available (${reason.code})`
    case "SocketClosed":
      return "socket closed"
    case "NameNotFound":
      return `no such name: ${reason.name}`
    case "LookupFailed":
      return `looking up ${reason.name} failed (${reason.code})`
    case "SystemRefused":
      return `refused by the system (${reason.code})`
  }
}

export const NetOperation = Schema.Literals([
  "connect",
  "listen",
  "accept",
  "bind",
  "send",
  "receive",
  "join",
  "lookup"
])

export class NetError extends Schema.TaggedError<NetError>()("NetError", {
  operation: NetOperation,
  endpoint: Schema.UndefinedOr(endpoint),
  reason: NetErrorReason
}) {
  override get message(): string {
    const at = this.endpoint === undefined ? "" : ` ${this.endpoint.host} port ${this.endpoint.port}`
    return `${this.operation}${at}: ${describe(this.reason)}`
  }
}

/** A connected stream socket. It is destroyed when the scope that it was opened in closes. */
export interface Socket extends ByteStream {
  readonly local: Endpoint
  readonly remote: Endpoint
}

export interface ConnectOptions extends Endpoint {
  /**
   * Dial from this local port, so that a NAT maps it as it maps the listener.
   * The Node layer needs a listener made with `reusePort`; where the system
   * refuses, the socket silently gets another port: read `local`.
   */
  readonly localPort?: number | undefined
}

export interface ListenOptions extends Endpoint {
  /** Let sockets of this process dial from the same port. */
  readonly reusePort?: boolean | undefined
  /** Connections accepted by the system that may wait here for `accept`; further ones are reset. Default 128. */
  readonly backlog?: number | undefined
}

export interface SocketListener {
  /** Where it listens, with the port that the system chose if 0 was asked for. */
  readonly local: Endpoint
  /** The next connection; it belongs to the scope of the caller. */
  readonly accept: Effect.Effect<Socket, NetError, Scope.Scope>
}

export interface Datagram {
  readonly bytes: Uint8Array
  readonly from: Endpoint
}

export interface BindOptions extends Endpoint {
  /** Share the port with other sockets, as multicast listeners do. */
  readonly reuseAddress?: boolean | undefined
  /** Datagrams that may wait for `receive`; further ones are dropped, as the system would. Default 256. */
  readonly backlog?: number | undefined
}

export interface DatagramSocket {
  readonly local: Endpoint
  readonly send: (bytes: Uint8Array, to: Endpoint) => Effect.Effect<void, NetError>
  readonly receive: Effect.Effect<Datagram, NetError>
  /** Joins a multicast group on the interface that has the local address `via`. Leaves with the socket, or by `leave`. */
  readonly join: (group: string, via?: string) => Effect.Effect<void, NetError>
  readonly leave: (group: string, via?: string) => Effect.Effect<void, NetError>
  readonly setMulticast: (options: {
    readonly ttl?: number | undefined
    readonly loopback?: boolean | undefined
    readonly via?: string | undefined
  }) => Effect.Effect<void, NetError>
}

/** An address of an interface of this machine. */
export interface InterfaceAddress {
  readonly name: string
  readonly host: string
  readonly family: 4 | 6
  readonly internal: boolean
  readonly prefixLength: number
  /** What stands behind the `%` of IPv6 addresses of its link, such as those that datagrams come from. Default: its name. */
  readonly zone?: string | undefined
}

export class Net extends Context.Service<
  Net,
  {
    /** Opens a stream socket. Interrupting it, or closing the scope, destroys the socket. */
    readonly connect: (options: ConnectOptions) => Effect.Effect<Socket, NetError, Scope.Scope>
    readonly listen: (options: ListenOptions) => Effect.Effect<SocketListener, NetError, Scope.Scope>
    readonly bind: (options: BindOptions) => Effect.Effect<DatagramSocket, NetError, Scope.Scope>
    /** The addresses of this machine, now. */
    readonly interfaces: Effect.Effect<ReadonlyArray<InterfaceAddress>>
    /** The addresses of a name, in the order the resolver gives them. Never empty. */
    readonly lookup: (name: string, family: 4 | 6 | "any") => Effect.Effect<ReadonlyArray<string>, NetError>
    /** The TXT records of a name, the pieces of each record joined. `/dnsaddr` lives in these. */
    readonly lookupTxt: (name: string) => Effect.Effect<ReadonlyArray<string>, NetError>
  }
>()("effect-libp2p/Net") {}
