/**
 * This library as an interop peer: the same contract as the Go, Rust and
 * JavaScript ones (../README.md), written as a user of the library would.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { Deferred, Effect, Fiber, Layer, Result, Schema, Scope, Stream } from "effect"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import {
  ConnectionSecurity,
  Identify,
  IdentityGenerated,
  Libp2p,
  MemoryPeerStore,
  Mplex,
  Multiaddr,
  NetworkKey,
  Noise,
  Perf,
  Ping,
  PrivateNetwork,
  Protocols,
  type ProtocolStream,
  StreamMuxer,
  Swarm,
  Tcp,
  Tls,
  Yamux
} from "../../../src/index.ts"
import * as PerfLayer from "../../../src/layers/perf/Perf.ts"

const echo = "/interop/echo/1.0.0"
const halfClose = "/interop/half-close/1.0.0"
const reset = "/interop/reset/1.0.0"
const handle = "/interop/handle/1.0.0"
const pushed = "/interop/pushed/1.0.0"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    transport: { type: "string", default: "tcp" },
    security: { type: "string", default: "noise" },
    muxer: { type: "string", default: "yamux" },
    listen: { type: "string", default: "/ip4/127.0.0.1/tcp/0" },
    psk: { type: "string" },
    addr: { type: "string", default: "" },
    test: { type: "string", default: "ping" },
    bytes: { type: "string", default: "67108864" },
    count: { type: "string", default: "1000" }
  }
})

const print = (line: unknown) => Effect.sync(() => console.log(JSON.stringify(line)))

/** A test that did not come out as it must. */
class Wrong extends Schema.TaggedError<Wrong>()("Wrong", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

const wrong = (detail: string) => Effect.fail(new Wrong({ detail }))

const concat = (parts: ReadonlyArray<Uint8Array>) => Buffer.concat(parts)
const readAll = (stream: ProtocolStream.ProtocolStream) => Effect.map(Stream.runCollect(stream.readable), concat)

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest()

const serveEcho = (stream: ProtocolStream.ProtocolStream) => Stream.run(stream.readable, stream.writable)

/** Handles the protocols that others ask for, for as long as the node runs. */
const HandleOnDemand = Layer.effectDiscard(
  Effect.gen(function* () {
    const protocols = yield* Protocols.Protocols
    const scope = yield* Effect.scope
    yield* protocols.handle(handle, (stream) =>
      Effect.flatMap(readAll(stream), (name) =>
        Effect.provideService(protocols.handle(new TextDecoder().decode(name), serveEcho), Scope.Scope, scope)
      )
    )
  })
)

const Handlers = Layer.mergeAll(
  HandleOnDemand,
  Protocols.layerHandler(echo, serveEcho, { maxStreamsPerConnection: 4096 }),
  Protocols.layerHandler(halfClose, (stream) =>
    Effect.flatMap(readAll(stream), (bytes) =>
      stream.write(Buffer.from(`${bytes.length} ${sha256(bytes).toString("hex")}`))
    )
  ),
  Protocols.layerHandler(reset, (stream) => Effect.andThen(stream.read, stream.reset("asked to")))
)

const Connections =
  values.psk === undefined
    ? Tcp.layer
    : PrivateNetwork.layer(Result.getOrThrow(NetworkKey.decode(readFileSync(values.psk)))).pipe(
        Layer.provide(Tcp.layer),
        Layer.orDie
      )

/** Just the security and the muxer that were asked for. */
const Ways = Layer.mergeAll(
  Connections,
  ConnectionSecurity.layerPrefer([values.security === "tls" ? Tls.make : Noise.make]),
  StreamMuxer.layerPrefer([values.muxer === "mplex" ? Mplex.make() : Yamux.make()])
)

const Node = (listen: ReadonlyArray<string>) =>
  Layer.merge(Handlers, PerfLayer.layer).pipe(
    Layer.provideMerge(Libp2p.layer({ listen })),
    Layer.provide(Ways),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityGenerated.layer),
    Layer.provideMerge(Libp2p.layerNode)
  )

const listen = Effect.gen(function* () {
  const swarm = yield* Swarm.Swarm
  const addresses = yield* swarm.listenAddresses
  yield* print({
    event: "listening",
    peer: swarm.peerId.toString(),
    addresses: addresses.map((address) => Multiaddr.withPeer(address, swarm.peerId).toString())
  })
  const closed = Deferred.makeUnsafe<void>()
  process.stdin.on("end", () => Deferred.doneUnsafe(closed, Effect.void)).resume()
  yield* Deferred.await(closed)
})

/** Sends `message` and reads as many bytes back. */
const exchange = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, message: Uint8Array) {
  yield* stream.write(message)
  let echoed: Uint8Array = new Uint8Array(0)
  while (echoed.length < message.length) {
    const batch = yield* stream.read
    if (batch === null) return yield* wrong(`end after ${echoed.length} bytes of the echo`)
    echoed = concat([echoed, batch])
  }
  if (!Buffer.from(echoed).equals(message)) return yield* wrong("the echo differs")
})

const expectEnd = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream) {
  yield* stream.closeWrite
  const last = yield* stream.read
  if (last !== null) return yield* wrong(`${last.length} bytes where the end was due`)
})

const tests = (connection: Swarm.Connection, bytes: number, count: number) => {
  const target = { peer: connection.remotePeer, addresses: [connection.remoteAddress] }
  const perf = (uploadBytes: number, downloadBytes: number) =>
    Effect.gen(function* () {
      const result = yield* (yield* Perf.Perf).measure(target, { uploadBytes, downloadBytes })
      return { seconds: (result.uploadMs + result.downloadMs) / 1000 }
    })
  return {
    ping: Effect.gen(function* () {
      const rttsMs = yield* Stream.runCollect((yield* Ping.Ping).ping(target, { count: 5, interval: 0 }))
      return { rttsMs }
    }),
    identify: Effect.gen(function* () {
      const info = yield* (yield* Identify.Identify).identified(connection)
      if (info.protocols.length === 0) return yield* wrong("no protocols")
      return {
        agentVersion: info.agentVersion,
        protocolVersion: info.protocolVersion,
        protocols: info.protocols,
        listenAddrs: info.listenAddresses.map(String),
        observedAddr: info.observedAddress?.toString(),
        publicKeyMatches: true
      }
    }),
    "identify-push": Effect.gen(function* () {
      const identify = yield* Identify.Identify
      yield* identify.identified(connection)
      const told = yield* identify.events.pipe(
        Stream.filter((event) => event.pushed && event.info.protocols.includes(pushed)),
        Stream.take(1),
        Stream.runDrain,
        Effect.forkScoped({ startImmediately: true })
      )
      const stream = yield* connection.openStream(handle)
      yield* stream.write(Buffer.from(pushed))
      yield* stream.closeWrite
      yield* Fiber.join(told)
      const info = yield* identify.identified(connection)
      if (!info.protocols.includes(pushed)) return yield* wrong("what was pushed is not known")
      return { pushed }
    }),
    "perf-upload": perf(bytes, 0),
    "perf-download": perf(0, bytes),
    streams: Effect.gen(function* () {
      const streams = yield* Effect.forEach(
        Array.from({ length: count }, (_, i) => i),
        (i) =>
          Effect.gen(function* () {
            const stream = yield* connection.openStream(echo)
            yield* exchange(stream, sha256(Buffer.from(`stream ${i}`)))
            return stream
          }),
        { concurrency: "unbounded" }
      )
      yield* Effect.forEach(streams, expectEnd, { concurrency: "unbounded", discard: true })
      return { streams: streams.length }
    }),
    "half-close": Effect.gen(function* () {
      const stream = yield* connection.openStream(halfClose)
      const pattern = Buffer.alloc(1024 * 1024, "pattern")
      yield* stream.write(pattern)
      yield* stream.closeWrite
      const answer = Buffer.from(yield* readAll(stream)).toString()
      if (answer !== `${pattern.length} ${sha256(pattern).toString("hex")}`)
        return yield* wrong(`the answer was ${answer}`)
      return {}
    }),
    "reset-remote": Effect.gen(function* () {
      const stream = yield* connection.openStream(reset)
      yield* stream.write(Buffer.from("x"))
      const read = yield* Effect.result(stream.read)
      if (Result.isSuccess(read)) return yield* wrong("the stream was not reset")
      return { error: read.failure.reason._tag }
    }),
    "reset-local": Effect.gen(function* () {
      const first = yield* connection.openStream(echo)
      yield* exchange(first, Buffer.from("x"))
      yield* first.reset("the test wants it")
      const second = yield* connection.openStream(echo)
      yield* exchange(second, Buffer.from("still here"))
      return {}
    }),
    "early-muxer": Effect.succeed({ earlyMuxer: connection.earlyMuxer })
  }
}

const dial = Effect.gen(function* () {
  const swarm = yield* Swarm.Swarm
  const connection = yield* swarm.dial(yield* Effect.fromResult(Multiaddr.fromString(values.addr)))
  const all = tests(connection, Number(values.bytes), Number(values.count))
  const found = Object.entries(all).find(([name]) => name === values.test)
  if (found === undefined) return yield* wrong(`no such test: ${values.test}`)
  return yield* Effect.scoped<
    Record<string, unknown>,
    unknown,
    Perf.Perf | Ping.Ping | Identify.Identify | Scope.Scope
  >(found[1])
}).pipe(
  Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => wrong("timed out after 60 s") }),
  Effect.matchEffect({
    onFailure: (error) =>
      Effect.andThen(
        print({
          event: "result",
          test: values.test,
          ok: false,
          detail: {},
          error: error instanceof Error ? error.message : String(error)
        }),
        Effect.sync(() => {
          process.exitCode = 1
        })
      ),
    onSuccess: (detail) => print({ event: "result", test: values.test, ok: true, detail })
  })
)

const choices = { transports: ["tcp"], securities: ["noise", "tls"], muxers: ["yamux", "mplex"], keyTypes: ["ed25519"] }
const supported =
  choices.transports.includes(values.transport) &&
  choices.securities.includes(values.security) &&
  choices.muxers.includes(values.muxer)

const program =
  positionals[0] === "listen" ? Effect.provide(listen, Node([values.listen])) : Effect.provide(dial, Node([]))

if (positionals[0] === "supports") {
  console.log(JSON.stringify(choices))
} else if (!supported) {
  console.error(`not supported: ${values.transport}, ${values.security}, ${values.muxer}`)
  process.exitCode = 2
} else {
  NodeRuntime.runMain(program)
}
