/** Faults that simulations have found, each as the smallest run that shows it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../src/layers/peerstore/MemoryPeerStore.ts"
import type { WholeNode } from "../../src/layers/simulation/Nodes.ts"
import type { SimNode } from "../../src/layers/simulation/SimNode.ts"
import { simulate } from "../../src/layers/simulation/Simulate.ts"
import { Identify } from "../../src/services/Identify.ts"
import { PeerStore } from "../../src/services/PeerStore.ts"
import { Ping } from "../../src/services/Ping.ts"
import { Swarm } from "../../src/services/Swarm.ts"

type Node = SimNode<WholeNode>

const at = (node: Node) => ({ peer: node.peerId, addresses: node.addresses() })
const dial = (from: Node, to: Node) => from.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(at(to))))
const ping = (from: Node, to: Node) =>
  from.run(
    Effect.flatMap(Ping, (service) => Stream.runDrain(service.ping(at(to), { count: 1, deadline: "5 seconds" })))
  )
const pair = (nodes: ReadonlyArray<Node> & { readonly 0: Node }): readonly [Node, Node] => [
  nodes[0],
  nodes[1] ?? nodes[0]
]

/** A burst of four connections from one address, and room for four in all. */
const limited = Libp2p.layer({
  listen: ["/ip4/0.0.0.0/tcp/4001"],
  limits: { address: { ratePerSecond: 1, burst: 4 } },
  connectionManager: { lowWater: 3, highWater: 4, grace: "1 second" }
}).pipe(Layer.provide(Libp2p.layerTcp), Layer.provideMerge(MemoryPeerStore.layer()))

describe("faults that simulations found", () => {
  // Peers remembered 127.0.0.1 of each other, and so dialled themselves.
  it(
    "identify tells no loopback address over the network",
    simulate({ seed: 1, nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = pair(nodes)
        const told = yield* a.run(
          Effect.gen(function* () {
            const identify = yield* Identify
            const { listenAddresses } = yield* identify.identified(yield* (yield* Swarm).dial(at(b)))
            return [...listenAddresses, ...(yield* (yield* PeerStore).addresses(b.peerId))]
          })
        )
        assert.isAbove(told.length, 0)
        assert.deepEqual(told.filter(Multiaddr.isLoopback), [])
      })
    )
  )

  // From the ports that they listen on, TCP makes one connection of it, with a dialer at each end.
  it(
    "two nodes that dial each other at once both succeed",
    simulate({ seed: 1, nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = pair(nodes)
        yield* Effect.all([dial(a, b), dial(b, a)], { concurrency: 2 })
        yield* Effect.all([ping(a, b), ping(b, a)], { concurrency: 2 })
      })
    )
  )

  // Streams went to the older, dead connection until its keep-alive had failed.
  it(
    "a peer that has connected again is reached on the new connection",
    simulate({ seed: 1, nodes: 2 }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = pair(nodes)
        yield* ping(a, b)
        yield* faults.addressChange(b, ["10.9.9.9"])
        yield* ping(b, a)
        yield* ping(a, b)
      })
    )
  )

  // The bucket of an address fills with the time that has passed, which was that of the wall clock.
  it(
    "an address may connect again at its rate, also after the clock was set back",
    simulate({ seed: 1, nodes: 2, layer: () => limited }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = pair(nodes)
        const again = Effect.andThen(
          a.run(Effect.flatMap(Swarm, (swarm) => swarm.disconnect(b.peerId))),
          Effect.exit(dial(a, b))
        )
        while ((yield* again)._tag === "Success") {
          // Until the bucket is empty.
        }
        yield* faults.clockJump(b, -3_600_000)
        yield* Effect.sleep("5 seconds")
        assert.strictEqual((yield* again)._tag, "Success")
      })
    )
  )

  // The next trim was waited for until the wall clock had come to where it was at the last.
  it(
    "connections over the high watermark are closed, also after the clock was set back",
    simulate({ seed: 1, nodes: 12, layer: () => limited }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, ...others] = nodes
        const come = (some: ReadonlyArray<Node>) => Effect.forEach(some, (node) => dial(node, a), { discard: true })
        yield* come(others.slice(0, 5))
        yield* Effect.sleep("1 minute")
        yield* faults.clockJump(a, -3_600_000)
        yield* come(others.slice(5))
        yield* Effect.sleep("10 seconds")
        const open = yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.connections()))
        assert.isAtMost(open.length, 4)
      })
    )
  )
})
