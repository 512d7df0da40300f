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
import { Clock, Deferred, Duration, Effect, Exit, type Fiber, Layer, PubSub, Scope, Semaphore, Stream } from "effect"
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
  ListenError,
  NoAddresses,
  NoTransport,
  Swarm,
  type SwarmCounters,
  type SwarmEvent,
  SwarmUnavailable,
  TransportFailed
} from "../../services/Swarm.ts"
import { Transport, type TransportListener } from "../../services/Transport.ts"
import * as Connections from "./Connection.ts"
import * as Dial from "./Dial.ts"
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
  | { readonly _tag: "DialDone"; readonly key: string; readonly dial: object; readonly exit: Exit.Exit<Connection, DialError> }
  | { readonly _tag: "DialLeft"; readonly key: string; readonly reply: Reply<Connection, DialError> }
  | {
    readonly _tag: "Opened"
    readonly prepared: Connections.Prepared
    readonly reply: Reply<Connection>
  }
  | { readonly _tag: "Ended"; readonly id: number; readonly end: ConnectionEnd }

/** What is known of an open connection besides itself. */
interface Entry {
  readonly connection: Connection
  readonly scope: Scope.Closeable
  /** False once one end has said goodbye: it is still there, but gives no streams. */
  readonly isOpen: () => boolean
}

/** A dial under way and those who wait for it. */
interface Dialing {
  readonly waiting: Array<Reply<Connection, DialError>>
  fiber: Fiber.Fiber<unknown> | undefined
}

const make = Effect.fnUntraced(function*(options?: Options) {
  const actors = yield* Actors
  const identity = yield* Identity
  const net = yield* Net
  const peerStore = yield* PeerStore
  const protocols = yield* Protocols
  const transport = yield* Transport
  const upgrade = Upgrade.make(yield* ConnectionSecurity, yield* StreamMuxer)
  const upgradeDeadline = Duration.fromInputUnsafe(options?.upgradeDeadline ?? "10 seconds")
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
    PubSub.publishUnsafe(events, event)
  }

  // Written by the actor alone.
  const byId = new Map<number, Entry>()
  const byPeer = new Map<string, ReadonlyArray<Connection>>()
  /** The oldest connection with a peer that still gives streams. */
  const usable = (peer: string): Connection | undefined =>
    byPeer.get(peer)?.find((connection) => byId.get(connection.id)?.isOpen() === true)
  const listening = new Set<TransportListener>()
  const tasks = new Set<(connection: Connection) => Effect.Effect<void>>()
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

  const runTask = (task: (connection: Connection) => Effect.Effect<void>, { connection, scope }: Entry) =>
    Effect.asVoid(Effect.forkIn(Effect.ignoreCause(task(connection), { log: "Warn" }), scope))

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

  const dialError = (peer: string, reason: DialErrorReason) => new DialError({ peer, reason, attempts: [] })

  const swarm: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope | Actors>({
    name: "swarm",
    mailbox: 1024,
    restart: { times: 3, within: "1 minute" },
    make: (self) =>
      Effect.gen(function*() {
        const runScope = yield* Effect.scope
        const dials = new Map<string, Dialing>()
        byId.clear()
        byPeer.clear()
        connectionsScope = yield* Scope.fork(runScope, "parallel")

        const opened = Effect.fnUntraced(function*(prepared: Connections.Prepared) {
          const id = nextId++
          const connection = yield* Connections.start(id, yield* Clock.currentTimeMillis, prepared, surroundings).pipe(
            Scope.provide(prepared.scope)
          )
          const entry: Entry = { connection, scope: prepared.scope, isOpen: prepared.upgraded.muxed.isOpen }
          const peer = connection.remotePeer.toString()
          byId.set(id, entry)
          byPeer.set(peer, [...byPeer.get(peer) ?? [], connection])
          counters[connection.direction === "inbound" ? "inboundOpened" : "outboundOpened"]++
          yield* Effect.forkIn(
            Effect.flatMap(connection.awaitClosed, (end) => Effect.ignore(self.tell({ _tag: "Ended", id, end }))),
            runScope
          )
          emit({ _tag: "Connected", connection })
          yield* Effect.forEach(tasks, (task) => runTask(task, entry), { discard: true })
          return connection
        })

        /** Hands a dialled connection to the actor; not interrupted, so that it has an owner at any time. */
        const handOver = (prepared: Connections.Prepared, scope: Scope.Closeable) =>
          Effect.gen(function*() {
            const remote = prepared.upgraded.secured.remotePeer
            if (PeerId.equals(remote, identity.peerId)) return yield* dialError(remote.toString(), new DialSelf({}))
            yield* peerStore.addAddresses(remote, [prepared.raw.remoteAddress])
            return yield* Effect.mapError(
              self.ask<Connection>((reply) => ({ _tag: "Opened", prepared: { ...prepared, scope }, reply }), dialPatience),
              (cause) => dialError(remote.toString(), new SwarmUnavailable({ cause }))
            )
          })

        /** Runs outside the actor and reports back to it. What it opened is gone unless it succeeds. */
        const dial = (
          key: string,
          dialing: Dialing,
          peer: PeerId.PeerId | undefined,
          addresses: ReadonlyArray<Multiaddr.Multiaddr>
        ) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.gen(function*() {
              const scope = yield* Scope.fork(connectionsScope)
              return yield* restore(dialAddresses(peer, addresses, scope)).pipe(
                Effect.flatMap((result) =>
                  result._tag === "Succeeded"
                    ? handOver(result.prepared, scope)
                    : Effect.fail(
                      new DialError({ peer: peer?.toString() ?? "", reason: new AllFailed({}), attempts: result.attempts })
                    )
                ),
                Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
              )
            })
          ).pipe(
            Effect.onExit((exit) => Effect.ignore(self.tell({ _tag: "DialDone", key, dial: dialing, exit })))
          )

        const receive = (message: Message): Effect.Effect<void, never, Actors | Scope.Scope> => {
          switch (message._tag) {
            case "Dial": {
              const open = message.peer === undefined ? undefined : usable(message.peer.toString())
              if (open !== undefined) return Effect.asVoid(Deferred.succeed(message.reply, open))
              const under = dials.get(message.key)
              if (under !== undefined) {
                under.waiting.push(message.reply)
                return Effect.void
              }
              const dialing: Dialing = { waiting: [message.reply], fiber: undefined }
              dials.set(message.key, dialing)
              return Effect.map(
                Effect.forkIn(Effect.exit(dial(message.key, dialing, message.peer, message.addresses)), runScope),
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
            case "Opened":
              return Effect.flatMap(opened(message.prepared), (connection) =>
                Effect.asVoid(Deferred.succeed(message.reply, connection)))
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

  const target = (to: DialTarget): { peer: PeerId.PeerId | undefined; addresses: ReadonlyArray<Multiaddr.Multiaddr> } => {
    if (PeerId.isPeerId(to)) return { peer: to, addresses: [] }
    if (Multiaddr.isMultiaddr(to)) return { peer: Multiaddr.peerId(to), addresses: [to] }
    return to
  }

  const dial = (to: DialTarget): Effect.Effect<Connection, DialError> =>
    Effect.gen(function*() {
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
      return yield* swarm.ask<Connection, DialError>(
        (reply) => {
          asked = reply
          return { _tag: "Dial", key, peer, addresses, reply }
        },
        dialPatience
      ).pipe(
        // Interrupted or out of patience: without anybody else who waits, the dial is given up.
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit) && asked !== undefined) swarm.tellUnsafe({ _tag: "DialLeft", key, reply: asked })
          })),
        Effect.catchTag("ActorError", (cause) =>
          Effect.fail(dialError(peer?.toString() ?? "", new SwarmUnavailable({ cause }))))
      )
    })

  // ---- listening

  const pendingInbound = yield* Semaphore.make(options?.maxPendingInbound ?? 256)

  /** Upgrades an accepted connection and hands it to the actor; closes it if either fails. */
  const admit = (prepare: Effect.Effect<Connections.Prepared, AttemptReason>, scope: Scope.Closeable, address: Multiaddr.Multiaddr) =>
    prepare.pipe(
      Effect.tapError((reason) =>
        Effect.sync(() => {
          counters.inboundFailed++
          emit({ _tag: "InboundFailed", remoteAddress: address, reason })
        })
      ),
      Effect.flatMap((prepared) =>
        swarm.ask<Connection>((reply) => ({ _tag: "Opened", prepared, reply }), dialPatience)
      ),
      Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)),
      Effect.ignoreCause
    )

  const acceptOne = (listener: TransportListener) =>
    Effect.gen(function*() {
      yield* Semaphore.take(pendingInbound, 1)
      const parent = connectionsScope
      const scope = yield* Scope.fork(parent)
      const raw = yield* Scope.provide(listener.accept, scope).pipe(
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Effect.andThen(Scope.close(scope, exit), Semaphore.release(pendingInbound, 1)))
      )
      const prepare = upgrade(raw, { role: "listener", expectedPeer: undefined, deadline: upgradeDeadline }).pipe(
        Scope.provide(scope),
        Effect.map((upgraded): Connections.Prepared => ({ scope, raw, upgraded, direction: "inbound" }))
      )
      yield* Effect.forkIn(
        Effect.ensuring(admit(prepare, scope, raw.remoteAddress), Semaphore.release(pendingInbound, 1)),
        parent,
        { startImmediately: true }
      )
    })

  const listen = Effect.fnUntraced(function*(address: Multiaddr.Multiaddr) {
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
    yield* actors.spawn<never, never, Scope.Scope>({
      name: `listener ${addresses[0]?.toString() ?? address.toString()}`,
      mailbox: 1,
      restart: "stop",
      make: () =>
        Effect.gen(function*() {
          yield* Effect.forkScoped(
            Effect.forever(Effect.tap(acceptOne(listener), () => Effect.sync(() => accepted++))).pipe(
              Effect.catch((error) => Effect.logError(`no more connections are accepted: ${error.message}`))
            )
          )
          return { receive: () => Effect.void, detail: () => `${accepted} accepted` }
        })
    })
    emit({ _tag: "Listening", addresses })
    return addresses
  })

  return Swarm.of({
    peerId: identity.peerId,
    listen,
    listenAddresses: Effect.suspend(() =>
      Effect.map(
        Effect.forEach(listening, (listener) => listener.addresses),
        (lists) => lists.flat()
      )
    ),
    dial,
    openStream: (to, wanted) => Effect.flatMap(dial(to), (connection) => connection.openStream(wanted)),
    connections: (peer) =>
      Effect.sync(() =>
        peer === undefined ? Array.from(byId.values(), (entry) => entry.connection) : byPeer.get(peer.toString()) ?? []
      ),
    disconnect: (peer) =>
      Effect.suspend(() =>
        Effect.forEach(byPeer.get(peer.toString()) ?? [], (connection) => connection.close, {
          concurrency: "unbounded",
          discard: true
        })
      ),
    events: Stream.fromPubSub(events),
    forEachConnection: Effect.fnUntraced(function*<R>(task: (connection: Connection) => Effect.Effect<void, never, R>) {
      const context = yield* Effect.context<R>()
      const provided = (connection: Connection) => Effect.provideContext(task(connection), context)
      yield* Effect.acquireRelease(
        Effect.sync(() => tasks.add(provided)),
        () => Effect.sync(() => tasks.delete(provided))
      )
      yield* Effect.forEach([...byId.values()], (entry) => runTask(provided, entry), { discard: true })
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
