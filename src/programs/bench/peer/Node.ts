/**
 * The node that is measured: TCP, Noise or TLS, Yamux and three protocols to
 * measure with. No identify, since the peer that it is first compared with has
 * none either.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as Actors from "../../../layers/actors/Actors.ts"
import * as NodeCrypto from "../../../layers/crypto/NodeCrypto.ts"
import * as Generated from "../../../layers/identity/Generated.ts"
import * as Yamux from "../../../layers/muxer/Yamux.ts"
import * as NodeNet from "../../../layers/net/NodeNet.ts"
import * as MemoryPeerStore from "../../../layers/peerstore/MemoryPeerStore.ts"
import * as ResourceManager from "../../../layers/resources/ResourceManager.ts"
import * as Noise from "../../../layers/security/Noise.ts"
import * as ProtocolRegistry from "../../../layers/swarm/Protocols.ts"
import * as SwarmLayer from "../../../layers/swarm/Swarm.ts"
import * as Tcp from "../../../layers/transport/Tcp.ts"
import type { ByteStream } from "../../../services/ByteStream.ts"
import type { ProtocolStream } from "../../../services/ProtocolStream.ts"
import * as Protocols from "../../../services/Protocols.ts"
import { type Connection, Swarm } from "../../../services/Swarm.ts"

/** A command did not come out as it must. */
export class PeerFailure extends Schema.TaggedError<PeerFailure>()("PeerFailure", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

export const echoProtocol = "/bench/echo/1.0.0"
export const sinkProtocol = "/bench/sink/1.0.0"
export const sourceProtocol = "/bench/source/1.0.0"

const unlimited: Protocols.HandlerOptions = { maxStreamsPerConnection: Number.MAX_SAFE_INTEGER }

/** Reads exactly `size` bytes. */
export const take = Effect.fnUntraced(function* (stream: ProtocolStream, size: number) {
  const first = yield* stream.read
  if (first !== null && first.length === size) return first
  const all = new Uint8Array(size)
  let length = 0
  for (let batch = first; batch !== null; batch = yield* stream.read) {
    all.set(batch.subarray(0, size - length), length)
    length += batch.length
    if (length >= size) return all
  }
  return yield* new PeerFailure({ detail: `the stream ended after ${length} of ${size} bytes` })
})

/** Writes `chunk` for as long as `more` says so; gives how many bytes. */
export const fill = Effect.fnUntraced(function* (stream: ByteStream, chunk: Uint8Array, more: () => boolean) {
  let sent = 0
  while (more()) {
    let taken = stream.tryWrite(chunk)
    while (taken < chunk.length) {
      yield* stream.writable
      taken += stream.tryWrite(chunk.subarray(taken))
    }
    sent += chunk.length
  }
  stream.flush()
  return sent
})

/** Counts what arrives until the end, or until `enough`, which is told the bytes of each batch. */
export const drain = Effect.fnUntraced(function* (stream: ByteStream, enough: (bytes: number) => boolean) {
  let received = 0
  for (;;) {
    const batch = stream.tryRead()
    if (batch === undefined) {
      yield* stream.readable
    } else if (batch === null) {
      return received
    } else {
      received += batch.length
      if (enough(batch.length)) return received
    }
  }
})

const never = () => false
const always = () => true

const echo = Effect.fnUntraced(function* (stream: ProtocolStream) {
  for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) yield* stream.write(batch)
})

const sink = Effect.fnUntraced(function* (stream: ProtocolStream) {
  const received = yield* drain(stream.bytes, never)
  const answer = new Uint8Array(8)
  new DataView(answer.buffer).setBigUint64(0, BigInt(received))
  yield* stream.write(answer)
})

/** Ends when the dialer resets the stream. */
const source = Effect.fnUntraced(function* (stream: ProtocolStream) {
  const wanted = yield* take(stream, 4)
  const size = new DataView(wanted.buffer, wanted.byteOffset).getUint32(0)
  yield* Effect.ignore(fill(stream.bytes, new Uint8Array(size), always))
})

const Handlers = Layer.mergeAll(
  Protocols.layerHandler(echoProtocol, echo, unlimited),
  Protocols.layerHandler(sinkProtocol, sink, unlimited),
  Protocols.layerHandler(sourceProtocol, source, unlimited)
)

/** What a node is made of, beside what all of them have. */
export interface Choice {
  readonly security: "noise" | "tls"
  /** `portable` computes in JavaScript and WebAssembly only. */
  readonly crypto: "node" | "portable"
}

const many = 1_000_000
const oneWay = { connections: many, connectionsInbound: many, connectionsOutbound: many }
const streams = { streams: many, streamsInbound: many, streamsOutbound: many }
const scope = { ...oneWay, ...streams, memory: 2 ** 40 }

/** The limits of a node are not what is measured. Those of places do not apply to loopback. */
export const limits: ResourceManager.LimitChanges = {
  system: scope,
  transient: scope,
  peer: scope,
  connection: { ...streams, memory: 2 ** 40 },
  protocol: streams,
  protocolOfPeer: streams,
  service: streams,
  serviceOfPeer: streams
}

/** Loaded when they are chosen only, so that a minimal node does not pay for them. */
const load = Effect.fnUntraced(function* ({ crypto, security }: Choice) {
  const Security = security === "tls" ? yield* Effect.promise(() => import("../../../layers/security/Tls.ts")) : Noise
  const Crypto =
    crypto === "portable" ? yield* Effect.promise(() => import("../../../layers/crypto/NobleCrypto.ts")) : NodeCrypto
  const Stack = Layer.mergeAll(
    Actors.layer,
    ProtocolRegistry.layer,
    MemoryPeerStore.layer(),
    ResourceManager.layer({ limits }),
    Tcp.layer,
    Security.layer,
    Yamux.layer()
  ).pipe(
    Layer.provideMerge(Generated.layer),
    Layer.provideMerge(Layer.mergeAll(NodeNet.layer, Crypto.layer, SecureRandom.layerWebCrypto))
  )
  return Handlers.pipe(Layer.provideMerge(SwarmLayer.layer()), Layer.provide(Stack))
})

/** Starts a node, with a key of its own, in the scope. */
export const start = Effect.fnUntraced(function* (choice: Choice) {
  const node = yield* load(choice)
  const context = yield* Layer.buildWithMemoMap(node, Layer.makeMemoMapUnsafe(), yield* Effect.scope)
  return Context.get(context, Swarm)
})

/** Listens on loopback; gives the address with the peer id. */
export const listen = Effect.fnUntraced(function* (swarm: Swarm["Service"]) {
  const [address] = yield* swarm.listen(yield* Effect.fromResult(Multiaddr.fromString("/ip4/127.0.0.1/tcp/0")))
  if (address === undefined) return yield* new PeerFailure({ detail: "no address is listened on" })
  return Multiaddr.withPeer(address, swarm.peerId).toString()
})

export const exchange = (stream: ProtocolStream, message: Uint8Array) =>
  Effect.andThen(stream.write(message), take(stream, message.length))

/** Opens a stream, sends that many bytes there and back, and closes it. */
export const echoOnce = (connection: Connection, size: number) =>
  Effect.scoped(Effect.flatMap(connection.openStream(echoProtocol), (stream) => exchange(stream, new Uint8Array(size))))
