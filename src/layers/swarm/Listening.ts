/**
 * Listening: each address has an actor that accepts connections and starts
 * their upgrades. A listener that fails is started again; one whose socket is
 * gone ends, and is no longer announced.
 */
import { type Cause, Duration, Effect, Exit, Scope, Semaphore } from "effect"
import type * as Multiaddr from "../../data/Multiaddr.ts"
import { Actors } from "../../services/Actors.ts"
import {
  type AttemptReason,
  type Connection,
  ListenError,
  NoTransport,
  type SwarmEvent,
  TransportFailed
} from "../../services/Swarm.ts"
import { type Transport, TransportError, type TransportListener } from "../../services/Transport.ts"
import type { Prepared } from "./Connection.ts"
import type * as Upgrade from "./Upgrade.ts"

export interface Options {
  readonly transport: Transport["Service"]
  readonly upgrade: ReturnType<typeof Upgrade.make>
  readonly upgradeDeadline: Duration.Duration
  /** Upgrades under way at once, on all listeners together. */
  readonly maxPending: number
  /** Where connections live at this moment. */
  readonly connectionsScope: () => Scope.Scope
  readonly emit: (event: SwarmEvent) => void
  /** Hands an upgraded connection to the swarm, which may refuse it. */
  readonly open: (prepared: Prepared) => Effect.Effect<Connection, AttemptReason>
}

const isSocketClosed = (error: unknown): boolean =>
  error instanceof TransportError &&
  error.reason._tag === "NetworkFailure" &&
  error.reason.cause.reason._tag === "SocketClosed"

/** Between a failed accept and the next, as when the process is out of file descriptors. */
const breather = Duration.millis(100)

export const make = Effect.fnUntraced(function* (options: Options) {
  const { connectionsScope, emit, maxPending, open, transport, upgrade, upgradeDeadline } = options
  const actors = yield* Actors
  const pending = yield* Semaphore.make(maxPending)
  const listening = new Set<TransportListener>()

  /** Upgrades an accepted connection and hands it over; closes it if either fails. */
  const admit = (
    prepare: Effect.Effect<Prepared, AttemptReason>,
    scope: Scope.Closeable,
    remoteAddress: Multiaddr.Multiaddr
  ) =>
    Effect.flatMap(prepare, open).pipe(
      Effect.tapError((reason) => Effect.sync(() => emit({ _tag: "InboundFailed", remoteAddress, reason }))),
      Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))),
      Effect.ignoreCause
    )

  /** Waits for one connection. It has an owner at any time: the listener, then the fiber that upgrades it. */
  const acceptOne = (listener: TransportListener) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* restore(Semaphore.take(pending, 1))
        const parent = connectionsScope()
        const scope = yield* Scope.fork(parent)
        const raw = yield* restore(Scope.provide(listener.accept, scope)).pipe(
          Effect.onError(() => Effect.andThen(Scope.close(scope, Exit.void), Semaphore.release(pending, 1)))
        )
        const prepare = upgrade(raw, { role: "listener", expectedPeer: undefined, deadline: upgradeDeadline }).pipe(
          Scope.provide(scope),
          Effect.map((upgraded): Prepared => ({ scope, raw, upgraded, direction: "inbound" }))
        )
        yield* Effect.forkIn(
          Effect.interruptible(admit(prepare, scope, raw.remoteAddress)).pipe(
            Effect.ensuring(Semaphore.release(pending, 1))
          ),
          parent,
          { startImmediately: true }
        )
      })
    )

  const listen = Effect.fnUntraced(function* (address: Multiaddr.Multiaddr) {
    const protocol = transport.transports.find((candidate) => candidate.canListen(address))
    if (protocol === undefined) {
      return yield* new ListenError({ address: address.toString(), reason: new NoTransport({}) })
    }
    const listener = yield* Effect.mapError(
      protocol.listen(address),
      (cause) => new ListenError({ address: address.toString(), reason: new TransportFailed({ cause }) })
    )
    const addresses = yield* listener.addresses
    yield* Effect.acquireRelease(
      Effect.sync(() => listening.add(listener)),
      () => Effect.sync(() => listening.delete(listener))
    )
    let accepted = 0
    const accepting = Effect.forever(Effect.tap(acceptOne(listener), () => Effect.sync(() => accepted++)))
    yield* actors.spawn<{ readonly cause: Cause.Cause<TransportError> }, TransportError, Scope.Scope>({
      name: `listener ${addresses[0]?.toString() ?? address.toString()}`,
      mailbox: 1,
      restart: { times: 600, within: "1 minute" },
      make: (self) =>
        Effect.gen(function* () {
          yield* Effect.forkScoped(
            Effect.tapCause(accepting, (cause) =>
              Effect.andThen(Effect.sleep(breather), Effect.ignore(self.tell({ cause })))
            )
          )
          return {
            // The failure of its fiber is its own, for its policy to judge.
            receive: ({ cause }) =>
              cause.reasons.some((reason) => reason._tag === "Fail" && isSocketClosed(reason.error))
                ? Effect.sync(() => {
                    listening.delete(listener)
                    return "stop" as const
                  })
                : Effect.failCause(cause),
            detail: () => `${accepted} accepted`
          }
        })
    })
    emit({ _tag: "Listening", addresses })
    return addresses
  })

  const listenAddresses = Effect.suspend(() =>
    Effect.map(
      Effect.forEach(listening, (listener) => listener.addresses),
      (lists) => lists.flat()
    )
  )

  return { listen, listenAddresses }
})
