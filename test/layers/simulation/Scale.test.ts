/** What a node of a simulation costs, so that a thousand of them fit. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import process from "node:process"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Ping } from "../../../src/services/Ping.ts"

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** KiB in use after a collection. */
const heapKiB = (): number => {
  if (typeof collect !== "function") throw new Error("no garbage collector to call")
  collect()
  const { external, heapUsed } = process.memoryUsage()
  return (heapUsed + external) / 1024
}

const nodeCount = 100
/** A whole node, idle, takes about 170 KiB, and each end of a connection about 55. */
const mostKiBIdle = 400
const mostKiBConnected = 400

describe("a node of a simulation", () => {
  it("stays small, idle and with four ends of connections", () => {
    const before = heapKiB()
    let idle = 0
    let connected = 0
    simulate({ seed: 1, nodes: nodeCount }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* Effect.sleep("10 seconds")
        idle = heapKiB()
        yield* Effect.forEach(
          nodes,
          (node, index) =>
            Effect.forEach(
              [1, 2],
              (step) => {
                const target = nodes[(index + step) % nodeCount] ?? nodes[0]
                return node.run(
                  Effect.gen(function* () {
                    const ping = yield* Ping
                    yield* Stream.runDrain(
                      ping.ping({ peer: target.peerId, addresses: target.addresses() }, { count: 1 })
                    )
                  })
                )
              },
              { discard: true }
            ),
          { discard: true, concurrency: "unbounded" }
        )
        yield* Effect.sleep("1 minute")
        connected = heapKiB()
      })
    )()
    assert.isBelow((idle - before) / nodeCount, mostKiBIdle)
    assert.isBelow((connected - idle) / nodeCount, mostKiBConnected)
    // Or nothing was measured.
    assert.isAbove(connected, idle)
  }, 30_000)
})
