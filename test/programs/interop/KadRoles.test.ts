/** The roles of the kad-dht test, each on a node of its own, in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { wholeNode } from "../../../src/layers/simulation/Nodes.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import type { NodeInfo, SimNode } from "../../../src/layers/simulation/SimNode.ts"
import { readKad } from "../../../src/programs/interop/Environment.ts"
import * as KadRoles from "../../../src/programs/interop/KadRoles.ts"

const node = (info: NodeInfo) =>
  KadRoles.layer(KadRoles.roles[info.index] ?? "querier").pipe(Layer.provideMerge(wholeNode(info)))
type Node = SimNode<Layer.Success<ReturnType<typeof node>>>

const memoryBoard = () => {
  const values = new Map<string, string>()
  const board: KadRoles.Board = {
    set: (key, value) => Effect.sync(() => void values.set(key, value)),
    get: (key) => Effect.sync(() => values.get(key))
  }
  return { values, board }
}

const play = (nodes: ReadonlyArray<Node>, index: number, board: KadRoles.Board, testKey = "a5b50d5e") => {
  const one = nodes[index] ?? assert.fail(`no node ${index}`)
  const role = KadRoles.roles[index] ?? assert.fail(`no role ${index}`)
  const [address] = one.addresses()
  const text = address === undefined ? assert.fail("no address") : Multiaddr.withPeer(address, one.peerId).toString()
  return one.run(KadRoles.play(role, board, testKey, text))
}

describe("the kad-dht test", () => {
  it(
    "passes, in whatever order the roles begin",
    simulate({ nodes: 3, layer: node }, ({ nodes }) =>
      Effect.gen(function* () {
        const { board, values } = memoryBoard()
        const querier = yield* Effect.forkChild(play(nodes, 2, board))
        const provider = yield* Effect.forkChild(play(nodes, 1, board))
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual([...values], [])
        yield* play(nodes, 0, board)
        yield* Fiber.join(provider)
        yield* Fiber.join(querier)
        assert.deepStrictEqual([...values.keys()], ["a5b50d5e_bootstrap_addr", "a5b50d5e_provider_done"])
        assert.match(values.get("a5b50d5e_bootstrap_addr") ?? "", /\/tcp\/\d+\/p2p\/12D3/)
      })
    )
  )

  it(
    "fails when there is nothing to find, though somebody said that there is",
    simulate({ nodes: 3, layer: node }, ({ nodes }) =>
      Effect.gen(function* () {
        const { board } = memoryBoard()
        yield* play(nodes, 0, board)
        yield* board.set("a5b50d5e_provider_done", "done")
        const failed = yield* Effect.flip(play(nodes, 2, board))
        assert.strictEqual(failed instanceof KadRoles.RoleFailed && failed.detail, "nobody provides the content")
      })
    )
  )

  it.effect("reads its variables, and says which is wrong", () =>
    Effect.gen(function* () {
      const read = yield* readKad({ ROLE: "provider", REDIS_ADDR: "redis:1234", TEST_KEY: "k" })
      assert.deepInclude(read, { role: "provider", redis: { host: "redis", port: 1234 }, testKey: "k", ip: "0.0.0.0" })
      const wrong = (variables: Record<string, string>) => Effect.map(Effect.flip(readKad(variables)), String)
      assert.include(yield* wrong({ ROLE: "provider" }), "TEST_KEY")
      assert.include(yield* wrong({ TEST_KEY: "k" }), "bootstrap, provider, querier")
      assert.include(yield* wrong({ TEST_KEY: "k", ROLE: "relay" }), "relay")
      assert.include(yield* wrong({ TEST_KEY: "k", ROLE: "querier", TEST_TIMEOUT_SECS: "0" }), "TEST_TIMEOUT_SECS")
    })
  )
})
