/**
 * The swarm.
 *
 * ```
 * node's scope
 *  └─ swarm (actor): alone changes the table of connections and the dials
 *      ├─ one fiber a dial, shared by all who ask for the peer
 *      └─ connections' scope, closed in parallel
 *          └─ one scope a connection: its reservation, socket, muxer, connection (actor)
 *              └─ if it is one of two that were dialled at once: the fiber that settles on one of them
 * scope of each `listen`
 *  └─ listener (actor): accepts, and starts the upgrade of each connection in the connections' scope
 * ```
 *
 * A node without a swarm is no node: an actor that fails is started again
 * however often it fails, with growing pauses. Its connections end with the run
 * that they belong to; listeners and registered tasks go on.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import { type ActorRef, Actors, type Reply } from "../../services/Actors.ts"
import { ConnectionGater } from "../../services/ConnectionGater.ts"
import { ConnectionSecurity } from "../../services/ConnectionSecurity.ts"
import { Identity } from "../../services/Identity.ts"
import { Net } from "../../services/Net.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import * as PrivateNetwork from "../../services/PrivateNetwork.ts"
import { Protocols } from "../../services/Protocols.ts"
import { ResourceManager } from "../../services/ResourceManager.ts"
import { StreamMuxer } from "../../services/StreamMuxer.ts"
import {
  type Connection,
  type ConnectionEnd,
  DialError,
  type DialErrorReason,
  DialSelf,
  type DialTarget,
  DialTimeout,
  NoAddresses,
  Swarm,
  SwarmUnavailable
} from "../../services/Swarm.ts"
import { Transport } from "../../services/Transport.ts"
import * as Deadlines from "../internal/Deadlines.ts"
import * as Connections from "./Connection.ts"
import * as Dial from "./Dial.ts"
import * as Duplicates from "./Duplicates.ts"
import * as Gate from "./Gate.ts"
import * as Journal from "./Journal.ts"
import * as KnownAddresses from "./KnownAddresses.ts"
import * as Listening from "./Listening.ts"
import * as Pauses from "../internal/Pauses.ts"
import { type Entry, type Standing, successor, Table } from "./Table.ts"
import { Tasks } from "./Tasks.ts"
import * as Upgrade from "./Upgrade.ts"
import * as Watch from "./Watch.ts"

export interface Options {
  /** For resolving a name; and for one address, from the first packet to a usable connection. Default 10 seconds. */
  readonly dialDeadline?: Duration.Input | undefined
  /** For a whole dial, all addresses of a peer together. Default 1 minute. */
  readonly dialTimeout?: Duration.Input | undefined
  /** Addresses that the node tries at once, over all dials; further ones wait their turn. Default 256. */
  readonly maxDialing?: number | undefined
  /** For securing and multiplexing an inbound connection. Default 10 seconds. */
  readonly upgradeDeadline?: Duration.Input | undefined
  /** For agreeing on the protocol of a stream. Default 10 seconds. */
  readonly negotiationDeadline?: Duration.Input | undefined
}

/** For the actor to take over a connection. */
const patience = Duration.minutes(1)
type Message =
  | {
      readonly _tag: "Dial"
      readonly key: string
      readonly peer: PeerId.PeerId | undefined
      readonly addresses: ReadonlyArray<Dial.Known>
      /** In which span it is asked for. */
      readonly span: Tracer.AnySpan | undefined
      readonly reply: Reply<Connection, DialError>
    }
  /** A dial came to nothing. One that led to a connection hands it over as `Opened`. */
  | {
      readonly _tag: "DialFailed"
      readonly key: string
      readonly dial: Dialing
      readonly exit: Exit.Failure<Connection, DialError>
    }
  | { readonly _tag: "DialLeft"; readonly key: string; readonly reply: Reply<Connection, DialError> }
  | {
      readonly _tag: "Opened"
      readonly prepared: Connections.Prepared
      /** The dial that led to it, whose askers get it at once. */
      readonly dial: { readonly key: string; readonly dialing: Dialing } | undefined
      readonly reply: Reply<Connection>
    }
  | { readonly _tag: "Superseded"; readonly pair: Duplicates.Pair }
  | { readonly _tag: "Ended"; readonly id: number; readonly end: ConnectionEnd }

/** A dial under way and those who wait for it. */
interface Dialing {
  readonly peer: PeerId.PeerId | undefined
  /** Grows with what later askers know. */
  readonly addresses: Array<Dial.Known>
  readonly waiting: Array<Reply<Connection, DialError>>
  fiber: Fiber.Fiber<unknown> | undefined
}

const make = Effect.fnUntraced(function* (options?: Options) {
  const actors = yield* Actors
  const identity = yield* Identity
  const net = yield* Net
  const protocols = yield* Protocols
  const resources = yield* ResourceManager
  const transport = yield* Transport
  yield* PrivateNetwork.required(transport.network)
  const known = KnownAddresses.make(yield* PeerStore)
  const gate = Gate.make(yield* ConnectionGater)
  const watch = yield* Watch.make
  const security = yield* ConnectionSecurity
  const deadlines = yield* Deadlines.make
  const upgrade = watch.upgrade(
    Upgrade.make(watch.security(security), watch.muxer(yield* StreamMuxer), gate, deadlines, transport.network)
  )
  const dialTimeout = Duration.fromInputUnsafe(options?.dialTimeout ?? "1 minute")
  const dialTimeoutMs = Duration.toMillis(dialTimeout)
  // The dial ends by itself and says why; an actor that is ending does not answer.
  const dialPatience = Duration.sum(dialTimeout, Duration.seconds(30))
  const dialAddresses = Dial.make(net, transport, upgrade, {
    addressDeadline: Duration.fromInputUnsafe(options?.dialDeadline ?? "10 seconds"),
    dialTimeout,
    maxDialing: options?.maxDialing,
    reserve: resources.dialConnection,
    hasAlternatives: security.protocols.length > 1,
    gate,
    deadlines,
    watch
  })
  const journal = yield* Journal.make
  const { emit } = journal
  const table = new Table()
  const tasks = new Tasks()
  let nextId = 1
  /** Where connections live; made anew if the actor restarts. */
  let connectionsScope: Scope.Closeable = yield* Scope.make("parallel")

  const surroundings = Connections.surroundings({
    protocols,
    emit,
    watch,
    refused: () => journal.count("streamsRefused"),
    negotiationTimeoutMs: Duration.toMillis(options?.negotiationDeadline ?? "10 seconds")
  })

  const dialError = (peer: string, reason: DialErrorReason) => new DialError({ peer, reason, attempts: [] })

  const pause = Pauses.make()
  const swarm: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope>({
    name: "swarm",
    mailbox: 1024,
    restart: { times: Number.POSITIVE_INFINITY, within: "1 minute" },
    make: (self) =>
      Effect.gen(function* () {
        const runScope = yield* Effect.scope
        const dials = new Map<string, Dialing>()
        table.clear()
        yield* pause
        connectionsScope = yield* Scope.fork(runScope, "parallel")
        const fork = Effect.runForkWith(yield* Effect.context())

        const opened = Effect.fnUntraced(function* (prepared: Connections.Prepared) {
          // It ended while it waited for its turn: given up, or of the run before. Nobody waits for the answer.
          if (prepared.scope.state._tag === "Closed") return undefined
          const id = nextId++
          const { isOpen } = prepared.upgraded.muxed
          const standing: Standing = { successor: undefined }
          const openedAt = yield* Clock.currentTimeMillis
          // In its place in the mailbox; where that is full, in a fiber that waits for one.
          const ended = (end: ConnectionEnd) => {
            const message: Message = { _tag: "Ended", id, end }
            if (self.tellUnsafe(message)) return
            Fiber.runIn(fork(Effect.ignore(self.tell(message))), runScope)
          }
          const started = yield* Connections.start(id, openedAt, prepared, surroundings, ended, () =>
            successor(standing)
          ).pipe(Scope.provide(prepared.scope), Effect.provideService(Actors, actors))
          const { connection } = started
          const entry: Entry = { ...started, scope: prepared.scope, isOpen, standing }
          table.add(entry)
          emit({ _tag: "Connected", connection })
          yield* tasks.startFor(entry)
          for (const pair of Duplicates.pairs(identity.peerId, entry, table.of(connection.remotePeer))) {
            const settling = Duplicates.settle(pair, self.tell({ _tag: "Superseded", pair }))
            yield* Effect.forkIn(Effect.ignore(settling), pair.surplus.scope)
          }
          return connection
        })

        /** Hands a dialled connection to the actor. */
        const handOver = (key: string, dialing: Dialing, prepared: Connections.Prepared, scope: Scope.Closeable) =>
          Effect.gen(function* () {
            const remote = prepared.upgraded.secured.remotePeer
            if (PeerId.equals(remote, identity.peerId)) return yield* dialError(remote.toString(), new DialSelf({}))
            // Known at once; the disk is not waited for.
            yield* Effect.forkIn(known.proven(remote, prepared.raw.remoteAddress), scope, { startImmediately: true })
            const asking = self.ask<Connection>(
              (reply) => ({ _tag: "Opened", prepared: { ...prepared, scope }, dial: { key, dialing }, reply }),
              patience
            )
            return yield* Effect.mapError(asking, (cause) =>
              dialError(remote.toString(), new SwarmUnavailable({ cause }))
            )
          })

        /** Runs outside the actor and reports back to it. What it opened is gone unless it succeeds. */
        const dial = (key: string, dialing: Dialing, span: Tracer.AnySpan | undefined) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.gen(function* () {
              const { peer } = dialing
              const scope = yield* Scope.fork(connectionsScope)
              return yield* restore(watch.dial(peer, span, dialAddresses(peer, dialing.addresses, scope))).pipe(
                Effect.flatMap((result) =>
                  result._tag === "Succeeded"
                    ? // Interruptible: an actor that is ending does not answer.
                      restore(handOver(key, dialing, result.prepared, scope))
                    : Effect.fail(
                        new DialError({
                          peer: peer?.toString() ?? "",
                          reason: result.reason,
                          attempts: result.attempts
                        })
                      )
                ),
                Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)))
              )
            })
          ).pipe(
            Effect.exit,
            // Not a finalizer: while the run ends, its mailbox may be full, and nobody empties it before all dials have ended.
            Effect.flatMap((exit) =>
              Exit.isSuccess(exit)
                ? Effect.void
                : Effect.ignore(self.tell({ _tag: "DialFailed", key, dial: dialing, exit }))
            )
          )

        /** Everybody who waits for the dial gets what came of it; nobody, if it was given up. */
        const settle = (key: string, dialing: Dialing, exit: Exit.Exit<Connection, DialError>): Effect.Effect<void> => {
          if (dials.get(key) !== dialing) return Effect.void
          dials.delete(key)
          return Effect.forEach(dialing.waiting, (reply) => Deferred.done(reply, exit), { discard: true })
        }

        const receive = (message: Message): Effect.Effect<void> => {
          switch (message._tag) {
            case "Dial": {
              const open = message.peer === undefined ? undefined : table.usable(message.peer)
              if (open !== undefined) return Effect.asVoid(Deferred.succeed(message.reply, open))
              const under = dials.get(message.key)
              if (under !== undefined) {
                under.waiting.push(message.reply)
                under.addresses.push(...message.addresses)
                return Effect.void
              }
              const dialing: Dialing = {
                peer: message.peer,
                addresses: [...message.addresses],
                waiting: [message.reply],
                fiber: undefined
              }
              dials.set(message.key, dialing)
              const fork = Effect.forkIn(dial(message.key, dialing, message.span), runScope, { startImmediately: true })
              return Effect.map(fork, (fiber) => {
                dialing.fiber = fiber
              })
            }
            case "DialLeft": {
              const dialing = dials.get(message.key)
              const at = dialing?.waiting.indexOf(message.reply) ?? -1
              if (dialing === undefined || at < 0) return Effect.void
              dialing.waiting.splice(at, 1)
              if (dialing.waiting.length > 0) return Effect.void
              // Nobody waits for it any more. Its end is not waited for either: it reports to this actor.
              dials.delete(message.key)
              return Effect.sync(() => dialing.fiber?.interruptUnsafe())
            }
            case "DialFailed": {
              const { dial, exit, key } = message
              if (dials.get(key) !== dial) return Effect.void
              journal.count("dialsFailed")
              const error = Exit.findErrorOption(exit)
              if (error._tag === "Some") emit({ _tag: "DialFailed", error: error.value })
              // The peer may have come to us meanwhile.
              const open = dial.peer === undefined ? undefined : table.usable(dial.peer)
              return settle(key, dial, open === undefined ? exit : Exit.succeed(open))
            }
            case "Opened":
              return Effect.flatMap(opened(message.prepared), (connection) => {
                if (connection === undefined) return Effect.void
                const { dial, reply } = message
                const answered = Effect.asVoid(Deferred.succeed(reply, connection))
                return dial === undefined
                  ? answered
                  : Effect.andThen(answered, settle(dial.key, dial.dialing, Exit.succeed(connection)))
              })
            case "Superseded":
              return Effect.sync(() => {
                message.pair.surplus.standing.successor = message.pair.preferred
              })
            case "Ended": {
              const entry = table.remove(message.id)
              if (entry === undefined) return Effect.void
              emit({ _tag: "Disconnected", connection: entry.connection, end: message.end })
              // Closing may take as long as its grace; the swarm does not wait for it.
              return Effect.asVoid(Effect.forkIn(Scope.close(entry.scope, Exit.void), runScope))
            }
          }
        }

        return {
          receive,
          detail: () => `${table.size} connections with ${table.peers} peers, ${dials.size} dials`
        }
      })
  })

  // ---- dialling

  const target = (
    to: DialTarget
  ): { peer: PeerId.PeerId | undefined; addresses: ReadonlyArray<Multiaddr.Multiaddr> } => {
    if (PeerId.isPeerId(to)) return { peer: to, addresses: [] }
    if (Multiaddr.isMultiaddr(to)) return { peer: Multiaddr.peerId(to), addresses: [to] }
    return to
  }

  /** A store that does not answer knows nothing. */
  const knownOf = (peer: PeerId.PeerId) => deadlines.within(known.of(peer), dialTimeoutMs, () => Effect.succeed([]))

  const dial = (to: DialTarget): Effect.Effect<Connection, DialError> =>
    Effect.gen(function* () {
      const { peer, addresses: given } = target(to)
      if (peer !== undefined) {
        if (PeerId.equals(peer, identity.peerId)) return yield* dialError(peer.toString(), new DialSelf({}))
        const open = table.usable(peer)
        if (open !== undefined) return open
        const late = () => Effect.fail(new DialTimeout({ afterMs: dialTimeoutMs }))
        yield* Effect.mapError(deadlines.within(gate.dialPeer(peer), dialTimeoutMs, late), (reason) =>
          dialError(peer.toString(), reason)
        )
      }
      const addresses: Array<Dial.Known> = [
        ...given.map((address) => ({ address, given: true, proven: false })),
        ...(peer === undefined ? [] : yield* knownOf(peer)).map(({ address, confidence }) => ({
          address,
          given: false,
          proven: confidence === "proven"
        }))
      ]
      if (addresses.length === 0) return yield* dialError(peer?.toString() ?? "", new NoAddresses({}))
      const key = peer?.toString() ?? given.join(",")
      const span = yield* watch.span
      let asked: Reply<Connection, DialError> | undefined
      return yield* swarm
        .ask<Connection, DialError>((reply) => {
          asked = reply
          return { _tag: "Dial", key, peer, addresses, span, reply }
        }, dialPatience)
        .pipe(
          // Interrupted or out of patience: without anybody else who waits, the dial is given up.
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit) && asked !== undefined) swarm.tellUnsafe({ _tag: "DialLeft", key, reply: asked })
            })
          ),
          Effect.catchTag("ActorError", (cause) =>
            Effect.fail(dialError(peer?.toString() ?? "", new SwarmUnavailable({ cause })))
          )
        )
    })

  // ---- listening

  const { listen, listenAddresses } = yield* Listening.make({
    transport,
    upgrade,
    upgradeDeadline: Duration.fromInputUnsafe(options?.upgradeDeadline ?? "10 seconds"),
    resources,
    connectionsScope: () => connectionsScope,
    emit,
    open: (prepared) =>
      Effect.catchTag(
        swarm.ask<Connection>((reply) => ({ _tag: "Opened", prepared, dial: undefined, reply }), patience),
        "ActorError",
        (cause) => Effect.fail(new SwarmUnavailable({ cause }))
      )
  })

  return Swarm.of({
    peerId: identity.peerId,
    network: transport.network,
    listen,
    listenAddresses,
    dial,
    openStream: (to, wanted) => Effect.flatMap(dial(to), (connection) => connection.openStream(wanted)),
    connections: (peer) =>
      Effect.sync(() => (peer === undefined ? table.all() : table.of(peer)).map((entry) => entry.connection)),
    disconnect: (peer) =>
      Effect.suspend(() =>
        Effect.forEach(table.of(peer), (entry) => entry.connection.close, { concurrency: "unbounded", discard: true })
      ),
    events: journal.events,
    forEachConnection: (task) => tasks.register(task, () => table.all()),
    counters: Effect.sync(journal.counters)
  })
})

/** The swarm of a node. */
export const layer = (
  options?: Options
): Layer.Layer<
  Swarm,
  PrivateNetwork.PrivateNetworkError,
  Actors | ConnectionSecurity | Identity | Net | PeerStore | Protocols | ResourceManager | StreamMuxer | Transport
> => Layer.effect(Swarm, make(options))
