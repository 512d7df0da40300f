/**
 * Identify 1.0 as a handler (says who this node is) and as a task of each
 * connection (asks who the other is). What is learnt of a peer lives as long as
 * the connection; its addresses go to the PeerStore.
 *
 * Specification: identify/README.md.
 */
import { Deferred, Duration, Effect, Layer, PubSub, Result, Stream } from "effect"
import * as Bytes from "../../data/Bytes.ts"
import * as Keys from "../../data/Keys.ts"
import * as LengthPrefix from "../../data/LengthPrefix.ts"
import * as IdentifyMessage from "../../data/messages/Identify.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import {
  Identify,
  IdentifyDisconnected,
  IdentifyError,
  type IdentifyErrorReason,
  IdentifyFailed,
  type IdentifyInfo,
  IdentifyMalformed,
  IdentifyTimeout,
  IdentifyUnavailable,
  protocol
} from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { Protocols, type ProtocolTaken } from "../../services/Protocols.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import { name, version } from "../../data/Version.ts"

export interface Options {
  /** How this node names itself. Default `effect-libp2p/<version>`. */
  readonly agentVersion?: string | undefined
  /** For an answer. Default 10 seconds. */
  readonly deadline?: Duration.Input | undefined
}

const protocolVersion = "ipfs/0.1.0"
/** Messages that one answer may be split over. */
const maxParts = 10

/** Multiaddrs that this node can read; others are of transports that it does not know. */
const readable = (addresses: ReadonlyArray<Uint8Array>): ReadonlyArray<Multiaddr.Multiaddr> =>
  addresses.flatMap((bytes) => {
    const address = Multiaddr.fromBytes(bytes)
    return Result.isSuccess(address) ? [address.success] : []
  })

/**
 * Those of `addresses` that mean the same at both ends of a connection that
 * leads to `remote`: loopback addresses only on this machine, private ones only
 * within a private network.
 */
const shared = (
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  remote: Multiaddr.Multiaddr
): ReadonlyArray<Multiaddr.Multiaddr> => {
  if (Multiaddr.isLoopback(remote)) return addresses
  const near = Multiaddr.isPrivate(remote)
  return addresses.filter((address) => !Multiaddr.isLoopback(address) && (near || !Multiaddr.isPrivate(address)))
}

/** Reads a message and holds it against the identity that the connection has proven. */
const interpret = (bytes: Uint8Array, connection: Connection): Result.Result<IdentifyInfo, IdentifyMalformed> => {
  const refuse = (detail: string) => Result.fail(new IdentifyMalformed({ detail }))
  const message = IdentifyMessage.decode(bytes)
  if (Result.isFailure(message)) return refuse(message.failure.message)
  const { publicKey, listenAddrs, observedAddr, protocols, agentVersion } = message.success
  if (publicKey === undefined) return refuse("it names no public key")
  const key = Keys.decodePublicKey(publicKey)
  if (Result.isFailure(key)) return refuse(key.failure.message)
  if (!PeerId.matchesPublicKey(connection.remotePeer, key.success)) {
    return refuse(`its public key is that of ${PeerId.fromPublicKey(key.success).toString()}`)
  }
  return Result.succeed({
    peer: connection.remotePeer,
    publicKey: key.success,
    protocolVersion: message.success.protocolVersion,
    agentVersion,
    listenAddresses: readable(listenAddrs),
    observedAddress: observedAddr === undefined ? undefined : readable([observedAddr])[0],
    protocols
  })
}

const make = Effect.fnUntraced(function* (options?: Options) {
  const identity = yield* Identity
  const peerStore = yield* PeerStore
  const protocols = yield* Protocols
  const swarm = yield* Swarm
  const deadlineMs = Duration.toMillis(options?.deadline ?? "10 seconds")
  const agentVersion = options?.agentVersion ?? `${name}/${version}`
  const publicKey = Keys.encodePublicKey(identity.publicKey)
  const events = yield* PubSub.sliding<{ readonly connection: Connection; readonly info: IdentifyInfo }>({
    capacity: 1024
  })
  /** What is known, or being asked, of each open connection. */
  const asked = new Map<number, Deferred.Deferred<IdentifyInfo, IdentifyError>>()

  yield* protocols.handle(protocol, (stream) =>
    Effect.flatMap(swarm.listenAddresses, (listening) =>
      stream.write(
        LengthPrefix.encode(
          IdentifyMessage.encode({
            publicKey,
            listenAddrs: shared(listening, stream.remoteAddress).map((address) => address.bytes),
            protocols: protocols.list(),
            observedAddr: stream.remoteAddress.bytes,
            protocolVersion,
            agentVersion
          })
        )
      )
    )
  )

  const failed = (connection: Connection, reason: IdentifyErrorReason) =>
    new IdentifyError({ peer: connection.remotePeer.toString(), reason })

  /** All messages until the peer closes, joined, as the specification allows. */
  const ask = (connection: Connection): Effect.Effect<IdentifyInfo, IdentifyErrorReason> =>
    Effect.gen(function* () {
      const stream = yield* Effect.mapError(
        connection.openStream(protocol),
        (cause) => new IdentifyUnavailable({ cause })
      )
      const messages = ProtocolStream.byteMessages(stream, { maxSize: IdentifyMessage.maxSize })
      const next = Effect.mapError(messages.read, (cause) => new IdentifyFailed({ cause }))
      const parts: Array<Uint8Array> = []
      let size = 0
      for (let part = yield* next; part !== null; part = yield* next) {
        parts.push(part)
        size += part.length
        if (size > IdentifyMessage.maxSize || parts.length > maxParts) {
          return yield* Effect.fail(
            new IdentifyMalformed({ detail: `it is over the limit of ${IdentifyMessage.maxSize} bytes` })
          )
        }
      }
      return yield* Effect.fromResult(interpret(Bytes.concat(parts), connection))
    }).pipe(
      Effect.scoped,
      Effect.timeoutOrElse({
        duration: deadlineMs,
        orElse: () => Effect.fail(new IdentifyTimeout({ afterMs: deadlineMs }))
      })
    )

  /** The task of one connection: its question is open until it is answered, and its answer known until it ends. */
  const identify = (connection: Connection) =>
    Effect.gen(function* () {
      const answer = question(connection)
      const result = yield* Effect.result(ask(connection))
      if (Result.isFailure(result)) {
        const error = failed(connection, result.failure)
        yield* Deferred.fail(answer, error)
        yield* Effect.logDebug(error.message)
      } else {
        yield* peerStore.addAddresses(
          connection.remotePeer,
          shared(result.success.listenAddresses, connection.remoteAddress),
          "claimed"
        )
        yield* Deferred.succeed(answer, result.success)
        yield* PubSub.publish(events, { connection, info: result.success })
      }
      return yield* Effect.never
    }).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          const answer = question(connection)
          asked.delete(connection.id)
          return Deferred.fail(answer, failed(connection, new IdentifyDisconnected({})))
        })
      )
    )

  const question = (connection: Connection) => {
    const known = asked.get(connection.id)
    if (known !== undefined) return known
    const fresh = Deferred.makeUnsafe<IdentifyInfo, IdentifyError>()
    asked.set(connection.id, fresh)
    return fresh
  }

  yield* swarm.forEachConnection(identify)

  return Identify.of({
    identified: (connection) =>
      Effect.suspend(() => {
        const known = asked.get(connection.id)
        if (known !== undefined) return Deferred.await(known)
        // Its task has not begun, or has ended with it.
        return Effect.flatMap(swarm.connections(connection.remotePeer), (open) =>
          open.includes(connection)
            ? Deferred.await(question(connection))
            : Effect.fail(failed(connection, new IdentifyDisconnected({})))
        )
      }),
    events: Stream.fromPubSub(events)
  })
})

export const layer = (
  options?: Options
): Layer.Layer<Identify, ProtocolTaken, Identity | PeerStore | Protocols | Swarm> =>
  Layer.effect(Identify, make(options))
