import { assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Layer, Stream } from "effect"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import { contentKey, peerRoutingSuite, type RunTest, stranger } from "../../../src/conformance/PeerRouting.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MdnsRouting from "../../../src/layers/routing/MdnsRouting.ts"
import { LocalNetwork } from "../../../src/services/LocalNetwork.ts"
import type { Net } from "../../../src/services/Net.ts"
import { knows, type Node, start } from "../mdns/nodes.ts"
import { makeSim, runIn } from "../simulation/net/harness.ts"

const key = contentKey(1)

/** Five nodes on a local network, of which two have the content of the key. */
const makeNetwork = (host: (address: string) => Layer.Layer<Net>, wait: Duration.Input) =>
  Effect.gen(function* () {
    const nodes: Array<Node> = []
    for (let n = 1; n <= 5; n++) nodes.push(yield* start({ seed: n, net: host(`10.0.0.${n}`), wait }))
    const [mine, b, c, ...others] = nodes
    if (mine === undefined || b === undefined || c === undefined) return yield* Effect.die("no network")
    yield* Effect.forEach(nodes, (node) => knows(node, ...nodes.filter((other) => other !== node)))
    yield* Effect.orDie(b.content.provide(key))
    yield* Effect.orDie(c.content.provide(key))
    const routed = (node: Node) => ({
      peer: node.routed.peer,
      addresses: node.routed.addresses.filter((address) => address.toString().startsWith("/ip4/10."))
    })
    return { mine, b, c, others, routed }
  })

const inMemory = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork()
  return yield* makeNetwork((address) => network.host([address]), "1 second")
})

/** In virtual time, on a wire that loses a tenth. */
const simulated = () => {
  let sim = makeSim()
  const run: RunTest = (test) => {
    sim = makeSim({ link: { latencyMs: { min: 0.2, mean: 1, max: 20 }, loss: 0.1 } })
    runIn(sim, test)
  }
  const network = Effect.suspend(() => makeNetwork((address) => sim.host({ addresses: [address] }).layer, "2 seconds"))
  return { network, options: { run } }
}

for (const { name, network, options } of [
  { name: "MdnsRouting, in memory", network: inMemory, options: { live: true } },
  { name: "MdnsRouting, simulated", ...simulated() }
]) {
  peerRoutingSuite(
    name,
    Effect.map(network, ({ b, c, mine, others, routed }) => ({
      routing: mine.peers,
      peers: [b, c, ...others].map(routed)
    })),
    options
  )

  contentRoutingSuite(
    name,
    Effect.map(network, ({ b, c, mine, routed }) => ({
      routing: mine.content,
      key,
      providers: [b, c].map(routed),
      announces: { self: mine.swarm.peerId, other: b.content }
    })),
    options
  )
}

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
      const { mine } = yield* inMemory
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

  it.effect("answers without end do not have all that is known gone through for each", () =>
    Effect.gen(function* () {
      let looks = 0
      const network = Layer.mock(LocalNetwork, {
        peers: Effect.sync(() => {
          looks++
          return []
        }),
        ask: () =>
          Stream.fromIterable(
            Array.from({ length: 1000 }, (_, n) => ({ peer: stranger(n + 1), addresses: [], content: undefined }))
          )
      })
      const { content } = yield* Effect.provide(MdnsRouting.make(), network)
      let told = 0
      const found = content.findProviders(key, { onProgress: () => void told++ })
      assert.strictEqual(yield* Stream.runCount(found), 1000)
      assert.strictEqual(told, 1000)
      assert.isAtMost(looks, 2)
    }).pipe(Effect.scoped)
  )
})
