/** Announcing in the optimistic way, in whole networks in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Stream } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { PeerRouting, type RoutingProgress } from "../../../src/services/PeerRouting.ts"
import { at, content, idsOf, join, kadNode, type KadNode, statusOf } from "./network.ts"

const key = (n: number) => Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(n)])

/** Announces; gives how long it took, in virtual time, whom it told, and what it said on the way. */
const provide = (on: KadNode, n: number) =>
  Effect.gen(function* () {
    const steps: Array<RoutingProgress> = []
    const began = yield* Clock.currentTimeMillis
    const provided = yield* content(on, (routing) =>
      routing.provide(key(n), { onProgress: (step) => void steps.push(step) })
    )
    return { ...provided, steps, ms: (yield* Clock.currentTimeMillis) - began }
  })

const finds = (on: KadNode, n: number, provider: KadNode) =>
  Effect.gen(function* () {
    const found = yield* content(on, ({ findProviders }) => Stream.runCollect(findProviders(key(n))))
    return idsOf(found).includes(provider.peerId.toString())
  })

const median = (all: ReadonlyArray<number>): number => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0

describe("optimistic provide", () => {
  it(
    "takes less time and fewer questions than the classic way, and what it announces is found by all",
    // The first two are optimistic.
    simulate(
      {
        nodes: 24,
        cheapCrypto: true,
        layer: kadNode(({ index }) => ({ k: 4, alpha: 2, optimisticProvide: index < 2 }))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          yield* join(nodes)
          const [early, late, classic] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
          for (const node of [early, classic]) {
            for (let n = 100; n < 116; n++) {
              yield* node.run(Effect.flatMap(PeerRouting, ({ closestPeers }) => Stream.runDrain(closestPeers(key(n)))))
            }
          }
          const ms = { early: [] as Array<number>, classic: [] as Array<number> }
          const asked = { early: 0, classic: 0 }
          for (let n = 0; n < 12; n++) {
            for (const [way, node] of [
              ["early", early],
              ["classic", classic]
            ] as const) {
              const one = yield* provide(node, n)
              ms[way].push(one.ms)
              asked[way] += (one.steps.at(-1) ?? assert.fail("no progress was told")).asked
              assert.isAtLeast(one.holders + (one.pending ?? 0), 3)
            }
          }
          assert.isBelow(median(ms.early), median(ms.classic))
          assert.isBelow(asked.early, asked.classic)
          yield* Effect.sleep("5 seconds")
          for (let n = 0; n < 12; n++) {
            for (const i of [5, 17]) assert.isTrue(yield* finds(at(nodes, i), n, early), `key ${n} by ${i}`)
          }

          // It has not looked up anything: it does not know how large the network is, and does as all do.
          assert.isUndefined((yield* statusOf(late)).networkSize)
          assert.strictEqual((yield* provide(late, 1)).pending, 0)
        })
    ),
    60_000
  )
})
