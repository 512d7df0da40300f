/**
 * The node that is measured: TCP, Noise, Yamux and three protocols to measure
 * with. No identify, since the peers that it is compared with have none either.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as Actors from "../../../layers/actors/Actors.ts"
import * as NodeCrypto from "../../../layers/crypto/NodeCrypto.ts"
import * as Generated from "../../../layers/identity/Generated.ts"
import * as Yamux from "../../../layers/muxer/Yamux.ts"
import * as NodeNet from "../../../layers/net/NodeNet.ts"
import * as MemoryPeerStore from "../../../layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../../layers/security/Noise.ts"
import * as ProtocolRegistry from "../../../layers/swarm/Protocols.ts"
import * as ResourceManager from "../../../layers/resources/ResourceManager.ts"
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

/** Counts what arrives until the end, or until `enough`. */
export const drain = Effect.fnUntraced(function* (stream: ByteStream, enough: () => boolean) {
  let received = 0
  for (;;) {
    const batch = stream.tryRead()
    if (batch === undefined) {
      yield* stream.readable
    } else if (batch === null) {
      return received
    } else {
      received += batch.length
      if (enough()) return received
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

const Stack = Layer.mergeAll(
  Actors.layer,
  ProtocolRegistry.layer,
  MemoryPeerStore.layer(),
  ResourceManager.layer(),
  Tcp.layer,
  Noise.layer,
  Yamux.layer()
).pipe(
  Layer.provideMerge(Generated.layer),
  Layer.provideMerge(Layer.mergeAll(NodeNet.layer, NodeCrypto.layer, SecureRandom.layerWebCrypto))
)

const Node = Handlers.pipe(Layer.provideMerge(SwarmLayer.layer()), Layer.provide(Stack))

/** Starts a node, with a key of its own, in the scope. */
export const start = Effect.gen(function* () {
  const context = yield* Layer.buildWithMemoMap(Node, Layer.makeMemoMapUnsafe(), yield* Effect.scope)
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
