/**
 * Listening: each address has an actor that accepts connections and starts
 * their upgrades. A listener that fails is started again; one whose socket is
 * gone ends, and is no longer announced.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as Multiaddr from "../../data/Multiaddr.ts"
import { Actors } from "../../services/Actors.ts"
import type { ResourceManager } from "../../services/ResourceManager.ts"
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
import type { Upgrade } from "./Upgrade.ts"

export interface Options {
  readonly transport: Transport["Service"]
  readonly upgrade: Upgrade
  readonly upgradeDeadline: Duration.Duration
  /** Bounds the upgrades under way, and how fast connections come. */
  readonly resources: Pick<ResourceManager["Service"], "acceptConnection">
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
  const { connectionsScope, emit, open, resources, transport, upgrade, upgradeDeadline } = options
  const actors = yield* Actors
  const listening = new Set<TransportListener>()

  /** Upgrades an accepted connection and hands it over; closes it if either fails. */
  const admit = (
    prepare: Effect.Effect<Prepared, AttemptReason>,
    scope: Scope.Closeable,
    remoteAddress: Multiaddr.Multiaddr
  ) =>
    Effect.flatMap(prepare, open).pipe(
      Effect.tapError((reason) => Effect.sync(() => emit({ _tag: "InboundFailed", remoteAddress, reason }))),
      Effect.tapDefect((defect) =>
        Effect.logError(`the upgrade of a connection from ${remoteAddress.toString()} died`, defect)
      ),
      Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))),
      Effect.ignoreCause
    )

  /**
   * Waits for one connection. It has an owner at any time: the listener, then
   * the fiber that upgrades it. Over a limit it is reset before a byte is read
   * and before anything is started for it.
   */
  const acceptOne = (listener: TransportListener) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // Not a child of the connections' scope yet, which may be another one by the time that somebody comes.
        const socket = yield* Scope.make()
        const raw = yield* restore(Scope.provide(listener.accept, socket)).pipe(
          Effect.onError(() => Scope.close(socket, Exit.void))
        )
        const { remoteAddress } = raw
        const reserved = resources.acceptConnection(remoteAddress)
        if (Result.isFailure(reserved)) {
          raw.reset("over a limit of connections")
          emit({ _tag: "InboundFailed", remoteAddress, reason: reserved.failure })
          return yield* Scope.close(socket, Exit.void)
        }
        const reservation = reserved.success
        const parent = connectionsScope()
        const scope = yield* Scope.fork(parent)
        yield* Scope.addFinalizer(
          scope,
          Effect.ensuring(Scope.close(socket, Exit.void), Effect.sync(reservation.release))
        )
        const prepare = upgrade(raw, {
          role: "listener",
          expectedPeer: undefined,
          deadline: upgradeDeadline,
          reservation
        }).pipe(
          Scope.provide(scope),
          Effect.map((upgraded): Prepared => ({ scope, raw, upgraded, direction: "inbound", reservation }))
        )
        yield* Effect.forkIn(Effect.interruptible(admit(prepare, scope, remoteAddress)), parent, {
          startImmediately: true
        })
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
    const ended = () => {
      if (listening.delete(listener)) emit({ _tag: "ListenClosed", addresses })
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => listening.add(listener)),
      () => Effect.sync(ended)
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
                    ended()
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
