/**
 * A transport within one process: `/memory/<n>`. Who listens where is kept by a
 * hub that the nodes share; nothing is global, so two hubs never meet.
 *
 * ```
 * const hub = yield* MemoryTransport.makeHub()
 * const left = node.pipe(Layer.provide(MemoryTransport.layer(hub)))
 * const right = node.pipe(Layer.provide(MemoryTransport.layer(hub)))
 * ```
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { AddressInUse, ConnectionRefused, NetError, type NetErrorReason, SocketClosed } from "../../services/Net.ts"
import {
  layerPrefer,
  NetworkFailure,
  type RawConnection,
  type Transport,
  TransportError,
  type TransportListener,
  type TransportProtocol,
  UnsupportedAddress
} from "../../services/Transport.ts"
import { Inbox } from "../internal/Inbox.ts"
import * as Pipe from "../internal/Pipe.ts"

export interface HubOptions {
  /** Bytes that may be under way in each direction of a connection. Default 64 KiB. */
  readonly capacity?: number | undefined
  /** Connections that may wait to be accepted; further ones are reset. Default 128. */
  readonly backlog?: number | undefined
}

type Connection = RawConnection & Pipe.PipeEnd

/** Where the transports of several nodes meet. Made by {@link makeHub}. */
export class Hub {
  /** @internal */
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** @internal */
  readonly options: HubOptions
  /** @internal */
  readonly listeners = new Map<string, Inbox<Connection>>()
  // Above the small numbers that people choose.
  private next = 1_000_000

  constructor(dispatcher: Scheduler.SchedulerDispatcher, options: HubOptions) {
    this.dispatcher = dispatcher
    this.options = options
  }

  /** @internal A number that nobody listens on. */
  free(): string {
    for (;;) {
      const number = String(this.next++)
      if (!this.listeners.has(number)) return number
    }
  }
}

export const makeHub = (options: HubOptions = {}): Effect.Effect<Hub> =>
  Effect.map(Scheduler.Scheduler, (scheduler) => new Hub(scheduler.makeDispatcher(), options))

/** The number of `/memory/<n>`, with or without `/p2p/<id>`. */
const numberOf = (address: Multiaddr.Multiaddr): string | undefined => {
  const [memory, peer, ...rest] = address.components
  if (memory?.name !== "memory" || rest.length > 0 || (peer !== undefined && peer.name !== "p2p")) return undefined
  return memory.value
}

const toAddress = (number: string): Multiaddr.Multiaddr => Result.getOrThrow(Multiaddr.fromString(`/memory/${number}`))

const unsupported = (address: Multiaddr.Multiaddr, detail: string): TransportError =>
  new TransportError({ address: address.toString(), reason: new UnsupportedAddress({ detail }) })

const refused = (
  address: Multiaddr.Multiaddr,
  operation: NetError["operation"],
  reason: NetErrorReason
): TransportError =>
  new TransportError({
    address: address.toString(),
    reason: new NetworkFailure({ cause: new NetError({ operation, endpoint: undefined, reason }) })
  })

const dial = (hub: Hub, address: Multiaddr.Multiaddr): Effect.Effect<RawConnection, TransportError, Scope.Scope> =>
  Effect.andThen(
    Effect.yieldNow,
    Effect.uninterruptible(
      Effect.gen(function* () {
        const number = numberOf(address)
        if (number === undefined || number === "0") return yield* unsupported(address, "not a /memory address to dial")
        const accepting = hub.listeners.get(number)
        if (accepting === undefined) return yield* refused(address, "connect", new ConnectionRefused())
        const scope = yield* Effect.scope
        const localAddress = toAddress(hub.free())
        const remoteAddress = toAddress(number)
        const [near, far] = Pipe.makeUnsafe(hub.dispatcher, { capacity: hub.options.capacity })
        const accepted = Object.assign(far, { localAddress: remoteAddress, remoteAddress: localAddress })
        if (!accepting.put(accepted)) far.reset("too many connections wait to be accepted")
        yield* Scope.addFinalizer(scope, Effect.sync(near.release))
        return Object.assign(near, { localAddress, remoteAddress })
      })
    )
  )

const listen = (
  hub: Hub,
  address: Multiaddr.Multiaddr
): Effect.Effect<TransportListener, TransportError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const asked = numberOf(address)
      if (asked === undefined) return yield* unsupported(address, "not a /memory address")
      const number = asked === "0" ? hub.free() : asked
      if (hub.listeners.has(number)) return yield* refused(address, "listen", new AddressInUse())
      const accepting = new Inbox<Connection>(hub.options.backlog ?? 128, (task) =>
        hub.dispatcher.scheduleTask(task, 0)
      )
      yield* Effect.acquireRelease(
        Effect.sync(() => hub.listeners.set(number, accepting)),
        () =>
          Effect.sync(() => {
            hub.listeners.delete(number)
            for (const connection of accepting.close()) connection.reset("its listener was closed")
          })
      )
      const accept: TransportListener["accept"] = Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Effect.scope
          for (;;) {
            const connection = accepting.take()
            if (connection !== undefined) {
              yield* Scope.addFinalizer(scope, Effect.sync(connection.release))
              return connection
            }
            if (accepting.closed) return yield* refused(address, "accept", new SocketClosed())
            yield* restore(accepting.arrived)
          }
        })
      )
      return { addresses: Effect.succeed([toAddress(number)]), accept }
    })
  )

/** The transport of one node on a hub. Combine it with others by `Transport.layerPrefer`. */
export const make = (hub: Hub): Effect.Effect<TransportProtocol> =>
  Effect.succeed({
    name: "memory",
    canDial: (address) => {
      const number = numberOf(address)
      return number !== undefined && number !== "0"
    },
    canListen: (address) => numberOf(address) !== undefined,
    dial: (address) => dial(hub, address),
    listen: (address) => listen(hub, address)
  })

/** The memory transport alone. */
export const layer = (hub: Hub): Layer.Layer<Transport> => layerPrefer([make(hub)])
