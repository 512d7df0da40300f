/**
 * The swarm.
 *
 * ```
 * node's scope
 *  └─ swarm (actor): alone changes the tables of connections and dials
 *      ├─ one fiber a dial, shared by all who ask for the peer
 *      └─ connections' scope, closed in parallel
 *          └─ one scope a connection: socket, muxer, connection (actor)
 * scope of each `listen`
 *  └─ listener (actor): accepts, and starts the upgrade of each connection in the connections' scope
 * ```
 *
 * The tables can be read from outside at any time; only the actor writes them.
 */
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Layer, PubSub, Scope, Stream } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import { type ActorRef, Actors, type Reply } from "../../services/Actors.ts"
import { ConnectionSecurity } from "../../services/ConnectionSecurity.ts"
import { Identity } from "../../services/Identity.ts"
import { Net } from "../../services/Net.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { Protocols } from "../../services/Protocols.ts"
import { StreamMuxer } from "../../services/StreamMuxer.ts"
import {
  AllFailed,
  type AttemptReason,
  type Connection,
  type ConnectionEnd,
  DialError,
  type DialErrorReason,
  DialSelf,
  type DialTarget,
  NoAddresses,
  Swarm,
  type SwarmCounters,
  type SwarmEvent,
  SwarmUnavailable,
  ConnectionLimit
} from "../../services/Swarm.ts"
import { Transport } from "../../services/Transport.ts"
import * as Connections from "./Connection.ts"
import * as Dial from "./Dial.ts"
import * as Listening from "./Listening.ts"
import * as Upgrade from "./Upgrade.ts"

export interface Options {
  /** For resolving a name; and for one address, from the first packet to a usable connection. Default 10 seconds. */
  readonly dialDeadline?: Duration.Input | undefined
  /** For securing and multiplexing an inbound connection. Default 10 seconds. */
  readonly upgradeDeadline?: Duration.Input | undefined
  /** For agreeing on the protocol of a stream. Default 10 seconds. */
  readonly negotiationDeadline?: Duration.Input | undefined
  /** Inbound connections that may be upgrading at once; further ones wait in the system's backlog. Default 256. */
  readonly maxPendingInbound?: number | undefined
  /** Open connections, of both directions; inbound ones beyond are closed. Default 4,096. */
  readonly maxConnections?: number | undefined
  /** Open connections with one peer; inbound ones beyond are closed. Default 16. */
  readonly maxConnectionsPerPeer?: number | undefined
}

/** For a whole dial: the addresses of a peer are bounded, and so is each, but a caller should not wait for all. */
const dialPatience = Duration.minutes(1)

type Message =
  | {
      readonly _tag: "Dial"
      readonly key: string
      readonly peer: PeerId.PeerId | undefined
      readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
      readonly reply: Reply<Connection, DialError>
    }
  | {
      readonly _tag: "DialDone"
      readonly key: string
      readonly dial: object
      readonly exit: Exit.Exit<Connection, DialError>
    }
  | { readonly _tag: "DialLeft"; readonly key: string; readonly reply: Reply<Connection, DialError> }
  | {
      readonly _tag: "Opened"
      readonly prepared: Connections.Prepared
      readonly reply: Reply<Connection, AttemptReason>
    }
  | { readonly _tag: "Ended"; readonly id: number; readonly end: ConnectionEnd }

/** What is known of an open connection besides itself. */
interface Entry {
  readonly connection: Connection
  readonly scope: Scope.Closeable
  /** False once one end has said goodbye: it is still there, but gives no streams. */
  readonly isOpen: () => boolean
}

/** Something that runs for each connection. */
interface Task {
  readonly run: (connection: Connection) => Effect.Effect<void>
  readonly fibers: Set<Fiber.Fiber<void>>
}

/** A dial under way and those who wait for it. */
interface Dialing {
  /** Grows with what later askers know. */
  readonly addresses: Array<Multiaddr.Multiaddr>
  readonly waiting: Array<Reply<Connection, DialError>>
  fiber: Fiber.Fiber<unknown> | undefined
}

const make = Effect.fnUntraced(function* (options?: Options) {
  const actors = yield* Actors
  const identity = yield* Identity
  const net = yield* Net
  const peerStore = yield* PeerStore
  const protocols = yield* Protocols
  const transport = yield* Transport
  const upgrade = Upgrade.make(yield* ConnectionSecurity, yield* StreamMuxer)
  const dialAddresses = Dial.make(net, transport, upgrade, {
    addressDeadline: Duration.fromInputUnsafe(options?.dialDeadline ?? "10 seconds")
  })
  const events = yield* PubSub.sliding<SwarmEvent>({ capacity: 1024 })
  const counters = {
    inboundOpened: 0,
    outboundOpened: 0,
    inboundFailed: 0,
    dialsFailed: 0,
    handlersFailed: 0,
    streamsRefused: 0
  } satisfies SwarmCounters

  const emit = (event: SwarmEvent): void => {
    if (event._tag === "HandlerFailed") counters.handlersFailed++
    else if (event._tag === "InboundFailed") counters.inboundFailed++
    PubSub.publishUnsafe(events, event)
  }

  // Written by the actor alone.
  const byId = new Map<number, Entry>()
  const byPeer = new Map<string, ReadonlyArray<Connection>>()
  /**
   * The newest connection with a peer that still gives streams. A peer that has
   * connected again may have lost an older one, which this end cannot know
   * before the keep-alive tells.
   */
  const usable = (peer: string): Connection | undefined =>
    byPeer.get(peer)?.findLast((connection) => byId.get(connection.id)?.isOpen() === true)
  const tasks = new Set<Task>()
  let nextId = 1
  /** Where connections live; made anew if the actor restarts. */
  let connectionsScope: Scope.Closeable = yield* Scope.make("parallel")

  const surroundings: Connections.Surroundings = {
    protocols,
    emit,
    refused: () => {
      counters.streamsRefused++
    },
    negotiationTimeoutMs: Duration.toMillis(options?.negotiationDeadline ?? "10 seconds")
  }

  /** In a fiber that ends with the connection, and with the registration. */
  const runTask = (task: Task, { connection, scope }: Entry) =>
    Effect.map(Effect.forkIn(Effect.ignoreCause(task.run(connection), { log: "Warn" }), scope), (fiber) => {
      task.fibers.add(fiber)
      fiber.addObserver(() => task.fibers.delete(fiber))
    })

  const forget = (id: number): Entry | undefined => {
    const entry = byId.get(id)
    if (entry === undefined) return undefined
    byId.delete(id)
    const peer = entry.connection.remotePeer.toString()
    const left = (byPeer.get(peer) ?? []).filter((connection) => connection.id !== id)
    if (left.length === 0) byPeer.delete(peer)
    else byPeer.set(peer, left)
    return entry
  }

  /** Limits of open connections; inbound ones are refused, outbound ones are this node's own wish. */
  const maxConnections = options?.maxConnections ?? 4096
  const maxConnectionsPerPeer = options?.maxConnectionsPerPeer ?? 16
  const overLimit = ({ direction, upgraded }: Connections.Prepared): ConnectionLimit | undefined => {
    if (direction === "outbound") return undefined
    const ofPeer = byPeer.get(upgraded.secured.remotePeer.toString())?.length ?? 0
    return ofPeer >= maxConnectionsPerPeer
      ? new ConnectionLimit({ scope: "connections of a peer", limit: maxConnectionsPerPeer, current: ofPeer })
      : byId.size >= maxConnections
        ? new ConnectionLimit({ scope: "connections", limit: maxConnections, current: byId.size })
        : undefined
  }

  const dialError = (peer: string, reason: DialErrorReason) => new DialError({ peer, reason, attempts: [] })

  const swarm: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope | Actors>({
    name: "swarm",
    mailbox: 1024,
    restart: { times: 3, within: "1 minute" },
    make: (self) =>
      Effect.gen(function* () {
        const runScope = yield* Effect.scope
        const dials = new Map<string, Dialing>()
        byId.clear()
        byPeer.clear()
        connectionsScope = yield* Scope.fork(runScope, "parallel")

        const opened = Effect.fnUntraced(function* (prepared: Connections.Prepared) {
          const id = nextId++
          const connection = yield* Connections.start(id, yield* Clock.currentTimeMillis, prepared, surroundings).pipe(
            Scope.provide(prepared.scope)
          )
          const entry: Entry = { connection, scope: prepared.scope, isOpen: prepared.upgraded.muxed.isOpen }
          const peer = connection.remotePeer.toString()
          byId.set(id, entry)
          byPeer.set(peer, [...(byPeer.get(peer) ?? []), connection])
          counters[connection.direction === "inbound" ? "inboundOpened" : "outboundOpened"]++
          yield* Effect.forkIn(
            Effect.flatMap(connection.awaitClosed, (end) => Effect.ignore(self.tell({ _tag: "Ended", id, end }))),
            runScope
          )
          emit({ _tag: "Connected", connection })
          yield* Effect.forEach(tasks, (task) => runTask(task, entry), { discard: true })
          return connection
        })

        /** Hands a dialled connection to the actor. */
        const handOver = (prepared: Connections.Prepared, scope: Scope.Closeable) =>
          Effect.gen(function* () {
            const remote = prepared.upgraded.secured.remotePeer
            if (PeerId.equals(remote, identity.peerId)) return yield* dialError(remote.toString(), new DialSelf({}))
            yield* peerStore.addAddresses(remote, [prepared.raw.remoteAddress], "proven")
            const asking = self.ask<Connection, AttemptReason>(
              (reply) => ({ _tag: "Opened", prepared: { ...prepared, scope }, reply }),
              dialPatience
            )
            return yield* Effect.mapError(asking, (cause) =>
              cause._tag === "ActorError"
                ? dialError(remote.toString(), new SwarmUnavailable({ cause }))
                : new DialError({
                    peer: remote.toString(),
                    reason: new AllFailed({}),
                    attempts: [{ address: prepared.raw.remoteAddress.toString(), reason: cause }]
                  })
            )
          })

        /** Runs outside the actor and reports back to it. What it opened is gone unless it succeeds. */
        const dial = (key: string, dialing: Dialing, peer: PeerId.PeerId | undefined) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.gen(function* () {
              const scope = yield* Scope.fork(connectionsScope)
              return yield* restore(dialAddresses(peer, dialing.addresses, scope)).pipe(
                Effect.flatMap((result) =>
                  result._tag === "Succeeded"
                    ? // Interruptible: an actor that is ending does not answer.
                      restore(handOver(result.prepared, scope))
                    : Effect.fail(
                        new DialError({
                          peer: peer?.toString() ?? "",
                          reason: new AllFailed({}),
                          attempts: result.attempts
                        })
                      )
                ),
                Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)))
              )
            })
          ).pipe(Effect.onExit((exit) => Effect.ignore(self.tell({ _tag: "DialDone", key, dial: dialing, exit }))))

        const receive = (message: Message): Effect.Effect<void, never, Actors | Scope.Scope> => {
          switch (message._tag) {
            case "Dial": {
              const open = message.peer === undefined ? undefined : usable(message.peer.toString())
              if (open !== undefined) return Effect.asVoid(Deferred.succeed(message.reply, open))
              const under = dials.get(message.key)
              if (under !== undefined) {
                under.waiting.push(message.reply)
                under.addresses.push(...message.addresses)
                return Effect.void
              }
              const dialing: Dialing = { addresses: [...message.addresses], waiting: [message.reply], fiber: undefined }
              dials.set(message.key, dialing)
              return Effect.map(
                Effect.forkIn(Effect.exit(dial(message.key, dialing, message.peer)), runScope),
                (fiber) => {
                  dialing.fiber = fiber
                }
              )
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
            case "DialDone": {
              const dialing = dials.get(message.key)
              if (dialing === undefined || dialing !== message.dial) return Effect.void
              dials.delete(message.key)
              if (Exit.isFailure(message.exit)) {
                counters.dialsFailed++
                const error = Exit.findErrorOption(message.exit)
                if (error._tag === "Some") emit({ _tag: "DialFailed", error: error.value })
              }
              return Effect.forEach(dialing.waiting, (reply) => Deferred.done(reply, message.exit), { discard: true })
            }
            case "Opened": {
              const refusal = overLimit(message.prepared)
              if (refusal !== undefined) return Effect.asVoid(Deferred.fail(message.reply, refusal))
              return Effect.flatMap(opened(message.prepared), (connection) =>
                Effect.asVoid(Deferred.succeed(message.reply, connection))
              )
            }
            case "Ended": {
              const entry = forget(message.id)
              if (entry === undefined) return Effect.void
              emit({ _tag: "Disconnected", connection: entry.connection, end: message.end })
              // Closing may take as long as its grace; the swarm does not wait for it.
              return Effect.asVoid(Effect.forkIn(Scope.close(entry.scope, Exit.void), runScope))
            }
          }
        }

        const context = yield* Effect.context<Actors | Scope.Scope>()
        return {
          receive: (message: Message) => Effect.provideContext(receive(message), context),
          detail: () => `${byId.size} connections with ${byPeer.size} peers, ${dials.size} dials`
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

  const dial = (to: DialTarget): Effect.Effect<Connection, DialError> =>
    Effect.gen(function* () {
      const { peer, addresses: given } = target(to)
      if (peer !== undefined) {
        if (PeerId.equals(peer, identity.peerId)) return yield* dialError(peer.toString(), new DialSelf({}))
        const open = usable(peer.toString())
        if (open !== undefined) return open
      }
      const known = peer === undefined ? [] : yield* peerStore.addresses(peer)
      const addresses = [...given, ...known]
      if (addresses.length === 0) return yield* dialError(peer?.toString() ?? "", new NoAddresses({}))
      const key = peer?.toString() ?? addresses.join(",")
      let asked: Reply<Connection, DialError> | undefined
      return yield* swarm
        .ask<Connection, DialError>((reply) => {
          asked = reply
          return { _tag: "Dial", key, peer, addresses, reply }
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
    maxPending: options?.maxPendingInbound ?? 256,
    connectionsScope: () => connectionsScope,
    emit,
    open: (prepared) =>
      Effect.catchTag(
        swarm.ask<Connection, AttemptReason>((reply) => ({ _tag: "Opened", prepared, reply }), dialPatience),
        "ActorError",
        (cause) => Effect.fail(new SwarmUnavailable({ cause }))
      )
  })

  return Swarm.of({
    peerId: identity.peerId,
    listen,
    listenAddresses,
    dial,
    openStream: (to, wanted) => Effect.flatMap(dial(to), (connection) => connection.openStream(wanted)),
    connections: (peer) =>
      Effect.sync(() =>
        peer === undefined
          ? Array.from(byId.values(), (entry) => entry.connection)
          : (byPeer.get(peer.toString()) ?? [])
      ),
    disconnect: (peer) =>
      Effect.suspend(() =>
        Effect.forEach(byPeer.get(peer.toString()) ?? [], (connection) => connection.close, {
          concurrency: "unbounded",
          discard: true
        })
      ),
    events: Stream.fromPubSub(events),
    forEachConnection: Effect.fnUntraced(function* <R>(
      task: (connection: Connection) => Effect.Effect<void, never, R>
    ) {
      const context = yield* Effect.context<R>()
      const registered: Task = {
        run: (connection) => Effect.provideContext(task(connection), context),
        fibers: new Set()
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => tasks.add(registered)),
        () =>
          Effect.suspend(() => {
            tasks.delete(registered)
            return Fiber.interruptAll(registered.fibers)
          })
      )
      yield* Effect.forEach([...byId.values()], (entry) => runTask(registered, entry), { discard: true })
    }),
    counters: Effect.sync(() => ({ ...counters }))
  })
})

/** The swarm of a node. */
export const layer = (
  options?: Options
): Layer.Layer<
  Swarm,
  never,
  Actors | ConnectionSecurity | Identity | Net | PeerStore | Protocols | StreamMuxer | Transport
> => Layer.effect(Swarm, make(options))
