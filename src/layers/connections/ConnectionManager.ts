/**
 * The ConnectionManager: an actor that trims, and fibers that keep peers
 * connected.
 *
 * ```
 * scope of the layer
 *  ├─ task of each connection: tells the actor of it, and ends
 *  ├─ actor connection-manager          chooses and closes, at most once a second
 *  │   └─ one timer                     for when the young have had their grace
 *  └─ a fiber for each peer kept alive  dials it; ends with the last lease on it
 * ```
 *
 * The leases are plain state that the service's functions change at once; the
 * actor only reads them.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { PeerId } from "../../data/PeerId.ts"
import { type ActorRef, Actors, type Behaviour, type Reply } from "../../services/Actors.ts"
import { ConnectionManager } from "../../services/ConnectionManager.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { type Limits, ResourceManager } from "../../services/ResourceManager.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import { pauseMs } from "../internal/Retry.ts"
import { Leases } from "./core/Leases.ts"
import { chooseToTrim, type Marks, nextChange, type Trimmable } from "./core/Trim.ts"

export interface Options {
  /** Connections that are left after a trim. Default: four fifths of the high mark. */
  readonly lowWater?: number | undefined
  /** Connections above which a trim begins. Default: five eighths of the system's limit; see {@link defaultHighWater}. */
  readonly highWater?: number | undefined
  /** How long a new connection is spared. Default 20 seconds. */
  readonly grace?: Duration.Input | undefined
  /** The shortest time from one trim to the next. Default 1 second. */
  readonly pause?: Duration.Input | undefined
  /** How long to wait before a peer that is kept alive is dialled again: at first, and at most. Defaults 1 second and 5 minutes. */
  readonly redial?: { readonly first?: Duration.Input; readonly longest?: Duration.Input } | undefined
}

/** The marks are not whole numbers of connections, or the low one is above the high one. */
export class InvalidWatermarks extends Schema.TaggedError<InvalidWatermarks>()("InvalidWatermarks", {
  lowWater: Schema.Number,
  highWater: Schema.Number
}) {
  override get message(): string {
    return `the low watermark (${this.lowWater}) and the high watermark (${this.highWater}) must be whole numbers from 0, the low one not above the high one`
  }
}

/** Five eighths of the connections that the system may have, and below what may come in, so that trimming starts before refusing. */
export const defaultHighWater = (limits: Limits): number =>
  Math.floor(Math.min((limits.system.connections * 5) / 8, (limits.system.connectionsInbound * 5) / 6))

/** A connection that ends sooner than this counts as a failure to keep its peer. */
const steadyMs = 10_000
/** For a trim that was asked for; closing is bounded in time. */
const patience = Duration.minutes(1)

const monotonicMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

type Message = { readonly _tag: "Look" } | { readonly _tag: "Trim"; readonly reply: Reply<number> }

interface Candidate extends Trimmable {
  readonly connection: Connection
}

const make = Effect.fnUntraced(function* (options?: Options) {
  const actors = yield* Actors
  const peerStore = yield* PeerStore
  const { limits } = yield* ResourceManager
  const swarm = yield* Swarm
  const highWater = options?.highWater ?? Math.max(options?.lowWater ?? 0, defaultHighWater(limits))
  const marks: Marks = {
    highWater,
    lowWater: options?.lowWater ?? Math.floor((highWater * 4) / 5),
    graceMs: Duration.toMillis(options?.grace ?? "20 seconds")
  }
  const { lowWater } = marks
  if (!(Number.isSafeInteger(lowWater) && Number.isSafeInteger(highWater) && lowWater >= 0 && lowWater <= highWater)) {
    return yield* new InvalidWatermarks({ lowWater, highWater })
  }
  const pause = Duration.toMillis(options?.pause ?? "1 second")
  const pauses = {
    firstMs: Duration.toMillis(options?.redial?.first ?? "1 second"),
    longestMs: Duration.toMillis(options?.redial?.longest ?? "5 minutes")
  }
  const protectedPeers = new Leases()
  const keptPeers = new Leases()
  let trimmed = 0
  const isProtected = (peer: string) => protectedPeers.has(peer) || keptPeers.has(peer)

  // ---- trimming

  const candidate = (connection: Connection): Candidate => ({
    connection,
    id: connection.id,
    direction: connection.direction,
    openedAt: connection.openedAt,
    streams: connection.streamCount(),
    worth: peerStore.worth(connection.remotePeer),
    protected: isProtected(connection.remotePeer.toString())
  })

  const closeAll = (chosen: ReadonlyArray<Candidate>) =>
    Effect.forEach(
      chosen,
      ({ connection, worth }) =>
        Effect.logDebug(
          `connection ${connection.id} with ${connection.remotePeer.toString()} (worth ${worth}) is closed: too many connections`
        ).pipe(Effect.andThen(connection.close), Effect.andThen(Effect.sync(() => void trimmed++))),
      // Each takes as long as its remote likes, up to its grace: one after another would be no end of it.
      { concurrency: "unbounded", discard: true }
    )

  const behaviour = Effect.fnUntraced(function* (self: ActorRef<Message>) {
    const scope = yield* Effect.scope
    /** Of the clock that only goes forward. */
    let lastTrim = Number.NEGATIVE_INFINITY
    let timer: { readonly at: number; readonly fiber: Fiber.Fiber<unknown> } | undefined

    /** Looks again at `at`, unless it will sooner; not at once, whatever the rounding of times says. */
    const lookAt = (at: number, now: number) =>
      Effect.gen(function* () {
        if (timer !== undefined) {
          if (timer.at <= at) return
          yield* Fiber.interrupt(timer.fiber)
        }
        const fiber = yield* Effect.sleep(Math.max(1, at - now)).pipe(
          Effect.andThen(
            Effect.suspend(() => {
              timer = undefined
              return Effect.ignore(self.tell({ _tag: "Look" }))
            })
          ),
          Effect.forkIn(scope)
        )
        timer = { at, fiber }
      })

    const look = Effect.gen(function* () {
      const open = yield* swarm.connections()
      // So it is nearly each time, and there is one for each connection that comes: what they are worth costs more to tell.
      if (open.length <= highWater) return
      const all = open.map(candidate)
      const now = yield* Clock.currentTimeMillis
      const since = yield* monotonicMs
      if (since - lastTrim < pause) return yield* lookAt(now + lastTrim + pause - since, now)
      const chosen = chooseToTrim(all, now, marks)
      if (chosen.length > 0) {
        lastTrim = since
        yield* closeAll(chosen)
      }
      const left = all.filter((one) => !chosen.includes(one))
      const at = nextChange(left, now, marks)
      if (at !== undefined) yield* lookAt(at, now)
    })

    const trim = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const chosen = chooseToTrim((yield* swarm.connections()).map(candidate), now, marks, true)
      yield* closeAll(chosen)
      return chosen.length
    })

    const actor: Behaviour<Message, never> = {
      receive: (message) => {
        if (message._tag === "Trim") {
          return Effect.flatMap(trim, (count) => Effect.asVoid(Deferred.succeed(message.reply, count)))
        }
        told = false
        return look
      },
      detail: () => `between ${lowWater} and ${highWater}, ${trimmed} trimmed`
    }
    return actor
  })

  /** A look is waiting in the mailbox; one is enough. */
  let told = false
  const ref = yield* actors.spawn<Message, never, Scope.Scope>({
    name: "connection-manager",
    restart: { times: 10, within: "1 minute" },
    make: (self) =>
      Effect.suspend(() => {
        // The run before may have lost its timer.
        told = self.tellUnsafe({ _tag: "Look" })
        return behaviour(self)
      })
  })
  yield* swarm.forEachConnection(() =>
    Effect.sync(() => {
      if (!told) told = ref.tellUnsafe({ _tag: "Look" })
    })
  )

  // ---- keeping peers connected

  const keeping = yield* FiberMap.make<string>()

  const keep = Effect.fnUntraced(function* (peer: PeerId) {
    let failures = 0
    for (;;) {
      const [open] = yield* swarm.connections(peer)
      const connection = open ?? (yield* dialled(peer))
      if (connection !== undefined) {
        yield* connection.awaitClosed
        // One that ends at once is as good as none: the pauses go on growing.
        if ((yield* Clock.currentTimeMillis) - connection.openedAt >= steadyMs) failures = 0
      }
      failures++
      yield* Effect.sleep(pauseMs(failures, pauses, yield* Random.next))
    }
  })

  const dialled = (peer: PeerId): Effect.Effect<Connection | undefined> =>
    swarm
      .dial(peer)
      .pipe(Effect.catch((error) => Effect.as(Effect.logDebug(`kept alive: ${error.message}`), undefined)))

  const lease = (leases: Leases, peer: PeerId, first: Effect.Effect<unknown>, last: Effect.Effect<unknown>) =>
    Effect.acquireRelease(
      Effect.suspend(() => (leases.take(peer.toString()) ? Effect.asVoid(first) : Effect.void)),
      () => Effect.suspend(() => (leases.give(peer.toString()) ? last : Effect.void))
    )

  return ConnectionManager.of({
    protect: (peer) => lease(protectedPeers, peer, Effect.void, Effect.void),
    keepAlive: (peer) =>
      lease(
        keptPeers,
        peer,
        FiberMap.run(
          keeping,
          peer.toString(),
          Effect.tapCause(keep(peer), (cause) =>
            Cause.hasInterruptsOnly(cause)
              ? Effect.void
              : Effect.logError(`${peer.toString()} is no longer kept alive`, cause)
          )
        ),
        FiberMap.remove(keeping, peer.toString())
      ),
    isProtected: (peer) => isProtected(peer.toString()),
    trim: ref
      .ask<number>((reply) => ({ _tag: "Trim", reply }), patience)
      // Stopped, with its node: there is nothing left to trim.
      .pipe(Effect.orElseSucceed(() => 0)),
    status: Effect.map(swarm.connections(), (connections) => ({
      connections: connections.length,
      lowWater,
      highWater,
      protected: [...new Set([...protectedPeers.peers(), ...keptPeers.peers()])],
      trimmed
    }))
  })
})

/**
 * Keeps the number of connections between the marks, which by default follow
 * from the limits of the ResourceManager.
 *
 * ```
 * ConnectionManager.layer({ lowWater: 80, highWater: 100, grace: "1 minute" })
 * ```
 */
export const layer = (
  options?: Options
): Layer.Layer<ConnectionManager, InvalidWatermarks, Actors | PeerStore | ResourceManager | Swarm> =>
  Layer.effect(ConnectionManager, make(options))
