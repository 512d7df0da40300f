import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { Net } from "../../../src/services/Net.ts"
import * as ProtocolStream from "../../../src/services/ProtocolStream.ts"
import { silent, startNode } from "../../support/nodes.ts"
import { eventually } from "../../support/peers.ts"

const listen = ["/ip4/0.0.0.0/tcp/4001"]

/** Two nodes on a network of their own: `b` listens at 10.0.0.2, `a` at 10.0.0.1. */
const two = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]), listen })
  const b = yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
  return { network, a, b, atB: Multiaddr.fromStringUnsafe(`/ip4/10.0.0.2/tcp/4001/p2p/${b.swarm.peerId.toString()}`) }
})

const echo = "/test/echo/1.0.0"
const handleEcho = (stream: ProtocolStream.ProtocolStream) => Stream.run(stream.readable, stream.writable)

/** Reads `n` bytes. */
const readText = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, n: number) {
  let text = ""
  while (text.length < n) {
    const batch = yield* stream.read
    if (batch === null) break
    text += Buffer.from(batch).toString()
  }
  return text
})

const run = <A, E>(test: Effect.Effect<A, E, Scope.Scope>) => test.pipe(Effect.scoped, Effect.provide(silent))

describe("Swarm", () => {
  it.live("dials an address, opens a stream, and both ends agree on who they are", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* Effect.provideService(b.protocols.handle(echo, handleEcho), Scope.Scope, yield* Effect.scope)
        const connection = yield* a.swarm.dial(atB)
        assert.strictEqual(connection.remotePeer.toString(), b.swarm.peerId.toString())
        assert.deepStrictEqual(
          [connection.security, connection.muxer, connection.earlyMuxer, connection.direction],
          ["/noise", "/yamux/1.0.0", true, "outbound"]
        )
        const stream = yield* connection.openStream(echo)
        yield* stream.write(Buffer.from("hello"))
        assert.strictEqual(yield* readText(stream, 5), "hello")
        yield* stream.closeWrite
        assert.isNull(yield* stream.read)
        const [inbound] = yield* b.swarm.connections(a.swarm.peerId)
        assert.strictEqual(inbound?.direction, "inbound")
      })
    )
  )

  it.live("a protocol that the remote does not speak shows as a typed error when the stream is read", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two
        const stream = yield* a.swarm.openStream(atB, "/not/there")
        const error = yield* Effect.flip(stream.read)
        assert.strictEqual(error.reason._tag, "ProtocolNotSupported")
        // With several proposals the verdict is awaited.
        const several = yield* Effect.flip(a.swarm.openStream(atB, ["/not/there", "/nor/there"]))
        assert.strictEqual(several._tag, "OpenStreamError")
        assert.include(several.message, "/not/there or /nor/there")
      })
    )
  )

  it.live("the first protocol that both speak is chosen", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* b.protocols.handle("/v/1", handleEcho)
        const stream = yield* a.swarm.openStream(atB, ["/v/2", "/v/1"])
        assert.strictEqual(stream.protocol, "/v/1")
      })
    )
  )

  it.live("a handler that fails or dies ends its own stream only, is counted, and is an event", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* b.protocols.handle("/fails", () => Effect.fail("no"))
        yield* b.protocols.handle("/dies", () => Effect.die(new Error("bug")))
        yield* b.protocols.handle(echo, handleEcho)
        const events = yield* Effect.forkChild(
          b.swarm.events.pipe(
            Stream.filter((event) => event._tag === "HandlerFailed"),
            Stream.take(2),
            Stream.runCollect
          ),
          { startImmediately: true }
        )
        const survivor = yield* a.swarm.openStream(atB, echo)
        for (const protocol of ["/fails", "/dies"]) {
          const stream = yield* a.swarm.openStream(atB, protocol)
          assert.strictEqual((yield* Effect.flip(Effect.andThen(stream.read, stream.read))).reason._tag, "ResetByPeer")
        }
        yield* survivor.write(Buffer.from("alive"))
        assert.strictEqual(yield* readText(survivor, 5), "alive")
        assert.deepStrictEqual(
          (yield* Fiber.join(events)).map((event) => event._tag === "HandlerFailed" && [event.protocol, event.died]),
          [
            ["/fails", false],
            ["/dies", true]
          ]
        )
        assert.strictEqual((yield* b.swarm.counters).handlersFailed, 2)
      })
    )
  )

  it.live("a handler is gone with its scope, and a protocol has one handler at a time", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* b.protocols.handle(echo, handleEcho)
            assert.strictEqual((yield* Effect.flip(b.protocols.handle(echo, handleEcho))).protocol, echo)
            assert.include(yield* b.protocols.registered, echo)
          })
        )
        assert.notInclude(yield* b.protocols.registered, echo)
        const stream = yield* a.swarm.openStream(atB, echo)
        assert.strictEqual((yield* Effect.flip(stream.read)).reason._tag, "ProtocolNotSupported")
      })
    )
  )

  it.live("changes tells that handlers have come or gone, and never lags behind", () =>
    run(
      Effect.gen(function* () {
        const { b } = yield* two
        const seen: Array<number> = []
        const next = yield* Deferred.make<void>()
        yield* Effect.forkChild(
          Stream.runForEach(b.protocols.changes, () =>
            Effect.gen(function* () {
              seen.push((yield* b.protocols.registered).length)
              yield* Deferred.succeed(next, undefined)
            })
          ),
          { startImmediately: true }
        )
        const before = (yield* b.protocols.registered).length
        yield* Effect.scoped(
          Effect.gen(function* () {
            for (let i = 0; i < 100; i++) yield* b.protocols.handle(`/test/${i}`, handleEcho)
            yield* Deferred.await(next)
            yield* Effect.sleep(20)
            assert.strictEqual(seen.at(-1), before + 100)
          })
        )
        yield* Effect.sleep(20)
        assert.strictEqual(seen.at(-1), before)
      })
    )
  )

  it.live("streams of a protocol over its limit are reset, and the others go on", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* b.protocols.handle(echo, handleEcho, { maxStreamsPerConnection: 2 })
        const streams = yield* Effect.forEach([1, 2], () =>
          Effect.gen(function* () {
            const stream = yield* a.swarm.openStream(atB, echo)
            yield* stream.write(Buffer.from("x"))
            assert.strictEqual(yield* readText(stream, 1), "x")
            return stream
          })
        )
        const third = yield* a.swarm.openStream(atB, echo)
        yield* Effect.ignore(third.write(Buffer.from("x")))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.andThen(third.read, third.read))))
        assert.strictEqual((yield* b.swarm.counters).streamsRefused, 1)
        yield* Effect.forEach(streams, (stream) => Effect.andThen(stream.write(Buffer.from("y")), readText(stream, 1)))
      })
    )
  )

  it.live("early data is never lost: it waits until the handler reads", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        const gate = yield* Deferred.make<void>()
        const seen = yield* Deferred.make<string>()
        yield* b.protocols.handle("/slow", (stream) =>
          Effect.gen(function* () {
            yield* Deferred.await(gate)
            yield* Deferred.succeed(seen, yield* readText(stream, 5))
          })
        )
        const stream = yield* a.swarm.openStream(atB, "/slow")
        yield* stream.write(Buffer.from("early"))
        yield* stream.closeWrite
        yield* Effect.sleep(20)
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Deferred.await(seen), "early")
      })
    )
  )

  it.live("messages: length-prefixed bytes and JSON by Schema, with a bound", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        const Chat = ProtocolStream.json(Schema.Struct({ text: Schema.String, n: Schema.Finite }))
        yield* b.protocols.handle("/chat", (stream) => {
          const chat = ProtocolStream.messages(stream, Chat, { maxSize: 1000 })
          return Stream.runForEach(chat.stream, ({ n, text }) => chat.write({ text: text.toUpperCase(), n: n + 1 }))
        })
        const stream = yield* a.swarm.openStream(atB, "/chat")
        const chat = ProtocolStream.messages(stream, Chat)
        yield* chat.write({ text: "hello", n: 1 })
        assert.deepStrictEqual(yield* chat.read, { text: "HELLO", n: 2 })
        yield* chat.write({ text: "x".repeat(2000), n: 1 })
        assert.strictEqual((yield* Effect.flip(chat.read))._tag, "StreamError")
        // Bytes that are no such message are a typed error of the reader, not a crash.
        const bad = yield* a.swarm.openStream(atB, "/chat")
        yield* ProtocolStream.byteMessages(bad).write(Buffer.from("{}"))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(bad.read)))
      })
    )
  )

  it.live("closing the scope of a stream closes it; failing resets it", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        const ends = yield* Deferred.make<"end" | "reset">()
        const second = yield* Deferred.make<"end" | "reset">()
        let read = yield* Deferred.make<void>()
        let which = ends
        yield* b.protocols.handle("/end", (stream) =>
          Effect.gen(function* () {
            const mine = which
            yield* stream.read
            yield* Deferred.succeed(read, undefined)
            yield* Effect.matchEffect(stream.read, {
              onFailure: () => Deferred.succeed(mine, "reset"),
              onSuccess: () => Deferred.succeed(mine, "end")
            })
          })
        )
        yield* Effect.scoped(
          Effect.flatMap(a.swarm.openStream(atB, "/end"), (stream) => stream.write(Buffer.from("x")))
        )
        assert.strictEqual(yield* Deferred.await(ends), "end")
        which = second
        read = yield* Deferred.make<void>()
        yield* Effect.ignore(
          Effect.scoped(
            Effect.gen(function* () {
              const stream = yield* a.swarm.openStream(atB, "/end")
              yield* stream.write(Buffer.from("x"))
              yield* Deferred.await(read)
              return yield* Effect.fail("broken")
            })
          )
        )
        assert.strictEqual(yield* Deferred.await(second), "reset")
      })
    )
  )

  it.live("events tell of connections and why they ended; tasks run for each connection", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        let alive = 0
        yield* b.swarm.forEachConnection(() =>
          Effect.andThen(
            Effect.sync(() => alive++),
            Effect.never
          ).pipe(Effect.ensuring(Effect.sync(() => alive--)))
        )
        const events = yield* Effect.forkChild(b.swarm.events.pipe(Stream.take(2), Stream.runCollect), {
          startImmediately: true
        })
        const connection = yield* a.swarm.dial(atB)
        yield* eventually(
          () => alive === 1,
          () => `${alive} tasks run for one connection`
        )
        yield* connection.close
        assert.strictEqual((yield* connection.awaitClosed).by, "local")
        assert.deepStrictEqual(
          (yield* Fiber.join(events)).map((event) => event._tag),
          ["Connected", "Disconnected"]
        )
        yield* eventually(
          () => alive === 0,
          () => "a task outlives its connection"
        )
        assert.lengthOf(yield* a.swarm.connections(), 0)
        assert.lengthOf(yield* b.swarm.connections(), 0)
      })
    )
  )

  it.live("a node can be stopped and started again, many times, and its peers notice", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]) })
        for (let i = 0; i < 5; i++) {
          const b = yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
          const connection = yield* a.swarm.dial(Multiaddr.fromStringUnsafe("/ip4/10.0.0.2/tcp/4001"))
          yield* a.identify.identified(connection)
          yield* b.stop
          yield* connection.awaitClosed
          assert.lengthOf(yield* b.actors.tree, 0)
        }
        yield* Effect.sleep(20)
        assert.lengthOf(yield* a.swarm.connections(), 0)
      })
    )
  )

  it.live("what goes away in the middle of a stream is a typed error for its reader", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* b.protocols.handle(echo, handleEcho)
        const stream = yield* a.swarm.openStream(atB, echo)
        yield* stream.write(Buffer.from("x"))
        yield* readText(stream, 1)
        const reading = yield* Effect.forkChild(Effect.flip(stream.read), { startImmediately: true })
        yield* b.stop
        assert.include(["ConnectionLost", "ResetByPeer"], (yield* Fiber.join(reading)).reason._tag)
      })
    )
  )

  it.effect("a peer that connects and says nothing is let go at the deadline", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const b = yield* startNode({
          seed: 2,
          net: network.host(["10.0.0.2"]),
          listen,
          swarm: { upgradeDeadline: "5 seconds" }
        })
        const failed = yield* Effect.forkChild(b.swarm.events.pipe(Stream.runHead), { startImmediately: true })
        const socket = yield* Effect.gen(function* () {
          const net = yield* Net
          return yield* net.connect({ host: "10.0.0.2", port: 4001 })
        }).pipe(Effect.provide(network.host(["10.0.0.1"])))
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow
        yield* TestClock.adjust("5 seconds")
        const event = yield* Fiber.join(failed)
        assert.deepStrictEqual(
          event._tag === "Some" &&
            event.value._tag === "InboundFailed" &&
            event.value.reason._tag === "DeadlineExceeded" &&
            event.value.reason.stage,
          "securing"
        )
        assert.isTrue(
          Exit.isFailure(yield* Effect.exit(Effect.andThen(ByteStream.read(socket), ByteStream.read(socket))))
        )
        assert.strictEqual((yield* b.swarm.counters).inboundFailed, 1)
      })
    )
  )

  it.live("garbage instead of a handshake is refused at once with the reason", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const b = yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
        for (const garbage of [
          Buffer.from("GET / HTTP/1.1\r\n\r\n"),
          Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
          Buffer.alloc(100_000, 0x41)
        ]) {
          const failed = yield* Effect.forkChild(b.swarm.events.pipe(Stream.runHead), { startImmediately: true })
          yield* Effect.gen(function* () {
            const socket = yield* (yield* Net).connect({ host: "10.0.0.2", port: 4001 })
            yield* Effect.ignore(ByteStream.write(socket, garbage))
            const event = yield* Fiber.join(failed)
            assert.deepStrictEqual(
              event._tag === "Some" &&
                event.value._tag === "InboundFailed" &&
                event.value.reason._tag === "NegotiationFailed" &&
                event.value.reason.cause.reason._tag,
              "MalformedNegotiation"
            )
          }).pipe(Effect.scoped, Effect.provide(network.host(["10.0.0.1"])))
        }
      })
    )
  )

  it.live("identify, ping and perf between two nodes", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        const connection = yield* a.swarm.dial(atB)
        const info = yield* a.identify.identified(connection)
        assert.strictEqual(info.agentVersion, "effect-libp2p/0.1.0")
        assert.include(info.protocols, "/ipfs/ping/1.0.0")
        assert.include(info.listenAddresses.map(String), "/ip4/10.0.0.2/tcp/4001")
        assert.match(info.observedAddress?.toString() ?? "", /^\/ip4\/10\.0\.0\.1\/tcp\/\d+$/)
        assert.lengthOf(yield* Stream.runCollect(a.ping.ping(b.swarm.peerId, { count: 3, interval: 1 })), 3)
        const result = yield* a.perf.measure(b.swarm.peerId, { uploadBytes: 1_000_000, downloadBytes: 2_000_000 })
        assert.strictEqual(result.downloadBytes, 2_000_000)
        assert.strictEqual(connection.streamCount(), 0)
      })
    )
  )

  it.live("the actor tree names the swarm, its listener and its connections", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        yield* a.swarm.dial(atB)
        yield* Effect.sleep(20)
        const tree = yield* b.actors.tree
        const swarm = tree.find(({ name }) => name === "swarm")
        assert.match(swarm?.children[0]?.detail ?? "", /^inbound \/ip4\/10\.0\.0\.1/)
        assert.isTrue(tree.some(({ detail, name }) => name.startsWith("listener /ip4/") && detail === "1 accepted"))
      })
    )
  )

  it.live("a handler that will not end before the remote reads does not hold up the stop", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two
        const began = yield* Deferred.make<void>()
        yield* b.protocols.handle("/stubborn", (stream) =>
          Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
            Effect.ensuring(Effect.ignore(stream.write(new Uint8Array(2 * 1024 * 1024))))
          )
        )
        const stream = yield* a.swarm.openStream(atB, "/stubborn")
        yield* stream.write(Buffer.from("x"))
        yield* Deferred.await(began)
        yield* Effect.timeoutOrElse(b.stop, { duration: "5 seconds", orElse: () => Effect.die("the stop hangs") })
      })
    )
  )

  it.live("tasks of connections end with the scope that asked for them", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two
        yield* a.swarm.dial(atB)
        let alive = 0
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* a.swarm.forEachConnection(() =>
              Effect.andThen(
                Effect.sync(() => alive++),
                Effect.never
              ).pipe(Effect.ensuring(Effect.sync(() => alive--)))
            )
            yield* Effect.repeat(Effect.yieldNow, { until: () => alive === 1 })
          })
        )
        assert.strictEqual(alive, 0)
      })
    )
  )

  it.live("what a peer says of its addresses never comes before what worked", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two
        const connection = yield* a.swarm.dial(atB)
        const info = yield* a.identify.identified(connection)
        assert.isFalse(
          info.listenAddresses.some(Multiaddr.isLoopback),
          "loopback addresses are not told over the network"
        )
        yield* a.peerStore.addAddresses(b.swarm.peerId, [Multiaddr.fromStringUnsafe("/ip4/10.0.0.99/tcp/1")], "claimed")
        assert.strictEqual((yield* a.peerStore.addresses(b.swarm.peerId))[0]?.toString(), "/ip4/10.0.0.2/tcp/4001")
      })
    )
  )
})
