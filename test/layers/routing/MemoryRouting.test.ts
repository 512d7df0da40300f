import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope, Stream } from "effect"
import { contentKey, peerRoutingSuite } from "../../../src/conformance/PeerRouting.ts"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import * as MemoryRouting from "../../../src/layers/routing/MemoryRouting.ts"
import { memoryNetwork, peerOf, routed } from "../../support/routing.ts"

const key = contentKey(0)
const network = memoryNetwork([0, 1, 2, 3, 4], key)

peerRoutingSuite(
  "memory",
  Effect.map(network, ({ peers, routing, silence }) => ({ routing: routing.peers, peers, silence }))
)

contentRoutingSuite(
  "memory",
  Effect.map(network, ({ others, routing, silence }) => ({
    routing: routing.content,
    key,
    providers: [routed(1), routed(2)],
    announces: { self: peerOf(0), other: others[0]?.content ?? assert.fail() },
    silence
  }))
)

describe("MemoryRouting", () => {
  it.effect("forgets a member and what it provides when its scope closes", () =>
    Effect.gen(function* () {
      const hub = yield* MemoryRouting.makeHub
      const scope = yield* Scope.make()
      const here = yield* MemoryRouting.make(hub, routed(1))
      const there = yield* Scope.provide(MemoryRouting.make(hub, routed(2)), scope)
      yield* there.content.provide(key)
      assert.lengthOf(yield* Stream.runCollect(here.content.findProviders(key)), 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Effect.flip(here.peers.findPeer(peerOf(2)))).reason._tag, "NobodyToAsk")
      assert.strictEqual(hub.providers.size, 0)
    })
  )
})
