import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import { contentKey, peerRoutingSuite, stranger } from "../../../src/conformance/PeerRouting.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { knows, type Node, start } from "../mdns/nodes.ts"

const key = contentKey(1)

/** Five nodes on a local network, of which two have the content of the key. */
const makeNetwork = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  const nodes: Array<Node> = []
  for (let n = 1; n <= 5; n++) {
    nodes.push(yield* start({ seed: n, net: network.host([`10.0.0.${n}`]), wait: "300 millis" }))
  }
  const [mine, b, c, ...others] = nodes
  if (mine === undefined || b === undefined || c === undefined) return yield* Effect.die("no network")
  yield* Effect.forEach(nodes, (node) => knows(node, ...nodes.filter((other) => other !== node)))
  yield* Effect.orDie(b.content.provide(key))
  yield* Effect.orDie(c.content.provide(key))
  // Those that provide are found by what answers, not by what is remembered.
  const routed = (node: Node) => ({
    peer: node.routed.peer,
    addresses: node.routed.addresses.filter((address) => address.toString().startsWith("/ip4/10."))
  })
  return { mine, b, c, others, routed }
})

peerRoutingSuite(
  "MdnsRouting",
  Effect.map(makeNetwork, ({ b, c, mine, others, routed }) => ({
    routing: mine.peers,
    peers: [b, c, ...others].map(routed)
  })),
  { live: true }
)

contentRoutingSuite(
  "MdnsRouting",
  Effect.map(makeNetwork, ({ b, c, mine, routed }) => ({
    routing: mine.content,
    key,
    providers: [b, c].map(routed),
    announces: { self: mine.swarm.peerId, other: b.content }
  })),
  { live: true }
)

describe("MdnsRouting", () => {
  it.live("a question that nobody answers ends with its deadline, and with nobody there it says so", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const alone = yield* start({ seed: 1, net: network.host(["10.0.0.1"]), wait: "100 millis" })
      const reasonOf = (question: Effect.Effect<unknown, { readonly reason: { readonly _tag: string } }>) =>
        Effect.map(Effect.flip(question), ({ reason }) => reason._tag)
      assert.strictEqual(yield* reasonOf(alone.peers.findPeer(stranger(1))), "NobodyToAsk")
      assert.strictEqual(yield* reasonOf(Stream.runDrain(alone.content.findProviders(key))), "NobodyToAsk")
      assert.strictEqual(yield* reasonOf(Stream.runDrain(alone.peers.closestPeers(key))), "NobodyToAsk")
      const late = alone.peers.findPeer(stranger(1), { deadline: "20 millis" })
      assert.strictEqual(yield* reasonOf(late), "RoutingTimeout")
      // Whoever comes later finds it.
      assert.deepStrictEqual(yield* alone.content.provide(key), { holders: 0 })
      const other = yield* start({ seed: 2, net: network.host(["10.0.0.2"]), wait: "300 millis" })
      const found = yield* Stream.runCollect(other.content.findProviders(key))
      assert.deepStrictEqual(
        found.map(({ peer }) => peer.toString()),
        [alone.swarm.peerId.toString()]
      )
    }).pipe(Effect.scoped)
  )

  it.live("many who ask for one key share one question", () =>
    Effect.gen(function* () {
      const { mine } = yield* makeNetwork
      const sent = Effect.map(mine.network.status, ({ counters }) => counters.sent)
      const before = yield* sent
      const counts = yield* Effect.all(
        Array.from({ length: 50 }, () => Stream.runCount(mine.content.findProviders(key))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        counts,
        Array.from({ length: 50 }, () => 2)
      )
      // Its own announcements and queries are among them.
      assert.isBelow((yield* sent) - before, 15)
    }).pipe(Effect.scoped)
  )
})
