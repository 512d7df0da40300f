import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import type { ProtocolStream } from "../../../src/services/ProtocolStream.ts"
import { at, hostNet, inUse, listen, nextEvent, run, turns, two } from "../../support/memory-nodes.ts"
import { startNode } from "../../support/nodes.ts"

const echo = "/test/echo/1.0.0"
const handleEcho = (stream: ProtocolStream) => Stream.run(stream.readable, stream.writable)

/** Sends a byte and waits for it. */
const once = (stream: ProtocolStream) => Effect.andThen(stream.write(Buffer.from("x")), stream.read)

/** How a stream that was refused looks to who opened it. */
const isReset = (stream: ProtocolStream) =>
  Effect.map(Effect.exit(Effect.andThen(Effect.ignore(stream.write(Buffer.from("x"))), stream.read)), Exit.isFailure)

describe("limits on connections", () => {
  it.effect("10,000 connections from one address: bounded before a byte is read, and others are served", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two()
        const hostile = yield* hostNet(network, ["192.0.2.66"])
        let events = 0
        yield* Effect.forkScoped(
          Stream.runForEach(b.swarm.events, (event) => Effect.sync(() => event._tag === "InboundFailed" && events++)),
          { startImmediately: true }
        )
        const refusal = yield* nextEvent(b, "InboundFailed")
        let most = 0
        for (let i = 0; i < 10_000; i++) {
          yield* Effect.ignore(hostile.connect({ host: "10.0.2.1", port: 4001 }))
          if (i % 100 === 0) most = Math.max(most, (yield* inUse(b, "address 192.0.2.66"))["inbound connections"] ?? 0)
        }
        yield* turns()
        const { pending } = b.resources.limits.address
        assert.isAtMost(most, pending)
        const { reason } = yield* Fiber.join(refusal)
        assert.deepStrictEqual(reason._tag === "LimitExceeded" && [reason.scope, reason.resource, reason.limit], [
          "address 192.0.2.66",
          "unfinished inbound connections",
          pending
        ])
        assert.strictEqual((yield* b.swarm.counters).inboundFailed, 10_000 - pending)
        assert.isAtMost(events, 100, "the flood is counted, not told one by one")
        assert.isAtMost(b.resources.scopeCount(), 2 + pending + 2)
        // An honest peer from elsewhere comes through while the flood holds all it can.
        const connection = yield* a.swarm.dial(atB)
        yield* a.identify.identified(connection)
        // And all of it is gone by the deadline of the handshake.
        yield* TestClock.adjust("10 seconds")
        yield* turns()
        assert.deepStrictEqual((yield* inUse(b, "system"))["connections"], 1)
        assert.strictEqual((yield* inUse(b, "transient"))["connections"], 0)
      })
    )
  )

  it.effect("stalled handshakes from one address keep no other address out", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two(
          {},
          { limits: { transient: { connectionsInbound: 8 }, address: { pending: 4 } } }
        )
        const loris = yield* hostNet(network, ["192.0.2.66"])
        // A byte now and then, and never a whole message.
        const stalled = yield* Effect.forEach(Array.from({ length: 12 }), () =>
          Effect.exit(loris.connect({ host: "10.0.2.1", port: 4001 }))
        )
        yield* turns()
        for (const exit of stalled) if (Exit.isSuccess(exit)) exit.value.tryWrite(Buffer.from([19]))
        yield* turns()
        assert.strictEqual((yield* inUse(b, "transient"))["inbound connections"], 4)
        assert.strictEqual((yield* b.swarm.counters).inboundFailed, 8)
        for (let i = 0; i < 5; i++) {
          const connection = yield* a.swarm.dial(atB)
          yield* a.identify.identified(connection)
          yield* connection.close
        }
        yield* TestClock.adjust("10 seconds")
        yield* turns()
        assert.strictEqual((yield* inUse(b, "transient"))["inbound connections"], 0)
        assert.strictEqual((yield* b.swarm.counters).inboundFailed, 12)
      })
    )
  )

  it.effect("what was reserved is given back once the connection has ended, whoever ends it and at any stage", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two()
        const stranger = yield* startNode({ seed: 9, net: network.host(["10.0.9.1"]) })
        const hostile = yield* hostNet(network, ["192.0.2.66"])
        for (const end of ["close", "remote", "garbage", "wrong peer"] as const) {
          if (end === "garbage") {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const socket = yield* hostile.connect({ host: "10.0.2.1", port: 4001 })
                socket.tryWrite(Buffer.alloc(2000, 0x41))
                yield* turns()
              })
            )
          } else if (end === "wrong peer") {
            yield* Effect.flip(a.swarm.dial(Multiaddr.withPeer(at("10.0.2.1"), stranger.swarm.peerId)))
          } else {
            const connection = yield* a.swarm.dial(atB)
            yield* a.identify.identified(connection)
            const [there] = yield* b.swarm.connections(a.swarm.peerId)
            yield* end === "close" ? connection.close : (there?.close ?? Effect.void)
          }
          yield* turns(200)
          yield* TestClock.adjust("2 seconds")
          yield* turns()
          for (const node of [a, b]) {
            for (const row of yield* node.resources.usage) {
              if (row.resource !== "inbound connections a second")
                assert.strictEqual(row.current, 0, `${end}: ${row.scope} ${row.resource}`)
            }
          }
        }
      })
    )
  )

  it.effect(
    "inbound connections of one peer, wherever it comes from: the one too many is closed, and the reason told",
    () =>
      run(
        Effect.gen(function* () {
          const network = yield* MemoryNet.makeNetwork()
          const b = yield* startNode({
            seed: 2,
            net: network.host(["10.0.2.1"]),
            listen,
            limits: { peer: { connectionsInbound: 2 } }
          })
          const refusal = yield* nextEvent(b, "InboundFailed")
          for (const host of ["10.0.3.1", "10.0.4.1", "10.0.5.1"]) {
            const twin = yield* startNode({ seed: 1, net: network.host([host]) })
            yield* Effect.ignore(twin.swarm.dial(at("10.0.2.1")))
          }
          const { reason } = yield* Fiber.join(refusal)
          const open = yield* b.swarm.connections()
          assert.lengthOf(open, 2)
          assert.deepStrictEqual(reason._tag === "LimitExceeded" && [reason.scope, reason.resource, reason.limit], [
            `peer ${open[0]?.remotePeer.toString()}`,
            "inbound connections",
            2
          ])
        })
      )
  )

  it.effect("this node's own dials are bounded too, and the error says by what", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const a = yield* startNode({
          seed: 1,
          net: network.host(["10.0.1.1"]),
          limits: { system: { connectionsOutbound: 1 } }
        })
        for (const seed of [2, 3]) yield* startNode({ seed, listen, net: network.host([`10.0.${seed}.1`]) })
        yield* a.swarm.dial(at("10.0.2.1"))
        const error = yield* Effect.flip(a.swarm.dial(at("10.0.3.1")))
        const reason = error.attempts[0]?.reason
        assert.deepStrictEqual(reason?._tag === "LimitExceeded" && [reason.scope, reason.resource, reason.limit], [
          "system",
          "outbound connections",
          1
        ])
        assert.include(error.message, "limit of 1 outbound connections of system")
      })
    )
  )
})

describe("limits on streams", () => {
  it.effect("outbound: a stream over the limit is a typed error, and there is room again when one is done", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two({ limits: { connection: { streamsOutbound: 2 } } })
        yield* b.protocols.handle(echo, handleEcho)
        const connection = yield* a.swarm.dial(atB)
        yield* a.identify.identified(connection)
        yield* turns()
        const first = yield* connection.openStream(echo)
        const second = yield* connection.openStream(echo)
        yield* Effect.forEach([first, second], once)
        const error = yield* Effect.flip(connection.openStream(echo))
        assert.strictEqual(error.reason._tag === "LimitExceeded" && error.reason.limit, 2)
        assert.include(error.message, "limit of 2 outbound streams of connection")
        // Done in both directions: no need to wait for the scope of whoever opened it.
        yield* first.closeWrite
        assert.isNull(yield* first.read)
        yield* turns()
        yield* once(yield* connection.openStream(echo))
      })
    )
  )

  it.effect("inbound: streams over the limit are reset and counted, by protocol and by service", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two(
          {},
          { limits: { protocols: { "/one": { streamsInbound: 2 } }, services: { both: { streamsInbound: 3 } } } }
        )
        yield* b.protocols.handle("/one", handleEcho, { service: "both" })
        yield* b.protocols.handle("/two", handleEcho, { service: "both" })
        const connection = yield* a.swarm.dial(atB)
        const open = yield* Effect.forEach(["/one", "/one"], (protocol) => connection.openStream(protocol))
        yield* Effect.forEach(open, once)
        assert.isTrue(yield* isReset(yield* connection.openStream("/one")))
        yield* once(yield* connection.openStream("/two"))
        assert.isTrue(yield* isReset(yield* connection.openStream("/two")), "the service is full")
        assert.strictEqual((yield* b.swarm.counters).streamsRefused, 2)
        const refused = (yield* b.resources.usage).filter((row) => row.refused > 0)
        assert.deepStrictEqual(refused.map(({ scope }) => scope).toSorted(), ["protocol /one", "service both"])
        yield* Effect.forEach(open, once)
      })
    )
  )

  it.effect("a flood of streams for a handler that never ends: bounded, and the connection and others live", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two({}, { limits: { protocolOfPeer: { streamsInbound: 50 } } })
        let running = 0
        let most = 0
        yield* b.protocols.handle("/never", () =>
          Effect.andThen(
            Effect.sync(() => {
              running++
              most = Math.max(most, running)
            }),
            Effect.never
          ).pipe(Effect.ensuring(Effect.sync(() => running--)))
        )
        yield* b.protocols.handle(echo, handleEcho)
        const connection = yield* a.swarm.dial(atB)
        yield* Effect.forEach(
          Array.from({ length: 1000 }),
          () =>
            Effect.flatMap(connection.openStream("/never"), (stream) => Effect.ignore(stream.write(Buffer.from("x")))),
          { discard: true }
        )
        yield* turns(200)
        assert.strictEqual(most, 50)
        // The muxer's backlog refuses some before.
        assert.isAtLeast((yield* b.swarm.counters).streamsRefused, 500)
        yield* once(yield* connection.openStream(echo))
        const other = yield* startNode({ seed: 3, net: network.host(["10.0.3.1"]) })
        yield* once(yield* other.swarm.openStream(atB, "/never")).pipe(Effect.forkScoped)
        yield* turns(200)
        assert.strictEqual(running, 51)
        yield* connection.close
        yield* turns(200)
        assert.strictEqual(running, 1)
      })
    )
  )

  it.effect("a stream counts until the remote has closed its direction too", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two()
        const done = yield* Deferred.make<void>()
        yield* b.protocols.handle("/brief", () => Effect.asVoid(Deferred.succeed(done, undefined)))
        const stream = yield* a.swarm.openStream(atB, "/brief")
        yield* stream.write(Buffer.from("x"))
        yield* Deferred.await(done)
        yield* turns()
        const streams = Effect.map(inUse(b, "protocol /brief"), (rows) => rows["inbound streams"] ?? 0)
        assert.strictEqual(yield* streams, 1)
        yield* stream.closeWrite
        yield* turns()
        assert.strictEqual(yield* streams, 0)
      })
    )
  )
})
