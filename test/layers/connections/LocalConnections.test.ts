import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { stranger } from "../../../src/conformance/PeerRouting.ts"
import * as LocalConnections from "../../../src/layers/connections/LocalConnections.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { type LocalChange, LocalNetwork, type LocalPeer } from "../../../src/services/LocalNetwork.ts"
import { DialError, NoAddresses, Swarm } from "../../../src/services/Swarm.ts"

/** Somebody announces one new peer after the other, none of which is there. */
const flood = Effect.fnUntraced(function* (everyMs: number) {
  const present: Array<LocalPeer> = []
  const heard = yield* Queue.unbounded<LocalChange>()
  let looks = 0
  let dials = 0
  const network = Layer.mock(LocalNetwork, {
    peers: Effect.sync(() => {
      looks++
      return present.slice(-1024)
    }),
    changes: Stream.fromQueue(heard)
  })
  const swarm = Layer.mock(Swarm, {
    peerId: stranger(1),
    connections: () => Effect.succeed([]),
    forEachConnection: () => Effect.void,
    dial: () =>
      Effect.suspend(() => {
        dials++
        return Effect.fail(new DialError({ peer: "one that is not there", reason: new NoAddresses(), attempts: [] }))
      })
  })
  yield* Layer.build(
    LocalConnections.layer().pipe(
      Layer.provide(Layer.mergeAll(network, swarm, MemoryPeerStore.layer())),
      Layer.provide(NodeCrypto.layer)
    )
  )
  yield* Effect.sync(() => {
    const peer: LocalPeer = {
      peer: stranger(present.length + 2),
      addresses: [],
      services: [],
      firstMsAgo: 0,
      lastMsAgo: 0,
      forgottenInMs: 120_000
    }
    present.push(peer)
    Queue.offerUnsafe(heard, { _tag: "Appeared", peer })
  }).pipe(Effect.andThen(Effect.sleep(everyMs)), Effect.forever, Effect.forkScoped)
  return { dials: () => dials, looks: () => looks }
})

describe("connections with the local network", () => {
  it.effect("a flood of invented peers makes a node dial 32 at once and 15 a minute more, and no oftener look", () =>
    Effect.gen(function* () {
      const { dials, looks } = yield* flood(50)
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(dials(), 32)
      assert.isAtMost(dials(), 32 + 15 + 1)
      // Ten a second, the first at once.
      assert.isAtMost(looks(), 601)
      const before = dials()
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(dials() - before, 10)
      assert.isAtMost(dials() - before, 16)
    }).pipe(Effect.scoped)
  )
})
