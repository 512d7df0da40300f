/** Dials that go one address after the other, in the wrong order, to connections that are dead, or that nobody asked for. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Multiaddr, PeerStore, Ping, Swarm } from "../../src/index.ts"
import { simulate } from "../../src/testing.ts"
import { at, dial, nth, timed } from "./kit.ts"

describe("9 dialling", () => {
  it(
    "9 addresses that are dead cost a fraction of a second together, not a time-out each",
    simulate({ nodes: 3 }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b, c] = [nth(nodes, 0), nth(nodes, 1), nth(nodes, 2)]
        yield* faults.addressChange(c, ["10.7.0.1", "10.7.1.1", "10.7.2.1", "10.7.3.1", "10.7.4.1"])
        yield* faults.partition([a], [c])
        const addresses = [...c.addresses(), ...b.addresses()].map((one) => Multiaddr.withoutPeer(one) ?? one)
        const { ms, result } = yield* timed(
          a.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses })))
        )
        if (result._tag === "Failure") return assert.fail(result.failure.message)
        assert.strictEqual(result.success.remoteAddress.toString(), "/ip4/10.0.1.1/tcp/4001")
        assert.isBelow(ms, 1000)
      })
    )
  )

  it(
    "9 the near address is used before the far one, however they are listed",
    simulate({ nodes: 2 }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        yield* faults.addressChange(b, ["198.51.100.7", "10.0.1.1"])
        const { remoteAddress } = yield* dial(a, b)
        assert.strictEqual(remoteAddress.toString(), "/ip4/10.0.1.1/tcp/4001")
      })
    )
  )

  it(
    "9 a dead connection is not handed out for long: a peer that crashed and is back is reached",
    simulate({ nodes: 2 }, ({ eventually, faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const ping = a.run(
          Effect.flatMap(Ping.Ping, (service) =>
            Stream.runDrain(service.ping(at(b), { count: 1, deadline: "5 seconds" }))
          )
        )
        yield* ping
        yield* faults.crash(b)
        yield* Effect.sleep("1 second")
        yield* faults.restart(b)
        yield* eventually("it is reached", ping, "1 minute")
        const connections = yield* a.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.connections(b.peerId)))
        assert.lengthOf(connections, 1)
      })
    )
  )

  it(
    "9 nobody is dialled unless somebody asked: what a node learns of others makes no connection",
    simulate({ nodes: 6 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [hub, ...others] = nodes
        yield* Effect.forEach(others, (node) => dial(node, hub), { concurrency: "unbounded" })
        yield* Effect.sleep("1 minute")
        yield* hub.run(
          Effect.gen(function* () {
            const [store, swarm] = [yield* PeerStore.PeerStore, yield* Swarm.Swarm]
            for (const { peerId } of others) {
              assert.isNotEmpty(yield* store.addresses(peerId))
              yield* swarm.disconnect(peerId)
            }
          })
        )
        yield* Effect.sleep("12 hours")
        for (const node of nodes) {
          const { connections, outboundOpened } = yield* node.run(
            Effect.flatMap(Swarm.Swarm, (swarm) =>
              Effect.all({
                connections: swarm.connections(),
                outboundOpened: Effect.map(swarm.counters, (counters) => counters.outboundOpened)
              })
            )
          )
          assert.lengthOf(connections, 0)
          assert.strictEqual(outboundOpened, node === hub ? 0 : 1)
        }
      })
    )
  )
})
