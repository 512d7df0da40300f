/** Peers that do not keep the rules, on real sockets, and what a node is watched with while they are at work. */
import { assert } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Metric, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import * as net from "node:net"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as Actors from "../../src/layers/actors/Actors.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../src/layers/identity/FromSeed.ts"
import { protocol as yamux } from "../../src/layers/muxer/yamux/Session.ts"
import * as Frame from "../../src/layers/muxer/yamux/Frame.ts"
import * as NodeNet from "../../src/layers/net/NodeNet.ts"
import * as MemoryPeerStore from "../../src/layers/peerstore/MemoryPeerStore.ts"
import * as ResourceManager from "../../src/layers/resources/ResourceManager.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as ProtocolsLayer from "../../src/layers/swarm/Protocols.ts"
import * as SwarmLayer from "../../src/layers/swarm/Swarm.ts"
import { answer, propose } from "../../src/layers/swarm/negotiation/NegotiatedStream.ts"
import * as ByteStream from "../../src/services/ByteStream.ts"
import type { SecuredConnection } from "../../src/services/ConnectionSecurity.ts"
import { protocol as identify } from "../../src/services/Identify.ts"
import { Identity } from "../../src/services/Identity.ts"
import { Net, type Socket } from "../../src/services/Net.ts"
import { Protocols } from "../../src/services/Protocols.ts"
import type { ProtocolStream } from "../../src/services/ProtocolStream.ts"
import { type AttemptReason, Swarm, type SwarmEvent } from "../../src/services/Swarm.ts"
import { FiberLedger } from "./leaks.ts"
import { type NodeOptions, silent, startNode, type TestNode } from "./nodes.ts"

export const loopback = ["/ip4/127.0.0.1/tcp/0"]

/** A node on real sockets that listens on the loopback. */
export const realNode = (options: Omit<NodeOptions, "net">) =>
  startNode({ listen: loopback, ...options, net: NodeNet.layer })

/** Runs a test of nodes; afterwards no fiber of them may be alive. */
export const runNodes = <A, E>(
  test: Effect.Effect<A, E, Scope.Scope> | ((ledger: FiberLedger) => Effect.Effect<A, E, Scope.Scope>)
) =>
  Effect.gen(function* () {
    const ledger = new FiberLedger()
    const result = yield* (Effect.isEffect(test) ? test : test(ledger)).pipe(
      Effect.scoped,
      Effect.provide(silent),
      Effect.provideService(Metric.FiberRuntimeMetrics, ledger)
    )
    yield* eventually(
      () => ledger.alive === 0,
      () => `${ledger.alive} fibers are left`
    )
    return result
  })

/** Waits until `condition` holds, at most `patienceMs`. */
export const eventually = (
  condition: (() => boolean) | Effect.Effect<boolean>,
  otherwise: () => string,
  patienceMs = 5000
) =>
  Effect.suspend(() => {
    const until = Date.now() + patienceMs
    const again: Effect.Effect<void> = Effect.gen(function* () {
      if (Effect.isEffect(condition) ? yield* condition : condition()) return
      if (Date.now() > until) return yield* Effect.die(new Error(otherwise()))
      yield* Effect.sleep(5)
      return yield* again
    })
    return again
  })

/** Bytes that look random and repeat from a seed. */
export const noise = (length: number, seed: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let state = (seed * 2_654_435_761 + 1) >>> 0
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/** The endpoint that an address leads to. */
export const endpointOf = (address: Multiaddr.Multiaddr): { readonly host: string; readonly port: number } => {
  const endpoint = Multiaddr.toEndpoint(address)
  if (endpoint === undefined) throw new Error(`${address.toString()} has no endpoint`)
  return { host: endpoint.host, port: endpoint.port }
}

/** A plain TCP client; it is destroyed with the scope. */
export const rawConnect = (address: Multiaddr.Multiaddr) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket, Error>((resume) => {
      const socket = net.connect({ ...endpointOf(address), allowHalfOpen: true }, () => resume(Effect.succeed(socket)))
      socket.on("error", (error) => resume(Effect.fail(error)))
      socket.resume()
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Waits until the other side has ended or reset the connection. */
export const awaitGone = (socket: net.Socket) =>
  eventually(
    () => socket.readableEnded || socket.destroyed,
    () => "the node keeps the connection"
  )

/** What a dialer of Noise sends before it needs an answer. */
export const proposeNoise = Buffer.concat([
  Buffer.from([19]),
  Buffer.from("/multistream/1.0.0\n"),
  Buffer.from([7]),
  Buffer.from("/noise\n")
])

/** A Noise message with its length. */
export const noiseFrame = (message: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([message.length >>> 8, message.length & 0xff]), message])

/** A peer with our Noise and a Yamux made by hand. */
export interface Rogue {
  readonly raw: Socket
  readonly secured: SecuredConnection
  /** Sends one Yamux frame, or what looks like one. */
  readonly frame: (
    type: number,
    flags: number,
    id: number,
    length: number,
    payload?: Uint8Array
  ) => Effect.Effect<void, ByteStream.StreamError>
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, ByteStream.StreamError>
  /** Opens stream `id`, sends a proposal of `protocol` on it, and lets the other end send `window` more bytes. */
  readonly open: (id: number, protocol: string, window?: number) => Effect.Effect<void, ByteStream.StreamError>
  /** Reads, and forgets, until the connection ends. */
  readonly readToEnd: Effect.Effect<void>
}

/** A proposal of one protocol, as multistream-select has it. */
export const proposal = (protocol: string): Buffer =>
  Buffer.concat([
    Buffer.from([19]),
    Buffer.from("/multistream/1.0.0\n"),
    Buffer.from([protocol.length + 1]),
    Buffer.from(`${protocol}\n`)
  ])

export const header = (type: number, flags: number, id: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(Frame.headerLength)
  Frame.writeHeader(bytes, 0, type, flags, id, length)
  return bytes
}

const seedOf = (seed: number): Uint8Array => {
  const bytes = new Uint8Array(32)
  bytes[0] = seed
  return bytes
}

/** A listener of plain Node that accepts, reads, and says nothing. */
export const silentListener = Effect.gen(function* () {
  const sockets = new Set<net.Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<net.Server>((resume) => {
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.resume()
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  const bound = server.address()
  const port = bound === null || typeof bound === "string" ? 1 : bound.port
  return { address: Multiaddr.fromStringUnsafe(`/ip4/127.0.0.1/tcp/${port}`), sockets }
})

const layerOf = (seed: number) =>
  Layer.mergeAll(
    NodeNet.layer,
    NodeCrypto.layer,
    SecureRandom.layerWebCrypto,
    Layer.provide(IdentityFromSeed.layer(seedOf(seed)), NodeCrypto.layer)
  )

/** A listener that completes the handshake with each who dials it, and then neither reads nor writes. */
export const mute = Effect.fnUntraced(function* (seed: number) {
  const context = yield* Layer.build(layerOf(seed))
  const security = yield* Effect.provideContext(Noise.make, context)
  const listener = yield* Context.get(context, Net).listen({ host: "127.0.0.1", port: 0 })
  const serve = Effect.gen(function* () {
    const raw = yield* listener.accept
    const agreed = yield* answer(
      raw,
      (protocol) => protocol === Noise.id,
      () => [Noise.id]
    )
    yield* security.secure(agreed.stream, { role: "listener", expectedPeer: undefined, muxers: [yamux] })
  })
  yield* Effect.forkScoped(Effect.forever(serve))
  const address = Multiaddr.fromStringUnsafe(`/ip4/127.0.0.1/tcp/${listener.local.port}`)
  return Multiaddr.withPeer(address, Context.get(context, Identity).peerId)
})

/** Connects to a node and completes the handshake, in which one of `muxers` may be agreed on. */
export const handshake = Effect.fnUntraced(function* (
  seed: number,
  address: Multiaddr.Multiaddr,
  muxers: ReadonlyArray<string>
) {
  const context = yield* Layer.build(layerOf(seed))
  const security = yield* Effect.provideContext(Noise.make, context)
  const raw = yield* Context.get(context, Net).connect(endpointOf(address))
  const agreed = yield* propose(raw, [Noise.id])
  const secured = yield* security.secure(agreed.stream, { role: "dialer", expectedPeer: undefined, muxers })
  // The last message of the handshake waits for the first bytes otherwise.
  secured.flush()
  raw.flush()
  return { raw, secured }
})

/** The same, with one muxer that is agreed on, and then made by hand. */
export const rogue = Effect.fnUntraced(function* (seed: number, address: Multiaddr.Multiaddr, muxer: string = yamux) {
  const { raw, secured } = yield* handshake(seed, address, [muxer])
  assert.strictEqual(secured.earlyMuxer, muxer)
  const write = (bytes: Uint8Array) => ByteStream.write(secured, bytes)
  const frame: Rogue["frame"] = (type, flags, id, length, payload) =>
    write(
      payload === undefined
        ? header(type, flags, id, length)
        : Buffer.concat([header(type, flags, id, length), payload])
    )
  const peer: Rogue = {
    raw,
    secured,
    write,
    frame,
    open: (id, protocol, window = 0) =>
      Effect.gen(function* () {
        const bytes = proposal(protocol)
        yield* frame(Frame.typeWindowUpdate, Frame.flagSyn, id, window)
        yield* frame(Frame.typeData, 0, id, bytes.length, bytes)
      }),
    readToEnd: Effect.gen(function* () {
      for (;;) if ((yield* ByteStream.read(secured)) === null) return
    }).pipe(Effect.ignore)
  }
  return peer
})

/** Ready to take the next event of a kind; join it for the event. */
export const nextEvent = <T extends SwarmEvent["_tag"]>(node: TestNode, tag: T) =>
  Effect.forkChild(
    node.swarm.events.pipe(
      Stream.filter((event): event is Extract<SwarmEvent, { readonly _tag: T }> => event._tag === tag),
      Stream.runHead,
      Effect.flatMap((event) => (event._tag === "Some" ? Effect.succeed(event.value) : Effect.die("the events ended"))),
      Effect.timeout("5 seconds")
    ),
    { startImmediately: true }
  )

/** The tags on the way down to why an inbound connection failed. */
export const tagsOf = (reason: AttemptReason): string => {
  switch (reason._tag) {
    case "NegotiationFailed":
    case "SecurityFailed":
      return `${reason._tag} ${reason.cause.reason._tag}`
    case "DeadlineExceeded":
      return `${reason._tag} ${reason.stage}`
    default:
      return reason._tag
  }
}

/** Does something hostile to `node`, and gives why the node refused the connection. */
export const refusalOf = <E, R>(node: TestNode, hostile: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const before = (yield* node.swarm.counters).inboundFailed
    const event = yield* nextEvent(node, "InboundFailed")
    yield* hostile
    const { reason } = yield* Fiber.join(event)
    assert.isAbove((yield* node.swarm.counters).inboundFailed, before)
    return tagsOf(reason)
  })

/** An honest peer finds `node` at work: a new connection, identify and a ping. */
export const stillServes = (honest: TestNode, node: TestNode) =>
  Effect.gen(function* () {
    const connection = yield* honest.swarm.dial(node.address)
    const info = yield* honest.identify.identified(connection)
    assert.strictEqual(info.peer.toString(), node.swarm.peerId.toString())
    const times = yield* Stream.runCollect(honest.ping.ping(node.swarm.peerId, { count: 1, deadline: "5 seconds" }))
    assert.lengthOf(times, 1)
    yield* honest.swarm.disconnect(node.swarm.peerId)
  }).pipe(Effect.timeout("10 seconds"))

/** A node whose answer to identify is `respond`, whatever that does. */
export const liar = Effect.fnUntraced(function* (
  seed: number,
  respond: (stream: ProtocolStream) => Effect.Effect<void, unknown>
) {
  const listening = Layer.effectDiscard(
    Effect.gen(function* () {
      yield* (yield* Protocols).handle(identify, respond)
      for (const address of loopback) yield* (yield* Swarm).listen(Multiaddr.fromStringUnsafe(address))
    })
  )
  const context = yield* listening.pipe(
    Layer.provideMerge(SwarmLayer.layer()),
    Layer.provideMerge(
      Layer.mergeAll(Actors.layer, ProtocolsLayer.layer, MemoryPeerStore.layer(), ResourceManager.layer())
    ),
    Layer.provide(Libp2p.layerTcp),
    Layer.provide(IdentityFromSeed.layer(seedOf(seed))),
    Layer.provide(Layer.mergeAll(NodeNet.layer, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh,
    Layer.build,
    Effect.orDie
  )
  const [address] = yield* Context.get(context, Swarm).listenAddresses
  if (address === undefined) return yield* Effect.die("it does not listen")
  return Multiaddr.withPeer(address, Context.get(context, Swarm).peerId)
})
