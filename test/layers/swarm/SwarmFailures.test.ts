/** What goes wrong inside a node, and that the node goes on. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import { NetError, SystemRefused } from "../../../src/services/Net.ts"
import { PeerStore, PeerStoreError, StorageFailed } from "../../../src/services/PeerStore.ts"
import { type MuxedConnection, StreamMuxer } from "../../../src/services/StreamMuxer.ts"
import { NetworkFailure, Transport, TransportError, type TransportListener } from "../../../src/services/Transport.ts"
import { inUse, listen, nextEvent, run, turns, two } from "../../support/memory-nodes.ts"
import { startNode } from "../../support/nodes.ts"

/** TCP and Noise, and Yamux with something changed. */
const withMuxer = (change: (connection: MuxedConnection) => MuxedConnection) =>
  Layer.mergeAll(
    Tcp.layer,
    Noise.layer,
    Layer.effect(
      StreamMuxer,
      Effect.map(StreamMuxer, ({ protocols }) => ({
        protocols: protocols.map((protocol) => ({
          ...protocol,
          make: (connection, how) => Effect.map(protocol.make(connection, how), change)
        }))
      }))
    ).pipe(Layer.provide(Yamux.layer()))
  )

/** Noise and Yamux, and TCP with listeners that are changed. */
const withListener = (change: (listener: TransportListener) => TransportListener) =>
  Layer.mergeAll(
    Noise.layer,
    Yamux.layer(),
    Layer.effect(
      Transport,
      Effect.map(Transport, ({ transports }) => ({
        transports: transports.map((transport) => ({
          ...transport,
          listen: (address) => Effect.map(transport.listen(address), change)
        }))
      }))
    ).pipe(Layer.provide(Tcp.layer))
  )

describe("a swarm whose actor fails", () => {
  it.effect("starts again however often, with growing pauses, and then serves as before", () =>
    run(
      Effect.gen(function* () {
        let broken = 20
        const { a, atB, b } = yield* two(
          {},
          {
            below: withMuxer((connection) => ({
              ...connection,
              get isOpen() {
                if (broken-- > 0) throw new Error("a bug of the muxer's")
                return connection.isOpen
              }
            }))
          }
        )
        const restarts = Effect.map(b.actors.tree, (tree) => tree.find(({ name }) => name === "swarm")?.restarts)
        // The dialer may have had its end of the connection for a moment.
        const attempt = Effect.exit(Effect.flatMap(a.swarm.dial(atB), ({ awaitClosed }) => awaitClosed))
        for (let failed = 1; failed <= 20; failed++) {
          yield* attempt
          yield* turns()
          assert.strictEqual(yield* restarts, failed)
          // In the pause nobody is let in, and nothing is kept of who tries.
          yield* attempt
          assert.strictEqual(yield* restarts, failed)
          yield* TestClock.adjust("10 seconds")
          yield* turns()
        }
        assert.strictEqual((yield* inUse(b, "system"))["connections"], 0)
        const connection = yield* a.swarm.dial(atB)
        assert.strictEqual((yield* a.identify.identified(connection)).peer.toString(), b.swarm.peerId.toString())
      })
    )
  )
})

describe("a connection", () => {
  it.effect("that can take no streams any more, for a defect, is closed", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two(
          {},
          { below: withMuxer((connection) => ({ ...connection, acceptStream: Effect.die("a bug of the muxer's") })) }
        )
        const { awaitClosed } = yield* a.swarm.dial(atB)
        const closed = yield* Effect.forkChild(awaitClosed, { startImmediately: true })
        yield* turns()
        yield* TestClock.adjust("2 seconds")
        assert.isDefined(closed.pollUnsafe())
        assert.strictEqual((yield* inUse(b, "system"))["connections"], 0)
      })
    )
  )
})

describe("a handler", () => {
  it.effect("that fails, with whatever it fails, has not been refused its stream", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two()
        yield* b.protocols.handle("/fails/1", () => Effect.fail("no"))
        const stream = yield* a.swarm.openStream(atB, "/fails/1")
        yield* Effect.exit(Effect.andThen(stream.write(Buffer.from("x")), Effect.andThen(stream.read, stream.read)))
        yield* turns()
        const { handlersFailed, streamsRefused } = yield* b.swarm.counters
        assert.deepStrictEqual([handlersFailed, streamsRefused], [1, 0])
      })
    )
  )
})

describe("a listener", () => {
  it.effect("whose accept fails goes on after a moment", () =>
    run(
      Effect.gen(function* () {
        let failures = 5
        const outOfFiles = new TransportError({
          address: "/ip4/10.0.2.1/tcp/4001",
          reason: new NetworkFailure({
            cause: new NetError({
              operation: "accept",
              endpoint: undefined,
              reason: new SystemRefused({ code: "EMFILE" })
            })
          })
        })
        const { a, atB, b } = yield* two(
          {},
          {
            below: withListener((listener) => ({
              ...listener,
              accept: Effect.suspend(() => (failures-- > 0 ? Effect.fail(outOfFiles) : listener.accept))
            }))
          }
        )
        const dialing = yield* Effect.forkChild(a.swarm.dial(atB), { startImmediately: true })
        for (let i = 0; i < 5; i++) {
          yield* turns()
          assert.isUndefined(dialing.pollUnsafe())
          yield* TestClock.adjust("100 millis")
        }
        yield* a.identify.identified(yield* Fiber.join(dialing))
        assert.lengthOf(yield* b.swarm.listenAddresses, 2)
      })
    )
  )

  it.effect("that ends is no longer announced, and an event says so", () =>
    run(
      Effect.gen(function* () {
        const { a } = yield* two()
        const scope = yield* Scope.make()
        const opened = yield* a.swarm
          .listen(Multiaddr.fromStringUnsafe("/ip4/10.0.1.1/tcp/4002"))
          .pipe(Scope.provide(scope))
        const closed = yield* nextEvent(a, "ListenClosed")
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual((yield* Fiber.join(closed)).addresses.map(String), opened.map(String))
        assert.notInclude((yield* a.swarm.listenAddresses).map(String), "/ip4/10.0.1.1/tcp/4002")
      })
    )
  )
})

describe("a stream that is opened", () => {
  it.effect("on a connection whose remote answers nothing fails by the deadline, and leaves nothing", () =>
    run(
      Effect.gen(function* () {
        // The remote's muxer takes streams that nobody serves.
        const { a, atB } = yield* two(
          {},
          { below: withMuxer((connection) => ({ ...connection, acceptStream: Effect.never })) }
        )
        const connection = yield* a.swarm.dial(atB)
        const opening = yield* Effect.forkChild(Effect.flip(connection.openStream(["/one", "/two"])), {
          startImmediately: true
        })
        yield* turns()
        assert.isUndefined(opening.pollUnsafe())
        yield* TestClock.adjust("10 seconds")
        const error = yield* Fiber.join(opening)
        assert.deepStrictEqual(error.reason._tag === "NegotiationTimeout" && error.reason.afterMs, 10_000)
        assert.include(error.message, "no protocol agreed within 10000 ms")
        // The scope that it was opened in goes on; the stream does not.
        yield* turns()
        assert.strictEqual(connection.streamCount(), 0)
        assert.strictEqual((yield* inUse(a, "system"))["outbound streams"], 0)
      })
    )
  )

  it.effect("waits no longer than the deadline for room in the muxer either", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two({
          below: withMuxer((connection) => ({
            ...connection,
            openStream: Effect.never,
            tryOpenStream: () => undefined
          }))
        })
        const connection = yield* a.swarm.dial(atB)
        const opening = yield* Effect.forkChild(Effect.flip(connection.openStream("/one")), { startImmediately: true })
        yield* turns()
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(opening)).reason._tag, "NegotiationTimeout")
        assert.strictEqual((yield* inUse(a, "system"))["outbound streams"], 0)
      })
    )
  )
})

describe("a peer store that fails", () => {
  it.effect("fails no dial and no connection, and is told of once", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(String(message))
      })
      yield* Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const failure = Effect.fail(
          new PeerStoreError({ where: "peers.db", reason: new StorageFailed({ detail: "the disk is full" }) })
        )
        const full = Layer.effect(
          PeerStore,
          Effect.map(MemoryPeerStore.make(), (store) =>
            PeerStore.of({ ...store, get: () => failure, addresses: () => failure, addAddresses: () => failure })
          )
        )
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.1.1"]), peerStore: full })
        const b = yield* startNode({ seed: 2, listen, net: network.host(["10.0.2.1"]) })
        for (let i = 0; i < 3; i++) {
          const connection = yield* a.swarm.dial({ peer: b.swarm.peerId, addresses: yield* b.swarm.listenAddresses })
          yield* connection.close
        }
        assert.strictEqual((yield* Effect.flip(a.swarm.dial(b.swarm.peerId))).reason._tag, "NoAddresses")
        assert.deepStrictEqual(
          warnings.filter((text) => text.includes("the swarm goes on without the peer store")).length,
          1
        )
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
    })
  )
})
