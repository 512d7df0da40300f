/**
 * Identify 1.0 and its push, as handlers (say who this node is, hear what has
 * changed), as a task of each connection (asks who the other is), and as what
 * tells connected peers of changes here.
 *
 * ```
 * scope of the layer
 *  ├─ handlers of the two protocols
 *  ├─ a fiber that tells of changes, and two that listen for them
 *  ├─ a fiber that lets old observations expire, one that has what is stored of connected peers last
 *  └─ for each connection, until it is identified and that is stored: the fiber that asks
 * ```
 *
 * Specification: identify/README.md.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Identify as Message } from "../../data/messages/Identify.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { name, version } from "../../data/Version.ts"
import { Crypto } from "../../services/Crypto.ts"
import {
  Identify,
  type IdentifyErrorReason,
  type IdentifyEvent,
  type IdentifyInfo,
  IdentifyMalformed,
  protocol,
  pushProtocol
} from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import { Meter } from "../../services/Meter.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import { Protocols, type ProtocolTaken } from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import * as Tracing from "../../services/Tracing.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Announcement from "./Announcement.ts"
import * as Exchange from "./Exchange.ts"
import * as Interpret from "./Interpret.ts"
import { failed, Table } from "./Known.ts"
import { learn, renew } from "./Learn.ts"
import { ObservedAddresses, refusal } from "./ObservedAddresses.ts"
import * as Push from "./Push.ts"

export interface Options {
  /** How this node names itself. Default `effect-libp2p/<version>`. */
  readonly agentVersion?: string | undefined
  /** For an answer, and for a push in either direction. Default 10 seconds. */
  readonly deadline?: Duration.Input | undefined
  /** How long to wait for further changes before peers are told. Default 250 milliseconds. */
  readonly pushDelay?: Duration.Input | undefined
  /** Peers in different networks that must see an address of this node before it is believed. Default 4. */
  readonly minObservers?: number | undefined
  /** How long what a peer saw is believed after it has disconnected. Default 30 minutes. */
  readonly observationTimeToLive?: Duration.Input | undefined
}

/** For each of the two protocols; nobody needs more than one at a time. */
const maxStreamsPerConnection = 8
const handlerOptions = { maxStreamsPerConnection, service: "identify" }

/** How often what is stored of connected peers is stored anew: twice in the time that hearsay lasts. */
const renewEvery = "30 minutes"
/** Connections whose writes may wait for the disk at once then. */
const renewConcurrency = 64

const make = Effect.fnUntraced(function* (options?: Options) {
  const crypto = yield* Crypto
  const identity = yield* Identity
  const meter = yield* Meter
  const trace = yield* Tracing.make
  const peerStore = yield* PeerStore
  const use = tolerant("identify")
  const protocols = yield* Protocols
  const swarm = yield* Swarm
  const deadlineMs = Duration.toMillis(options?.deadline ?? "10 seconds")
  const events = yield* PubSub.sliding<IdentifyEvent>({ capacity: 1024 })
  const table = new Table()
  /** Filled while there are observations. */
  const holding = yield* Queue.sliding<void>(1)
  /** Filled when a peer is identified. */
  const meeting = yield* Queue.sliding<void>(1)
  const observed = new ObservedAddresses({
    minObservers: options?.minObservers ?? 4,
    timeToLiveMs: Duration.toMillis(options?.observationTimeToLive ?? "30 minutes")
  })

  // ---- what this node says

  const announced = Effect.map(swarm.listenAddresses, (listening) => [
    ...listening,
    ...observed.confirmed().filter((address) => !listening.some((one) => Multiaddr.equals(one, address)))
  ])
  const facts = Effect.map(announced, (addresses) => ({ addresses, protocols: protocols.list() }))
  const messages = Announcement.make(identity, options?.agentVersion ?? `${name}/${version}`)

  // ---- what peers say

  /** Counts what a message says of this node's address. */
  const observe = (connection: Connection, told: Interpret.Told) =>
    Effect.gen(function* () {
      if (told.observedAddress === undefined || connection.kind._tag === "Relayed") return
      const observation = {
        observer: connection.remotePeer.toString(),
        connection: connection.id,
        remote: connection.remoteAddress,
        local: connection.localAddress,
        observed: told.observedAddress
      }
      if (refusal(observation) !== undefined) return
      if (observed.observe(observation, yield* swarm.listenAddresses, yield* monotonicMs)) announcer.look()
      if (observed.size > 0) Queue.offerUnsafe(holding, undefined)
    })

  /** Gives the fiber that waits until it is stored; what the store knows, it knows by now. */
  const accept = (connection: Connection, told: Interpret.Told, info: IdentifyInfo, pushed: boolean) =>
    Effect.gen(function* () {
      const known = table.of(connection)
      const storing = yield* Effect.forkChild(learn(peerStore, use, connection, told, info), { startImmediately: true })
      yield* observe(connection, told)
      known.info = info
      Queue.offerUnsafe(meeting, undefined)
      yield* Deferred.succeed(known.answer, info)
      yield* PubSub.publish(events, { connection, info, pushed })
      return storing
    })

  /** What the peer pushed. */
  const change = (connection: Connection, message: Message): Effect.Effect<void, IdentifyErrorReason> =>
    Effect.gen(function* () {
      const told = yield* Effect.fromResult(Interpret.interpret(message, connection.remotePeer, crypto))
      const info = Interpret.update(connection.remotePeer, table.of(connection).info, told)
      if (info === undefined) return yield* Effect.fail(new IdentifyMalformed({ detail: "it names no public key" }))
      yield* Fiber.await(yield* accept(connection, told, info, true))
    })

  const question = (connection: Connection) =>
    Effect.gen(function* () {
      const message = yield* Exchange.ask(connection, deadlineMs)
      const told = yield* Effect.fromResult(Interpret.interpret(message, connection.remotePeer, crypto))
      return { told, info: yield* Effect.fromResult(Interpret.whole(connection.remotePeer, told)) }
    })

  /** The task of one connection. */
  const identify = (connection: Connection) =>
    Effect.gen(function* () {
      const known = table.of(connection)
      const began = yield* monotonicMs
      const attributes = () => ({ "libp2p.peer": connection.remotePeer.toString() })
      const result = yield* Effect.result(trace("libp2p.identify", attributes, question(connection), null))
      const failure = Result.isFailure(result) ? result.failure._tag : undefined
      meter.identified(failure, (yield* monotonicMs) - began)
      if (Result.isFailure(result)) {
        const error = failed(connection, result.failure)
        yield* Deferred.fail(known.answer, error)
        return yield* Effect.logDebug(error.message)
      }
      const { info, told } = result.success
      const storing = yield* accept(connection, told, info, false)
      yield* announcer.settled(connection)
      yield* Fiber.await(storing)
    })

  // ---- both at work

  /** A stream that goes wrong is reset, and is not worth a warning: peers do as they please. */
  const quietly = (stream: ProtocolStream, handled: Effect.Effect<void, IdentifyErrorReason>) =>
    handled.pipe(
      Effect.catch((reason) => {
        const { message } = failed(stream, reason)
        return Effect.andThen(stream.reset(message), Effect.logDebug(`${stream.protocol}: ${message}`))
      })
    )

  const announcer = yield* Push.announcer({
    protocols,
    swarm,
    table,
    facts,
    messages,
    debounceMs: Duration.toMillis(options?.pushDelay ?? 250),
    deadlineMs
  })
  const connectionOf = ({ connectionId, remotePeer }: ProtocolStream) =>
    Effect.map(swarm.connections(remotePeer), (all) => all.find(({ id }) => id === connectionId))
  const answer = (stream: ProtocolStream) =>
    Effect.gen(function* () {
      const connection = yield* connectionOf(stream)
      const { number, parts } = yield* announcer.compose(stream.remoteAddress)
      if (connection !== undefined) table.of(connection).told = number
      yield* Exchange.answer(stream, parts, deadlineMs)
    })
  yield* protocols.handle(protocol, (stream) => quietly(stream, answer(stream)), handlerOptions)
  const receive = Push.receive({ connectionOf, table, deadlineMs, apply: change })
  yield* protocols.handle(pushProtocol, (stream) => quietly(stream, receive(stream)), handlerOptions)
  yield* swarm.forEachConnection(identify)

  /** Once woken, runs `work` after each such time, for as long as it says that there is more. */
  const repeatedly = (wake: Queue.Queue<void>, every: Duration.Input, work: Effect.Effect<boolean>) =>
    Queue.take(wake).pipe(
      Effect.andThen(Effect.sleep(every)),
      Effect.andThen(work),
      Effect.map((more) => more && Queue.offerUnsafe(wake, undefined)),
      Effect.forever,
      Effect.forkScoped
    )

  const letExpire = Effect.gen(function* () {
    const open = new Set((yield* swarm.connections()).map(({ id }) => id))
    observed.refresh(yield* monotonicMs, (id) => open.has(id), yield* swarm.listenAddresses)
    announcer.look()
    return observed.size > 0
  })
  yield* repeatedly(holding, "1 minute", letExpire)

  const renewAll = Effect.gen(function* () {
    const open = yield* swarm.connections()
    const renewOne = (connection: Connection) => {
      const { info } = table.of(connection)
      return info === undefined ? Effect.void : renew(peerStore, use, connection, info)
    }
    yield* Effect.forEach(open, renewOne, { concurrency: renewConcurrency, discard: true })
    return open.length > 0
  })
  yield* repeatedly(meeting, renewEvery, renewAll)

  return Identify.of({
    identified: table.identified,
    events: Stream.fromPubSub(events),
    observed: Effect.sync(() => observed.list()),
    announced,
    push: announcer.tellAll
  })
})

/** Identify, its push, and the observed addresses of a node. */
export const layer = (
  options?: Options
): Layer.Layer<Identify, ProtocolTaken, Crypto | Identity | PeerStore | Protocols | Swarm> =>
  Layer.effect(Identify, make(options))
