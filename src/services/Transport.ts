/**
 * Transport: raw connections to and from multiaddrs. Layers: TCP, memory.
 * Several are combined; each says which addresses are its own. All of a node
 * may be put into a private network.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { ByteStream } from "./ByteStream.ts"
import { NetError } from "./Net.ts"

/** No transport of this node can dial, or listen on, such an address. */
export class UnsupportedAddress extends Schema.TaggedClass<UnsupportedAddress>()("UnsupportedAddress", {
  detail: Schema.String
}) {}

/** The network refused; see its reason. */
export class NetworkFailure extends Schema.TaggedClass<NetworkFailure>()("NetworkFailure", { cause: NetError }) {}

export const TransportErrorReason = Schema.Union([UnsupportedAddress, NetworkFailure])
export type TransportErrorReason = typeof TransportErrorReason.Type

export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  address: Schema.String,
  reason: TransportErrorReason
}) {
  override get message(): string {
    return `${this.address}: ${this.reason._tag === "NetworkFailure" ? this.reason.cause.message : this.reason.detail}`
  }
}

/** A connection before it is secured. It is destroyed when the scope that it was opened in closes. */
export interface RawConnection extends ByteStream {
  readonly localAddress: Multiaddr
  readonly remoteAddress: Multiaddr
  /** True when it was dialled from a port that is listened on. */
  readonly sharesPort?: boolean | undefined
}

export interface DialOptions {
  /** Leave from a port that is listened on, if the transport can. Default true. */
  readonly sharePort?: boolean | undefined
}

export interface TransportListener {
  /** Where it listens, with real ports; an unspecified host is expanded to the machine's addresses. */
  readonly addresses: Effect.Effect<ReadonlyArray<Multiaddr>>
  /** The next connection; it belongs to the scope of the caller. */
  readonly accept: Effect.Effect<RawConnection, TransportError, Scope.Scope>
}

/** One way of reaching peers. */
export interface TransportProtocol {
  /** A short name for logs and metrics, such as `tcp`. */
  readonly name: string
  /** True when its connections bring security of their own, as those of QUIC: nothing can be put beneath that. Default false. */
  readonly securesItself?: boolean | undefined
  /** True for an address that it can dial; a trailing `/p2p/<id>` does not matter. */
  readonly canDial: (address: Multiaddr) => boolean
  readonly canListen: (address: Multiaddr) => boolean
  /** It has no deadline of its own: the caller sets one. */
  readonly dial: (
    address: Multiaddr,
    options?: DialOptions
  ) => Effect.Effect<RawConnection, TransportError, Scope.Scope>
  readonly listen: (address: Multiaddr) => Effect.Effect<TransportListener, TransportError, Scope.Scope>
}

export class Transport extends Context.Service<
  Transport,
  {
    readonly transports: ReadonlyArray<TransportProtocol>
    /** The fingerprint of the private network that all of them are in; none for nodes that anybody may connect with. */
    readonly network?: string | undefined
  }
>()("effect-libp2p/Transport") {}

/** Combines transports; an address goes to the first that can dial it, or listen on it. */
export const layerPrefer = <R>(
  transports: ReadonlyArray<Effect.Effect<TransportProtocol, never, R>>
): Layer.Layer<Transport, never, R> =>
  Layer.effect(
    Transport,
    Effect.map(Effect.all(transports), (transports) => ({ transports }))
  )
