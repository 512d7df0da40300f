import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as NodeNet from "../../src/layers/net/NodeNet.ts"
import { Net } from "../../src/services/Net.ts"
import type * as ProtocolStream from "../../src/services/ProtocolStream.ts"
import type { DialError } from "../../src/services/Swarm.ts"
import { usedBytes } from "../support/memory.ts"
import { startNode } from "../support/nodes.ts"
import { eventually, rawConnect, realNode, rogue, runNodes, silentListener, stillServes } from "../support/peers.ts"

const at = Multiaddr.fromStringUnsafe

/** Writes until its stream or its fiber ends; `count` is told of all that was taken. */
const flood = (stream: ProtocolStream.ProtocolStream, count: (bytes: number) => void) => {
  const block = new Uint8Array(16 * 1024)
  return Effect.forever(
    Effect.andThen(
      stream.write(block),
      Effect.sync(() => count(block.length))
    )
  )
}

/** Reads, and forgets, until the end. */
const drain = (stream: ProtocolStream.ProtocolStream, count: (bytes: number) => void) =>
  Effect.gen(function* () {
    for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) count(batch.length)
  })

const both = (stream: ProtocolStream.ProtocolStream, count: (bytes: number) => void) =>
  Effect.all([flood(stream, () => {}), drain(stream, count)], { concurrency: "unbounded", discard: true })

const stopsInTime = (stop: Effect.Effect<void>) => Effect.timeout(stop, "5 seconds")

/** Why the only attempt of a dial failed, down to the network's reason. */
const attempt = (error: DialError): string => {
  const [only, ...others] = error.attempts
  if (only === undefined || others.length > 0) return `${error.attempts.length} attempts`
  const { reason } = only
  if (reason._tag !== "TransportFailed") return reason._tag
  const { reason: inner } = reason.cause
  return inner._tag === "NetworkFailure" ? inner.cause.reason._tag : inner._tag
}

describe("a node's life", () => {
  it.live("200 starts and stops in one process: memory stays flat", () =>
    runNodes(
      Effect.gen(function* () {
        const peer = yield* realNode({ seed: 1 })
        let early = 0
        for (let round = 1; round <= 200; round++) {
          const node = yield* realNode({ seed: 2 })
          const connection = yield* node.swarm.dial(peer.address)
          yield* node.identify.identified(connection)
          yield* stopsInTime(node.stop)
          if (round === 50) early = yield* usedBytes
        }
        const growth = (yield* usedBytes) - early
        assert.isBelow(growth, 3_000_000, `150 rounds took ${growth} bytes`)
        assert.strictEqual((yield* peer.swarm.counters).inboundOpened, 200)
        yield* eventually(
          Effect.map(peer.swarm.connections(), (open) => open.length === 0),
          () => "the peer keeps connections"
        )
      })
    )
  )

  it.live("stops in time while a peer has completed nothing, and one that is being dialled says nothing", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        const sockets = yield* Effect.forEach([1, 2, 3], () => rawConnect(node.address))
        const nobody = yield* silentListener
        const dialing = yield* Effect.forkChild(Effect.exit(node.swarm.dial(nobody.address)), {
          startImmediately: true
        })
        yield* Effect.sleep(50)
        yield* stopsInTime(node.stop)
        assert.lengthOf(yield* node.actors.tree, 0)
        yield* eventually(
          () => sockets.every((socket) => socket.destroyed || socket.readableEnded),
          () => "sockets are left"
        )
        assert.isTrue((yield* Effect.timeout(Fiber.await(dialing), "5 seconds"))._tag === "Success")
      })
    )
  )

  it.live("stops in time while a peer that has finished the handshake reads nothing any more", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        let sent = 0
        yield* node.protocols.handle("/flood", (stream) => flood(stream, (bytes) => (sent += bytes)))
        const idle = yield* rogue(3, node.address)
        const greedy = yield* rogue(4, node.address)
        yield* greedy.open(1, "/flood", 0xf000_0000)
        yield* idle.frame(2, 1, 0, 7)
        yield* eventually(
          () => sent > 500_000,
          () => `only ${sent} bytes were taken`
        )
        yield* stopsInTime(node.stop)
        assert.lengthOf(yield* node.actors.tree, 0)
      })
    )
  )

  it.live("stops in time while streams are in full flow both ways, on both ends", () =>
    runNodes(
      Effect.gen(function* () {
        const a = yield* realNode({ seed: 1 })
        const b = yield* realNode({ seed: 2 })
        let received = 0
        const count = (bytes: number) => void (received += bytes)
        yield* b.protocols.handle("/both", (stream) => both(stream, count))
        const flows = yield* Effect.forEach([1, 2, 3, 4], () =>
          Effect.forkChild(
            Effect.exit(
              Effect.scoped(Effect.flatMap(a.swarm.openStream(b.address, "/both"), (stream) => both(stream, count)))
            )
          )
        )
        yield* eventually(
          () => received > 2_000_000,
          () => `only ${received} bytes came through`
        )
        yield* stopsInTime(b.stop)
        for (const flow of flows) {
          const exit = yield* Effect.timeout(Fiber.join(flow), "5 seconds")
          assert.include(JSON.stringify(exit), "StreamError")
        }
        yield* stopsInTime(a.stop)
        assert.lengthOf(yield* a.actors.tree, 0)
      })
    )
  )

  it.live("stops while it is being dialled by twenty, who stop as well", () =>
    runNodes(
      Effect.gen(function* () {
        const peer = yield* realNode({ seed: 1 })
        const nodes = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i + 10),
          (seed) => realNode({ seed })
        )
        const gate = yield* Deferred.make<void>()
        const dials = yield* Effect.forEach(nodes, (node) =>
          Effect.forkChild(Effect.exit(Effect.andThen(Deferred.await(gate), node.swarm.dial(peer.address))))
        )
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.yieldNow
        yield* Effect.all([stopsInTime(peer.stop), ...nodes.map((node) => stopsInTime(node.stop))], {
          concurrency: "unbounded"
        })
        yield* Effect.forEach(dials, (dial) => Effect.timeout(Fiber.await(dial), "5 seconds"))
        assert.lengthOf(yield* peer.actors.tree, 0)
      })
    )
  )

  it.live("a port that nobody listens on, a name that does not exist, and a silent listener are typed", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, swarm: { dialDeadline: 300 } })
        const gone = yield* realNode({ seed: 2 })
        yield* gone.stop
        assert.strictEqual(attempt(yield* Effect.flip(node.swarm.dial(gone.address))), "ConnectionRefused")
        // Where there is no resolver at all the look-up itself fails, or is not over by the deadline.
        const named = yield* Effect.flip(node.swarm.dial(at("/dns4/no-such-name.invalid/tcp/4001")))
        assert.include(["NameNotFound", "LookupFailed", "DeadlineExceeded"], attempt(named))
        const silent = yield* Effect.flip(node.swarm.dial((yield* silentListener).address))
        assert.strictEqual(attempt(silent), "DeadlineExceeded")
        assert.include(silent.message, "300 ms")
        yield* stillServes(yield* realNode({ seed: 3 }), node)
      })
    )
  )

  it.live("a name server that never answers ends by the dial's deadline, for each kind of name", () =>
    runNodes(
      Effect.gen(function* () {
        const deaf = Layer.effect(
          Net,
          Effect.map(NodeNet.make(), (net) =>
            Net.of({ ...net, lookup: () => Effect.never, lookupTxt: () => Effect.never })
          )
        )
        const node = yield* startNode({ seed: 1, net: deaf, swarm: { dialDeadline: 300 } })
        for (const address of ["/dnsaddr/no-such-name.invalid", "/dns4/no-such-name.invalid/tcp/1"]) {
          const dialing = Effect.flip(node.swarm.dial(at(address)))
          assert.strictEqual(attempt(yield* Effect.timeout(dialing, "5 seconds")), "DeadlineExceeded", address)
        }
      })
    )
  )

  it.live("a port in use is a ListenError that says so, and the node goes on", () =>
    runNodes(
      Effect.gen(function* () {
        const first = yield* realNode({ seed: 1 })
        const second = yield* startNode({ seed: 2, net: NodeNet.layer })
        const taken = Multiaddr.toEndpoint(first.address)
        const error = yield* Effect.flip(second.swarm.listen(at(`/ip4/127.0.0.1/tcp/${taken?.port ?? 0}`)))
        const { reason } = error
        assert.strictEqual(
          reason._tag === "TransportFailed" &&
            reason.cause.reason._tag === "NetworkFailure" &&
            reason.cause.reason.cause.reason._tag,
          "AddressInUse"
        )
        assert.include(error.message, "already in use")
        const foreign = yield* Effect.flip(second.swarm.listen(at("/ip4/192.0.2.1/tcp/0")))
        assert.include(foreign.message, "address not available")
        yield* second.swarm.listen(at("/ip4/127.0.0.1/tcp/0"))
        yield* stillServes(second, first)
      })
    )
  )

  it.live("a listener ends with its scope, its connections live on, and its port can be listened on again", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* startNode({ seed: 1, net: NodeNet.layer })
        const honest = yield* realNode({ seed: 2 })
        const scope = yield* Scope.make()
        const [address = at("/ip4/127.0.0.1/tcp/1")] = yield* Scope.provide(
          node.swarm.listen(at("/ip4/127.0.0.1/tcp/0")),
          scope
        )
        const pending = yield* rawConnect(address)
        const connection = yield* honest.swarm.dial(address)
        yield* stopsInTime(Scope.close(scope, Exit.void))
        assert.lengthOf(yield* node.swarm.listenAddresses, 0)
        assert.isAtLeast(yield* connection.ping, 0)
        const third = yield* realNode({ seed: 3 })
        assert.strictEqual(attempt(yield* Effect.flip(third.swarm.dial(address))), "ConnectionRefused")
        assert.deepStrictEqual((yield* node.swarm.listen(address)).map(String), [address.toString()])
        yield* stillServes(third, { ...node, address })
        pending.destroy()
      })
    )
  )
})
