/** What ends in the middle of something else: dials, restarts and stops that meet. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Multiaddr } from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import { Tasks } from "../../../src/layers/swarm/Tasks.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { StreamMuxer } from "../../../src/services/StreamMuxer.ts"
import { Transport } from "../../../src/services/Transport.ts"
import { at, listen, run, turns, two } from "../../support/memory-nodes.ts"
import type { TestNode } from "../../support/nodes.ts"

const peer = (n: number): PeerId.PeerId =>
  Result.getOrThrow(
    PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 30 }, () => 0), n >> 8, n & 255))
  )

/** TCP with dials to some addresses that are never answered, and a swarm's actor that fails when `breaks` says so. */
const below = (silent: (address: Multiaddr) => boolean, breaks: () => boolean = () => false) =>
  Layer.mergeAll(
    Noise.layer,
    Layer.effect(
      Transport,
      Effect.map(Transport, ({ transports }) => ({
        transports: transports.map((transport) => ({
          ...transport,
          dial: (address, how) => (silent(address) ? Effect.never : transport.dial(address, how))
        }))
      }))
    ).pipe(Layer.provide(Tcp.layer)),
    Layer.effect(
      StreamMuxer,
      Effect.map(StreamMuxer, ({ protocols }) => ({
        protocols: protocols.map((protocol) => ({
          ...protocol,
          make: (secured, how) =>
            Effect.map(protocol.make(secured, how), (connection) => ({
              ...connection,
              // Read by the swarm's actor when it takes the connection over.
              get isOpen() {
                if (breaks()) throw new Error("a bug of the muxer's")
                return connection.isOpen
              }
            }))
        }))
      }))
    ).pipe(Layer.provide(Yamux.layer()))
  )

/** The actors beneath the swarm's, by name. */
const connectionsOf = (node: TestNode) =>
  Effect.map(node.actors.tree, (tree) =>
    (tree.find(({ name }) => name === "swarm")?.children ?? []).map(({ name, state }) => `${name} ${state}`)
  )

describe("a swarm that starts again", () => {
  it.effect("is not held up by the dials that end with the run, however many", () =>
    run(
      Effect.gen(function* () {
        let broken = 0
        const { a, atA, b } = yield* two({
          below: below(
            (address) => address.toString().includes("9.9.9.9"),
            () => broken-- > 0
          )
        })
        const dials = yield* Effect.forEach(
          Array.from({ length: 550 }, (_, i) => peer(i)),
          (to) => Effect.forkChild(Effect.exit(a.swarm.dial({ peer: to, addresses: [at("9.9.9.9")] })))
        )
        yield* turns(300)
        broken = 1
        yield* Effect.exit(b.swarm.dial(atA))
        yield* turns(300)
        for (const exit of yield* Effect.forEach(dials, (fiber) => Effect.sync(() => fiber.pollUnsafe()))) {
          assert.isDefined(exit, "every asker is told that its dial was lost")
        }
        yield* TestClock.adjust("1 second")
        yield* b.swarm.disconnect(a.swarm.peerId)
        const again = yield* Effect.forkChild(b.swarm.dial(atA))
        yield* turns(200)
        const exit = again.pollUnsafe()
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
        assert.lengthOf(yield* a.swarm.connections(), 1)
      })
    )
  )
})

describe("a dial", () => {
  it.effect("that is given up as it succeeds leaves nothing", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two()
        const ghosts: Array<string> = []
        // In each of the turns from the handshake to the connection.
        for (let after = 0; after < 12; after++) {
          const dialing = yield* Effect.forkChild(a.swarm.dial(atB), { startImmediately: true })
          yield* Effect.repeat(Effect.yieldNow, { times: after })
          yield* Fiber.interrupt(dialing)
          yield* turns()
          for (const connection of yield* a.swarm.connections()) yield* connection.close
          yield* turns()
          for (const name of yield* connectionsOf(a)) ghosts.push(`${after}: ${name}`)
        }
        assert.deepStrictEqual(ghosts, [])
      })
    )
  )

  it.effect("that fails while the peer has connected gives that connection", () =>
    run(
      Effect.gen(function* () {
        const { a, atA, b } = yield* two({ below: below((address) => address.toString().includes("10.0.2.1")) })
        const dialing = yield* Effect.forkChild(a.swarm.dial({ peer: b.swarm.peerId, addresses: [at("10.0.2.1")] }), {
          startImmediately: true
        })
        yield* turns()
        yield* b.swarm.dial(atA)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(dialing)).direction, "inbound")
      })
    )
  )
})

describe("a peer store that does not answer", () => {
  it.effect("holds a dial up no longer than the time for one", () =>
    run(
      Effect.gen(function* () {
        const stuck = Layer.effect(
          PeerStore,
          Effect.map(MemoryPeerStore.make(), (store) => PeerStore.of({ ...store, get: () => Effect.never }))
        )
        const { a, atB } = yield* two({ peerStore: stuck })
        const dialing = yield* Effect.forkChild(a.swarm.dial(atB), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* turns(200)
        const exit = dialing.pollUnsafe()
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
      })
    )
  )
})

describe("a node that stops", () => {
  it.effect("does not wait for a handler that waits for its remote even when it is interrupted", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two()
        yield* b.protocols.handle("/slow/1", (stream) =>
          Effect.onInterrupt(Effect.never, () => Effect.ignore(Effect.andThen(stream.read, stream.read)))
        )
        const stream = yield* a.swarm.openStream(atB, "/slow/1")
        yield* stream.write(Buffer.from("x"))
        yield* turns()
        const stopping = yield* Effect.forkChild(b.stop, { startImmediately: true })
        yield* turns()
        yield* TestClock.adjust("30 seconds")
        yield* turns()
        assert.isDefined(stopping.pollUnsafe())
      })
    )
  )
})

describe("a task for each connection", () => {
  it.effect("that throws is a failure of its own, and no connection ends of it", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b } = yield* two()
        yield* b.swarm.forEachConnection((): Effect.Effect<void> => {
          throw new Error("a bug of the task's")
        })
        const connection = yield* a.swarm.dial(atB)
        yield* a.identify.identified(connection)
        const swarm = (yield* b.actors.tree).find(({ name }) => name === "swarm")
        assert.strictEqual(swarm?.restarts, 0)
      })
    )
  )

  it.effect("runs once for a connection that opens while it is registered", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two({}, { listen })
        const connection = yield* a.swarm.dial(atB)
        const scope = yield* Scope.make()
        const entry = {
          connection,
          scope,
          isOpen: () => true,
          streamsBegun: () => 0,
          standing: { successor: undefined }
        }
        let ran = 0
        const tasks = new Tasks()
        yield* tasks.register(
          () => Effect.sync(() => void ran++),
          () => [entry]
        )
        yield* tasks.startFor(entry)
        yield* turns()
        assert.strictEqual(ran, 1)
      })
    )
  )
})
