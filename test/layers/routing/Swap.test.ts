/** One application under each routing: what differs is a layer. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { contentKey } from "../../../src/conformance/PeerRouting.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as KadRouting from "../../../src/layers/kad/KadRouting.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MdnsNetwork from "../../../src/layers/mdns/MdnsNetwork.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import * as CompositeRouting from "../../../src/layers/routing/CompositeRouting.ts"
import * as DelegatedRouting from "../../../src/layers/routing/DelegatedRouting.ts"
import * as MdnsRouting from "../../../src/layers/routing/MdnsRouting.ts"
import { ContentRouting } from "../../../src/services/ContentRouting.ts"
import type { Net } from "../../../src/services/Net.ts"
import { PeerRouting, type RoutedPeer, type RoutingError } from "../../../src/services/PeerRouting.ts"
import { Ping } from "../../../src/services/Ping.ts"
import * as Routing from "../../../src/services/Routing.ts"
import { Swarm } from "../../../src/services/Swarm.ts"

const key = contentKey(3)

// ---- the application

/** A routing that has just started may know nobody yet. */
const once = <A>(question: Effect.Effect<A, RoutingError>) =>
  Effect.retry(question, {
    while: ({ reason }) => reason._tag !== "RoutingUnsupported",
    schedule: Schedule.spaced("50 millis"),
    times: 60
  })

/** Says that it has the content, where the routing can say it. */
const give = Effect.flatMap(ContentRouting, ({ provide }) => Effect.ignore(once(provide(key))))

/** Finds who has the content, looks up where that peer is, and talks to it. */
const take = Effect.gen(function* () {
  const { findProviders } = yield* ContentRouting
  const { findPeer } = yield* PeerRouting
  const head = Effect.flatMap(Stream.runHead(findProviders(key, { deadline: "5 seconds" })), (found) =>
    found._tag === "Some" ? Effect.succeed(found.value) : Effect.fail("nobody yet" as const)
  )
  const { peer } = yield* Effect.retry(head, { schedule: Schedule.spaced("50 millis"), times: 60 })
  const ping = yield* Ping
  yield* Stream.runDrain(ping.ping(yield* once(findPeer(peer)), { count: 1 }))
  return peer.toString()
})

// ---- the ways to route it

type Needs = KadRouting.Needs | Net
type Way = Layer.Layer<ContentRouting | PeerRouting, unknown, Needs>

const node = (seed: number, network: MemoryNet.Network, way: Way) =>
  way.pipe(
    Layer.provideMerge(Libp2p.layer({ listen: [`/ip4/10.0.0.${seed}/tcp/4001`] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provideMerge(network.host([`10.0.0.${seed}`])),
    Layer.provide(Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto)),
    Layer.fresh,
    Layer.build,
    Effect.orDie
  )

const kad = (giver: RoutedPeer | undefined): Way =>
  KadRouting.layer({
    mode: "server",
    bootstrap: giver === undefined ? [] : [giver],
    records: MemoryRecordStore.make()
  })

const mdns: Way = MdnsRouting.layer.pipe(Layer.provide(MdnsNetwork.layer()))

/** A server that knows one peer, which has everything. */
const delegated = (known: () => RoutedPeer | undefined) =>
  Effect.gen(function* () {
    const server = yield* NodeHttpServer.make(() => createServer({ keepAliveTimeout: 1 }), {
      host: "127.0.0.1",
      port: 0
    })
    yield* server.serve(
      Effect.sync(() => {
        const giver = known()
        const record = { Schema: "peer", ID: giver?.peer.toCid(), Addrs: giver?.addresses.map(String) }
        return HttpServerResponse.text(JSON.stringify(record), {
          contentType: "application/x-ndjson",
          headers: { connection: "close" }
        })
      })
    )
    return server.address._tag === "UnixPathAddress" ? "" : `http://127.0.0.1:${server.address.port}`
  })

/** The application on two nodes, whose routing `way` gives; the second is told where the first is. */
const run = (way: (giver: RoutedPeer | undefined) => Way) =>
  Effect.gen(function* () {
    const network = yield* MemoryNet.makeNetwork()
    const giver = yield* node(1, network, way(undefined))
    const { listenAddresses, peerId } = Context.get(giver, Swarm)
    const taker = yield* node(2, network, way({ peer: peerId, addresses: yield* listenAddresses }))
    yield* Effect.provideContext(give, giver)
    assert.strictEqual(yield* Effect.provideContext(take, taker), peerId.toString())
  })

const test = (name: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.scoped(body), 20_000)

describe("one application", () => {
  test("under Kademlia", run(kad))
  test(
    "under mDNS",
    run(() => mdns)
  )
  test(
    "under delegated routing",
    Effect.gen(function* () {
      let known: RoutedPeer | undefined
      const url = yield* delegated(() => known)
      yield* run((giver) => {
        known = giver
        return DelegatedRouting.layerFetch({ url })
      })
    })
  )
  test(
    "under two of them, one after the other",
    run((giver) => CompositeRouting.layerSequential([Routing.fromLayer(mdns), Routing.fromLayer(kad(giver))]))
  )
})
