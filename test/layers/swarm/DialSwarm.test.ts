/** The dial planner at work in whole nodes. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Net } from "../../../src/services/Net.ts"
import { type DialError, Swarm } from "../../../src/services/Swarm.ts"
import { silent, startNode } from "../../support/nodes.ts"

const at = Multiaddr.fromStringUnsafe
const run = <A, E>(test: Effect.Effect<A, E, Scope.Scope>) => test.pipe(Effect.scoped, Effect.provide(silent))
const tagsOf = (error: DialError) => error.attempts.map(({ reason }) => reason._tag)

/** What `effect` comes to while virtual time goes by. */
const within = <A, E, R>(effect: Effect.Effect<A, E, R>, ms: number) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust(ms)
    return yield* Fiber.join(fiber)
  })

describe("Dial in a swarm", () => {
  it(
    "an address that leads nowhere, in front of one that works, costs its delay and no more",
    simulate({ nodes: 3, link: { latencyMs: 5 } }, ({ network, nodes, world }) =>
      Effect.gen(function* () {
        const [a, b, c] = nodes
        if (b === undefined || c === undefined) return yield* Effect.die("no such node")
        const cost = Effect.fnUntraced(function* (addresses: ReadonlyArray<Multiaddr.Multiaddr>) {
          const before = world.timeline.now
          yield* a.run(
            Effect.gen(function* () {
              const swarm = yield* Swarm
              yield* swarm.dial({ peer: b.peerId, addresses })
              yield* Effect.ignore(swarm.disconnect(b.peerId))
            })
          )
          return world.timeline.now - before
        })
        // The third host says nothing any more.
        network.partition([a.host], [c.host])
        const dead = c.addresses().map((address) => Multiaddr.withoutPeer(address) ?? address)
        const live = b.addresses()
        const behind = yield* cost([...dead, ...live])
        const alone = yield* cost(live)
        assert.closeTo(behind - alone, 30, 1)
        // Now it is known which of them works.
        assert.closeTo(yield* cost([...dead, ...live]), alone, 0.01)
      })
    )
  )

  it.effect("a peer whose addresses all failed a moment ago is left alone, unless an address is given", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]) })
        const listen = ["/ip4/0.0.0.0/tcp/4001"]
        const b = yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
        const peer = b.swarm.peerId
        const address = at("/ip4/10.0.0.2/tcp/4001")
        yield* a.swarm.dial({ peer, addresses: [address] })
        yield* b.stop
        yield* within(a.swarm.disconnect(peer), 1000)
        assert.deepStrictEqual(tagsOf(yield* within(Effect.flip(a.swarm.dial(peer)), 0)), ["TransportFailed"])
        const backingOff = yield* within(Effect.flip(a.swarm.dial(peer)), 0)
        assert.deepStrictEqual(tagsOf(backingOff), ["BackingOff"])
        assert.include(backingOff.message, "/ip4/10.0.0.2/tcp/4001: failed a moment ago; tried again in")
        const asked = yield* within(Effect.flip(a.swarm.dial({ peer, addresses: [address] })), 0)
        assert.deepStrictEqual(tagsOf(asked), ["TransportFailed"])
        yield* startNode({ seed: 2, net: network.host(["10.0.0.2"]), listen })
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual((yield* within(a.swarm.dial(peer), 0)).remotePeer.toString(), peer.toString())
      })
    )
  )

  it.effect("a dial that takes too long ends with DialTimeout and how far each address came", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const options = { dialTimeout: "2 seconds" } as const
        const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]), swarm: options })
        const host = Context.get(yield* Layer.build(network.host(["10.0.0.2"])), Net)
        const listener = yield* host.listen({ host: "10.0.0.2", port: 4001 })
        yield* Effect.forkScoped(Effect.forever(listener.accept))
        const addresses = [at("/ip4/10.0.0.2/tcp/4001"), at("/ip4/10.0.0.2/tcp/9")]
        const peer = (yield* startNode({ seed: 3, net: network.host(["10.0.0.3"]) })).swarm.peerId
        const error = yield* within(Effect.flip(a.swarm.dial({ peer, addresses })), 2000)
        assert.deepStrictEqual(
          [error.reason._tag, ...tagsOf(error)],
          ["DialTimeout", "DeadlineExceeded", "TransportFailed"]
        )
        assert.include(error.message, "could not be reached within 2000 ms")
        assert.lengthOf(yield* a.swarm.connections(), 0)
      })
    )
  )
})
