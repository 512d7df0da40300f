/**
 * Faults on any Transport, for those that do not go through Net. The host of a
 * connection is its IP address, or its name, or, where there is neither, its
 * address without the peer: `/memory/7`.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as Multiaddr from "../../data/Multiaddr.ts"
import type { FaultControls } from "../../services/FaultControls.ts"
import { ConnectionRefused, ConnectTimeout, NetError, type NetErrorReason } from "../../services/Net.ts"
import {
  NetworkFailure,
  type RawConnection,
  Transport,
  TransportError,
  type TransportListener,
  type TransportProtocol
} from "../../services/Transport.ts"
import { decorate } from "./FaultyStream.ts"
import { beforeConnect, type FaultOptions, makeTools, type Tools } from "./Tools.ts"

export type { FaultOptions }

/** Under which name the faults of an address are set. */
export const hostOf = (address: Multiaddr.Multiaddr): string => {
  const [first, second] = address.components
  const ip = first?.name === "ip6zone" ? second : first
  if (ip?.value !== undefined && /^(ip|dns)/.test(ip.name)) return ip.value
  const text = address.toString()
  const peer = text.indexOf("/p2p/")
  return peer < 0 ? text : text.slice(0, peer)
}

const decorateConnection = (
  tools: Tools,
  connection: RawConnection
): Effect.Effect<RawConnection, never, Scope.Scope> =>
  Effect.map(decorate(tools, connection, hostOf(connection.remoteAddress)), (stream) =>
    Object.assign(stream, { localAddress: connection.localAddress, remoteAddress: connection.remoteAddress })
  )

const refuse = (address: Multiaddr.Multiaddr, reason: NetErrorReason): TransportError =>
  new TransportError({
    address: address.toString(),
    reason: new NetworkFailure({ cause: new NetError({ operation: "connect", endpoint: undefined, reason }) })
  })

/** Accepts, and resets at once those that are to be refused. */
const accept = (tools: Tools, listener: TransportListener): TransportListener["accept"] =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      for (;;) {
        const own = yield* Scope.fork(scope)
        const connection = yield* restore(Scope.provide(listener.accept, own)).pipe(
          Effect.onError(() => Scope.close(own, Exit.void))
        )
        if (tools.controls.of(hostOf(connection.remoteAddress)).refuse !== true)
          return yield* Scope.provide(decorateConnection(tools, connection), own)
        tools.controls.count("refused")
        connection.reset("refused by a fault")
        yield* Scope.close(own, Exit.void)
      }
    })
  )

/** One transport with the faults of the controls on every connection. */
export const make = (
  inner: TransportProtocol,
  options: FaultOptions = {}
): Effect.Effect<TransportProtocol, never, FaultControls> =>
  Effect.map(makeTools(options), (tools) => ({
    ...inner,
    dial: (address) =>
      beforeConnect(
        tools,
        hostOf(address),
        () => refuse(address, new ConnectionRefused()),
        () => refuse(address, new ConnectTimeout())
      ).pipe(
        Effect.andThen(inner.dial(address)),
        Effect.flatMap((connection) => decorateConnection(tools, connection))
      ),
    listen: (address) =>
      Effect.map(inner.listen(address), (listener) => ({ ...listener, accept: accept(tools, listener) }))
  }))

/**
 * Puts the faults on all transports of the Transport that is provided to it.
 *
 * ```
 * const Faulty = FaultyTransport.layer().pipe(
 *   Layer.provide(MemoryTransport.layer(hub)),
 *   Layer.provideMerge(Controls.layer())
 * )
 * ```
 */
export const layer = (options?: FaultOptions): Layer.Layer<Transport, never, Transport | FaultControls> =>
  Layer.effect(
    Transport,
    Effect.flatMap(Transport, ({ transports }) =>
      Effect.map(
        Effect.forEach(transports, (transport) => make(transport, options)),
        (decorated) => ({ transports: decorated })
      )
    )
  )
