import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { Net } from "../../../src/services/Net.ts"
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

const run = <A, E>(test: Effect.Effect<A, E, Scope.Scope>) => test.pipe(Effect.scoped, Effect.provide(silent))

describe("dialling", () => {
  it.live("one dial is shared by all who ask at the same time, and the connection is reused", () =>
    run(
      Effect.gen(function* () {
        const { a, b, atB } = yield* two
        const connections = yield* Effect.forEach(Array.from({ length: 50 }), () => a.swarm.dial(atB), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(connections.map((connection) => connection.id)).size, 1)
        assert.strictEqual((yield* a.swarm.dial(b.swarm.peerId)).id, connections[0]?.id)
        yield* Effect.sleep(20)
        assert.lengthOf(yield* b.swarm.connections(), 1)
        assert.strictEqual((yield* a.swarm.counters).outboundOpened, 1)
      })
    )
  )

  it.live("a peer whose id is not the one dialled is refused, and the error says both", () =>
    run(
      Effect.gen(function* () {
        const { a, b } = yield* two
        const third = yield* startNode({ seed: 3, net: (yield* MemoryNet.makeNetwork()).host(["10.0.0.3"]) })
        const wrong = Multiaddr.fromStringUnsafe(`/ip4/10.0.0.2/tcp/4001/p2p/${third.swarm.peerId.toString()}`)
        const error = yield* Effect.flip(a.swarm.dial(wrong))
        assert.strictEqual(error.reason._tag, "AllFailed")
        const reason = error.attempts[0]?.reason
        assert.strictEqual(reason?._tag === "SecurityFailed" && reason.cause.reason._tag, "WrongPeer")
        assert.include(error.message, b.swarm.peerId.toString())
        assert.include(error.message, third.swarm.peerId.toString())
        assert.lengthOf(yield* a.swarm.connections(), 0)
      })
    )
  )

  it.live("dialling oneself is refused, by id and by address", () =>
    run(
      Effect.gen(function* () {
        const { a } = yield* two
        assert.strictEqual((yield* Effect.flip(a.swarm.dial(a.swarm.peerId))).reason._tag, "DialSelf")
        const byAddress = yield* Effect.flip(a.swarm.dial(Multiaddr.fromStringUnsafe("/ip4/10.0.0.1/tcp/4001")))
        assert.strictEqual(byAddress.reason._tag, "DialSelf")
        // The other end of that connection is here too, and hears of its end a few turns later.
        yield* eventually(
          Effect.map(a.swarm.connections(), (open) => open.length === 0),
          () => "a connection with itself is left"
        )
      })
    )
  )

  it.live("DialError has the reason of each address", () =>
    run(
      Effect.gen(function* () {
        const { a, b } = yield* two
        const error = yield* Effect.flip(
          a.swarm.dial({
            peer: b.swarm.peerId,
            addresses: ["/ip4/10.0.0.2/tcp/9", "/ip4/10.9.9.9/tcp/4001", "/memory/1"].map(Multiaddr.fromStringUnsafe)
          })
        )
        assert.deepStrictEqual(
          error.attempts.map(({ address, reason }) => [
            address,
            reason._tag === "TransportFailed" && reason.cause.reason._tag === "NetworkFailure"
              ? reason.cause.reason.cause.reason._tag
              : reason._tag
          ]),
          [
            ["/ip4/10.0.0.2/tcp/9", "ConnectionRefused"],
            ["/ip4/10.9.9.9/tcp/4001", "Unreachable"],
            ["/memory/1", "NoTransport"]
          ]
        )
        assert.strictEqual((yield* Effect.flip(a.swarm.dial(b.swarm.peerId))).reason._tag, "NoAddresses")
      })
    )
  )

  it.live("the second address is used when the first fails", () =>
    run(
      Effect.gen(function* () {
        const { a, b } = yield* two
        const connection = yield* a.swarm.dial({
          peer: b.swarm.peerId,
          addresses: ["/ip4/10.0.0.2/tcp/9", "/ip4/10.0.0.2/tcp/4001"].map(Multiaddr.fromStringUnsafe)
        })
        assert.strictEqual(connection.remoteAddress.toString(), "/ip4/10.0.0.2/tcp/4001")
      })
    )
  )

  it.live("a dnsaddr leads to the addresses of the peer that was asked for", () =>
    run(
      Effect.gen(function* () {
        const seed = yield* startNode({ seed: 2, net: (yield* MemoryNet.makeNetwork()).host(["10.0.0.9"]) })
        const peer = seed.swarm.peerId.toString()
        const network = yield* MemoryNet.makeNetwork({
          names: {
            "_dnsaddr.example.org": {
              txt: [
                "dnsaddr=/dnsaddr/nested.example.org",
                "not a dnsaddr",
                "dnsaddr=/ip4/10.0.0.7/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
              ]
            },
            "_dnsaddr.nested.example.org": { txt: [`dnsaddr=/ip4/10.0.0.2/tcp/4001/p2p/${peer}`] }
          }
        })
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]) })
        const b = yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
        assert.strictEqual(b.swarm.peerId.toString(), peer)
        const connection = yield* a.swarm.dial(Multiaddr.fromStringUnsafe(`/dnsaddr/example.org/p2p/${peer}`))
        assert.strictEqual(connection.remotePeer.toString(), peer)
        const missing = yield* Effect.flip(a.swarm.dial(Multiaddr.fromStringUnsafe("/dnsaddr/nothing.example.org")))
        assert.strictEqual(missing.attempts[0]?.reason._tag, "UnresolvedName")
      })
    )
  )

  it.effect("a listener that never answers is a DialError with the stage and the deadline", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]), swarm: { dialDeadline: "3 seconds" } })
        const silentHost = Context.get(yield* Layer.build(network.host(["10.0.0.2"])), Net)
        const listener = yield* silentHost.listen({ host: "10.0.0.2", port: 4001 })
        yield* Effect.forkScoped(Effect.forever(listener.accept))
        const dialing = yield* Effect.forkChild(
          Effect.flip(a.swarm.dial(Multiaddr.fromStringUnsafe("/ip4/10.0.0.2/tcp/4001"))),
          { startImmediately: true }
        )
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow
        yield* TestClock.adjust("3 seconds")
        const error = yield* Fiber.join(dialing)
        const reason = error.attempts[0]?.reason
        assert.deepStrictEqual(reason?._tag === "DeadlineExceeded" && [reason.stage, reason.afterMs], [
          "securing",
          3000
        ])
      })
    )
  )

  it.live("an interrupted dial leaves nothing behind", () =>
    run(
      Effect.gen(function* () {
        const { a, atB } = yield* two
        const dialing = yield* Effect.forkChild(a.swarm.dial(atB), { startImmediately: true })
        const exit = yield* Effect.andThen(Fiber.interrupt(dialing), Fiber.await(dialing))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        yield* Effect.sleep(20)
        assert.isAtMost((yield* a.swarm.connections()).length, 1)
      })
    )
  )

  /** Hosts that accept connections and never say a word. */
  const silentHosts = Effect.fnUntraced(function* (network: MemoryNet.Network, count: number) {
    const hosts = Array.from({ length: count }, (_, i) => `10.0.1.${i + 1}`)
    const net = Context.get(yield* Layer.build(network.host(hosts)), Net)
    for (const host of hosts) {
      const listener = yield* net.listen({ host, port: 4001 })
      yield* Effect.forkScoped(Effect.forever(listener.accept))
    }
    return hosts.map((host) => Multiaddr.fromStringUnsafe(`/ip4/${host}/tcp/4001`))
  })

  it.live("addresses that do not answer hold up no other", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two
        const silent = yield* silentHosts(network, 6)
        const connection = yield* a.swarm.dial({ peer: b.swarm.peerId, addresses: [...silent, atB] })
        assert.strictEqual(connection.remoteAddress.toString(), "/ip4/10.0.0.2/tcp/4001")
        assert.strictEqual((yield* a.swarm.counters).outboundOpened, 1)
      })
    )
  )

  it.live("who joins a dial brings its addresses along", () =>
    run(
      Effect.gen(function* () {
        const { a, atB, b, network } = yield* two
        const addresses = yield* silentHosts(network, 1)
        const first = yield* Effect.forkChild(a.swarm.dial({ peer: b.swarm.peerId, addresses }), {
          startImmediately: true
        })
        yield* Effect.sleep(20)
        const second = yield* a.swarm.dial({ peer: b.swarm.peerId, addresses: [atB] })
        assert.strictEqual((yield* Fiber.join(first)).id, second.id)
      })
    )
  )

  it.live("a node stops at any moment of a dial", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
        for (let turns = 0; turns < 40; turns += 3) {
          const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]) })
          const dialing = yield* Effect.forkChild(
            Effect.exit(a.swarm.dial(Multiaddr.fromStringUnsafe("/ip4/10.0.0.2/tcp/4001"))),
            { startImmediately: true }
          )
          for (let i = 0; i < turns; i++) yield* Effect.yieldNow
          yield* Effect.timeoutOrElse(a.stop, {
            duration: "5 seconds",
            orElse: () => Effect.die(`hangs after ${turns} turns`)
          })
          yield* Effect.timeoutOrElse(Fiber.join(dialing), {
            duration: "5 seconds",
            orElse: () => Effect.die(`a dial hangs after ${turns} turns`)
          })
        }
      })
    )
  )
})
