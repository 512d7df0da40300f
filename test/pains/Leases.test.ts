/** Connections that close because nobody used them for a moment, or stay because nobody said otherwise. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { ConnectionManager, Libp2p, MemoryPeerStore, Swarm } from "../../src/index.ts"
import { type SimNode, simulate } from "../../src/testing.ts"
import { dial, nth } from "./kit.ts"

const connected = <R>(node: SimNode<R | Swarm.Swarm>) =>
  Effect.map(node.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.connections())), (connections) =>
    connections.map(({ remotePeer }) => remotePeer.toString())
  )

describe("24 keeping connections", () => {
  it(
    "24 a connection that nobody uses stays: there is no idle time-out to be surprised by",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const connection = yield* dial(a, b)
        yield* Effect.sleep("6 hours")
        assert.isAtLeast(yield* connection.ping, 40)
        assert.strictEqual((yield* dial(a, b)).id, connection.id)
      })
    )
  )

  it(
    "24 when there are too many, those without a lease go; a lease is a scope, and ends with it",
    simulate(
      {
        nodes: 7,
        layer: (node) =>
          Libp2p.layer({
            listen: ["/ip4/0.0.0.0/tcp/4001"],
            connectionManager: node.index === 0 ? { lowWater: 2, highWater: 4, grace: "10 seconds" } : {}
          }).pipe(Layer.provide(Libp2p.layerTcp), Layer.provideMerge(MemoryPeerStore.layer()))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [hub, ...others] = nodes
          const [one, two] = [nth(others, 0), nth(others, 1)]
          const leases = yield* Scope.make()
          const manager = yield* hub.get(ConnectionManager.ConnectionManager)
          yield* hub.run(Scope.provide(manager.protect(one.peerId), leases))
          yield* hub.run(Scope.provide(manager.protect(two.peerId), leases))
          for (const other of others) yield* dial(other, hub)
          yield* Effect.sleep("1 minute")
          const left = yield* connected(hub)
          assert.isAtMost(left.length, 4)
          assert.includeMembers(left, [one.peerId.toString(), two.peerId.toString()])
          // Down to the low mark: the leases hold, and the others are gone.
          yield* hub.run(manager.trim)
          assert.sameMembers(yield* connected(hub), [one.peerId.toString(), two.peerId.toString()])
          assert.sameMembers(Array.from((yield* hub.run(manager.status)).protected), [
            one.peerId.toString(),
            two.peerId.toString()
          ])
          yield* Scope.close(leases, Exit.void)
          assert.isFalse(manager.isProtected(one.peerId))
          // Others have leases now.
          const [three, four] = [nth(others, 2), nth(others, 3)]
          yield* Effect.gen(function* () {
            yield* hub.run(Scope.provide(manager.protect(three.peerId), yield* Effect.scope))
            yield* hub.run(Scope.provide(manager.protect(four.peerId), yield* Effect.scope))
            for (const other of [three, four]) yield* dial(other, hub)
            yield* Effect.sleep("1 minute")
            yield* hub.run(manager.trim)
            assert.sameMembers(yield* connected(hub), [three.peerId.toString(), four.peerId.toString()])
          }).pipe(Effect.scoped)
        })
    )
  )

  it(
    "24 a peer that is kept alive is connected again whenever it is gone, until the lease ends",
    simulate({ nodes: 2 }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        yield* dial(a, b)
        const lease = yield* Scope.make()
        const manager = yield* a.get(ConnectionManager.ConnectionManager)
        yield* a.run(Scope.provide(manager.keepAlive(b.peerId), lease))
        yield* faults.crash(b)
        yield* Effect.sleep("5 minutes")
        assert.isEmpty(yield* connected(a))
        yield* faults.restart(b)
        yield* Effect.sleep("10 minutes")
        assert.lengthOf(yield* connected(a), 1)
        yield* Scope.close(lease, Exit.void)
        yield* faults.crash(b)
        yield* Effect.sleep("5 minutes")
        yield* faults.restart(b)
        yield* Effect.sleep("1 hour")
        assert.isEmpty(yield* connected(a))
      })
    )
  )
})
