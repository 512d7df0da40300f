import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { stranger } from "../../../src/conformance/PeerRouting.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as LocalConnections from "../../../src/layers/connections/LocalConnections.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { type LocalChange, LocalNetwork, type LocalPeer } from "../../../src/services/LocalNetwork.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { type Connection, DialError, NoAddresses, Swarm } from "../../../src/services/Swarm.ts"

const peerOf = (n: number): LocalPeer => ({
  peer: stranger(n),
  addresses: [],
  services: [],
  firstMsAgo: 0,
  lastMsAgo: 0,
  forgottenInMs: 120_000
})

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
    const peer = peerOf(present.length + 2)
    present.push(peer)
    Queue.offerUnsafe(heard, { _tag: "Appeared", peer })
  }).pipe(Effect.andThen(Effect.sleep(everyMs)), Effect.forever, Effect.forkScoped)
  return { dials: () => dials, looks: () => looks }
})

/** A second, and turns enough for what is woken at its end. */
const pass = Effect.repeat(TestClock.adjust(100), { times: 9 })

/** A peer that is connected is there, leaves and comes back; what it is worth when the layer has ended. */
const worthAtTheEnd = Effect.fnUntraced(function* () {
  const met = peerOf(2)
  let present: ReadonlyArray<LocalPeer> = [met]
  const heard = yield* Queue.unbounded<LocalChange>()
  const address = Multiaddr.fromStringUnsafe("/ip4/10.0.0.2/tcp/4001")
  const connection: Connection = {
    id: 1,
    remotePeer: met.peer,
    remoteAddress: address,
    localAddress: address,
    direction: "inbound",
    kind: { _tag: "Direct" },
    security: "/noise",
    muxer: "/yamux/1.0.0",
    earlyMuxer: true,
    openedAt: 0,
    streamCount: () => 0,
    openStream: () => Effect.never,
    ping: Effect.never,
    close: Effect.void,
    awaitClosed: Effect.never
  }
  const store = yield* Layer.build(MemoryPeerStore.layer().pipe(Layer.provide(NodeCrypto.layer)))
  const peerStore = Context.get(store, PeerStore)
  const network = Layer.mock(LocalNetwork, {
    peers: Effect.sync(() => present),
    changes: Stream.fromQueue(heard)
  })
  const swarm = Layer.mock(Swarm, {
    peerId: stranger(1),
    connections: () => Effect.succeed([connection]),
    forEachConnection: () => Effect.void
  })
  yield* Effect.gen(function* () {
    yield* Layer.build(
      LocalConnections.layer().pipe(Layer.provide(Layer.mergeAll(network, swarm, Layer.succeed(PeerStore, peerStore))))
    )
    yield* pass
    assert.strictEqual(peerStore.worth(met.peer), 20)
    present = []
    yield* Queue.offer(heard, { _tag: "Left", peer: met })
    yield* pass
    assert.strictEqual(peerStore.worth(met.peer), 0, "it has left")
    present = [met]
    yield* Queue.offer(heard, { _tag: "Appeared", peer: met })
    yield* pass
    assert.strictEqual(peerStore.worth(met.peer), 20)
  }).pipe(Effect.scoped)
  return peerStore.worth(met.peer)
})

describe("connections with the local network", () => {
  it.effect("are worth nothing more once the peer has left, though they are open, nor after the end of the layer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* worthAtTheEnd(), 0)
    }).pipe(Effect.scoped)
  )

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
