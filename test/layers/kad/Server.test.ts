/** What a node answers, and what it refuses; in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Result, Stream } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as LengthPrefix from "../../../src/data/LengthPrefix.ts"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as Deadlines from "../../../src/layers/internal/Deadlines.ts"
import { Readings } from "../../../src/layers/kad/Readings.ts"
import * as Rpc from "../../../src/layers/kad/Rpc.ts"
import type { Holding } from "../../../src/layers/kad/Holding.ts"
import * as Server from "../../../src/layers/kad/Server.ts"
import { environment } from "../../../src/layers/simulation/Nodes.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import type { RoutedPeer } from "../../../src/services/PeerRouting.ts"
import { Protocols } from "../../../src/services/Protocols.ts"
import {
  RecordInvalid,
  RecordNotFound,
  type RecordStore,
  RecordStoreError,
  type RecordStoreErrorReason
} from "../../../src/services/RecordStore.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { bare, type BareNode, two } from "../../support/bare.ts"

const protocol = "/ipfs/kad/1.0.0"
const options = { nodes: 2, layer: bare }

const peerOf = (seed: number): PeerId.PeerId => environment(new Uint8Array(32).fill(seed)).peerId
const at = (text: string) => Multiaddr.fromStringUnsafe(text)
const somebody = (seed: number, ...addresses: ReadonlyArray<string>): RoutedPeer => ({
  peer: peerOf(seed),
  addresses: addresses.map(at)
})
const publicly = (seed: number): RoutedPeer => somebody(seed, `/ip4/8.8.${seed}.1/tcp/4001`)
const key = Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(7)])

/** A store that holds what begins with `ok`, in a plain map. */
const records = (): RecordStore["Service"] => {
  const held = new Map<string, Uint8Array>()
  const failed = (reason: RecordStoreErrorReason) => new RecordStoreError({ store: "test", key: "", reason })
  return {
    store: "test",
    put: (key, value) =>
      Bytes.toUtf8(value).startsWith("ok")
        ? Effect.sync(() => void held.set(Bytes.toHex(key), value))
        : Effect.fail(failed(new RecordInvalid({ detail: "it is not ok" }))),
    get: (key) => {
      const value = held.get(Bytes.toHex(key))
      return value === undefined
        ? Effect.fail(failed(new RecordNotFound({ asked: 0 })))
        : Effect.succeed({ key, value, expiresAt: undefined })
    },
    search: () => Stream.empty,
    delete: () => Effect.void,
    list: () => Stream.empty
  }
}

/** Holds what the store takes, for anybody. */
const holding = (store: RecordStore["Service"]): Holding => ({
  records: store,
  hold: (key, value) => store.put(key, value),
  counts: () => ({ held: 0, fill: 0, refused: { peer: 0, group: 0, node: 0 }, dropped: 0 })
})

interface Setting {
  readonly knowledge?: Partial<Server.Knowledge>
  readonly options?: Server.Options
}

/** Serves on `node` from made-up knowledge, for as long as it runs. */
const serving = (node: BareNode, setting: Setting = {}) =>
  Effect.gen(function* () {
    const providers: Array<RoutedPeer> = []
    const made = yield* Deferred.make<Server.Server>()
    const serve = Effect.gen(function* () {
      const server = Server.make(
        {
          self: node.peerId,
          k: 20,
          addresses: "public",
          readings: new Readings(),
          nearest: () => [],
          addressesOf: () => Effect.succeed([]),
          holding: holding(records()),
          providersOf: () => Effect.succeed(providers),
          addProvider: (_, provider) =>
            Effect.sync(() => {
              providers.push(provider)
              return undefined
            }),
          ...setting.knowledge
        },
        yield* Deadlines.make,
        setting.options
      )
      const { handle } = yield* Protocols
      yield* handle(protocol, server.serve, { maxStreamsPerConnection: Server.maxStreamsPerConnection })
      yield* Deferred.succeed(made, server)
      return yield* Effect.never
    })
    yield* Effect.forkChild(node.run(Effect.scoped(serve)))
    const server = yield* Deferred.await(made)
    yield* Effect.sleep(1)
    return server
  })

const asking = <A, E>(
  from: BareNode,
  to: BareNode,
  use: (ask: (message: Kad.Kad) => Effect.Effect<Kad.Kad, Rpc.Failure>, rpc: Rpc.Rpc) => Effect.Effect<A, E>
) =>
  from.run(
    Effect.scoped(
      Effect.gen(function* () {
        const rpc = yield* Rpc.make(yield* Swarm, { protocol, deadlineMs: 10_000 })
        return yield* use((message) => rpc.request({ peer: to.peerId, addresses: to.addresses() }, message), rpc)
      })
    )
  )

const idsOf = (peers: ReadonlyArray<Kad.Peer>) =>
  peers.map(({ id }) => Result.getOrThrow(PeerId.fromBytes(id)).toString())

describe("FIND_NODE", () => {
  it(
    "gives the closest k, but neither who asks nor this node, nor anybody without an address of the realm",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const others = [1, 2, 3, 4].map(publicly)
        const table = [
          { peer: a.peerId, addresses: [at("/ip4/8.8.8.8/tcp/1")] },
          { peer: b.peerId, addresses: [at("/ip4/8.8.8.8/tcp/1")] },
          somebody(9, "/ip4/192.168.1.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001"),
          somebody(8),
          ...others
        ]
        yield* serving(b, { knowledge: { k: 3, nearest: () => table } })
        yield* asking(a, b, (ask) =>
          Effect.gen(function* () {
            const { closerPeers } = yield* ask(Kad.make("FindNode", { key }))
            assert.deepStrictEqual(
              idsOf(closerPeers),
              others.slice(0, 3).map(({ peer }) => peer.toString())
            )
          })
        )
      })
    )
  )

  it(
    "tells of who is looked for, first and once, if it is known at all",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const client = publicly(5)
        const others = [client, ...[1, 2].map(publicly)]
        const addressesOf = (peer: PeerId.PeerId) =>
          Effect.succeed(PeerId.equals(peer, client.peer) ? [...client.addresses, at("/ip4/10.9.9.9/tcp/1")] : [])
        yield* serving(b, { knowledge: { nearest: () => others, addressesOf } })
        yield* asking(a, b, (ask) =>
          Effect.gen(function* () {
            const { closerPeers } = yield* ask(Kad.make("FindNode", { key: client.peer.bytes }))
            assert.deepStrictEqual(
              idsOf(closerPeers),
              others.map(({ peer }) => peer.toString())
            )
            assert.deepStrictEqual(
              closerPeers[0]?.addrs,
              client.addresses.map(({ bytes }) => bytes)
            )
          })
        )
      })
    )
  )

  it(
    "gives who looks up itself all of its neighbours, and not itself",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const others = [1, 2, 3].map(publicly)
        const addressesOf = () => Effect.succeed([at("/ip4/8.8.8.8/tcp/1")])
        yield* serving(b, { knowledge: { k: 3, nearest: () => others, addressesOf } })
        const { closerPeers } = yield* asking(a, b, (ask) => ask(Kad.make("FindNode", { key: a.peerId.bytes })))
        assert.deepStrictEqual(
          idsOf(closerPeers),
          others.map(({ peer }) => peer.toString())
        )
      })
    )
  )
})

describe("records", () => {
  it(
    "are held if they are valid, echoed, and given to who asks",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        yield* serving(b, { knowledge: { nearest: () => [publicly(1)] } })
        const record = { key, value: Bytes.fromUtf8("ok"), timeReceived: "" }
        yield* asking(a, b, (ask) =>
          Effect.gen(function* () {
            const before = yield* ask(Kad.make("GetValue", { key }))
            assert.isUndefined(before.record)
            assert.lengthOf(before.closerPeers, 1)
            const echo = yield* ask(
              Kad.make("PutValue", { key, record, closerPeers: [{ id: key, addrs: [], connection: "Connected" }] })
            )
            // Nothing is passed on that was not looked at.
            assert.deepStrictEqual(echo, Kad.make("PutValue", { key, record }))
            const after = yield* ask(Kad.make("GetValue", { key }))
            assert.deepStrictEqual([after.record?.key, after.record?.value], [key, record.value])
            assert.match(after.record?.timeReceived ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/)
          })
        )
      })
    )
  )

  const wrong: ReadonlyArray<readonly [string, Kad.Kad, Partial<Server.Knowledge>?]> = [
    ["no record", Kad.make("PutValue", { key })],
    ["no key", Kad.make("GetValue")],
    [
      "a record for another key",
      Kad.make("PutValue", {
        key,
        record: { key: Uint8Array.of(1), value: Bytes.fromUtf8("ok"), timeReceived: "" }
      })
    ],
    [
      "a record that the validator refuses",
      Kad.make("PutValue", { key, record: { key, value: Bytes.fromUtf8("bad"), timeReceived: "" } })
    ],
    [
      "a record, on a node that holds none",
      Kad.make("PutValue", { key, record: { key, value: Bytes.fromUtf8("ok"), timeReceived: "" } }),
      { holding: undefined }
    ],
    [
      "a value of 10 MiB",
      Kad.make("PutValue", { key, record: { key, value: new Uint8Array(10 * 1024 * 1024), timeReceived: "" } })
    ],
    ["a key that is longer than a multihash", Kad.make("GetProviders", { key: new Uint8Array(81) })],
    ["an announcement without a key", Kad.make("AddProvider")]
  ]
  for (const [what, message, knowledge] of wrong) {
    it(
      `refuses ${what}, and answers the next question`,
      simulate(options, ({ nodes, world }) =>
        Effect.gen(function* () {
          const [a, b] = two(nodes)
          const server = yield* serving(b, { knowledge: knowledge ?? {} })
          yield* asking(a, b, (ask) =>
            Effect.gen(function* () {
              const began = world.timeline.now
              assert.strictEqual((yield* Effect.flip(ask(message)))._tag, "StreamFailed")
              assert.isAtMost(world.timeline.now - began, 10_000)
              assert.deepStrictEqual(yield* ask(Kad.make("Ping")), Kad.make("Ping"))
            })
          )
          assert.strictEqual(server.counters().refused, 1)
        })
      )
    )
  }
})

describe("providers", () => {
  it(
    "are believed of themselves only, with addresses of the realm",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        yield* serving(b)
        const wire = (peer: PeerId.PeerId, ...addresses: ReadonlyArray<string>): Kad.Peer => ({
          id: peer.bytes,
          addrs: addresses.map((address) => at(address).bytes),
          connection: "NotConnected"
        })
        yield* asking(a, b, (ask, rpc) =>
          Effect.gen(function* () {
            const to = { peer: b.peerId, addresses: b.addresses() }
            const other = wire(peerOf(1), "/ip4/8.8.8.8/tcp/1")
            const self = wire(a.peerId, "/ip4/8.8.4.4/tcp/1", "/ip4/10.0.0.1/tcp/1")
            const providers = Effect.map(ask(Kad.make("GetProviders", { key })), ({ providerPeers }) => providerPeers)
            yield* rpc.send(to, Kad.make("AddProvider", { key, providerPeers: [other] }))
            assert.lengthOf(yield* providers, 0)
            yield* rpc.send(to, Kad.make("AddProvider", { key, providerPeers: [other, wire(a.peerId)] }))
            assert.lengthOf(yield* providers, 0)
            yield* rpc.send(to, Kad.make("AddProvider", { key, providerPeers: [other, self] }))
            assert.deepStrictEqual(yield* providers, [wire(a.peerId, "/ip4/8.8.4.4/tcp/1")])
            const named = Bytes.fromUtf8("a name, as of programs on rust-libp2p")
            yield* rpc.send(to, Kad.make("AddProvider", { key: named, providerPeers: [self] }))
            const { providerPeers } = yield* ask(Kad.make("GetProviders", { key: named }))
            assert.lengthOf(providerPeers, 2, "what holds them here is the same for all keys")
          })
        )
      })
    )
  )

  it(
    "are told of as many as fit",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const one = somebody(1, ...Array.from({ length: 32 }, (_, i) => `/ip6/2001:db8::${i}/udp/4001/quic-v1`))
        yield* serving(b, {
          knowledge: { providersOf: () => Effect.succeed(Array.from({ length: 5000 }, () => one)) }
        })
        yield* asking(a, b, (ask) =>
          Effect.gen(function* () {
            const { providerPeers } = yield* ask(Kad.make("GetProviders", { key }))
            assert.isAbove(providerPeers.length, 500)
            assert.isAtMost(providerPeers.length, Kad.maxProviderPeers)
          })
        )
      })
    )
  )
})

describe("who asks", () => {
  it(
    "too fast is held back, and nobody else is",
    simulate({ nodes: 3, layer: bare }, ({ nodes, world }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const c = nodes[2] ?? assert.fail("three nodes")
        const server = yield* serving(b, { options: { rate: { burst: 10, perSecond: 2 } } })
        const timed = (node: BareNode, count: number) =>
          asking(node, b, (ask) =>
            Effect.gen(function* () {
              const began = world.timeline.now
              for (let i = 0; i < count; i++) yield* ask(Kad.make("Ping"))
              return world.timeline.now - began
            })
          )
        assert.isAbove(yield* timed(a, 20), 4500)
        assert.isAtLeast(server.counters().delayed, 9)
        assert.isBelow(yield* timed(c, 5), 1000)
      })
    )
  )

  it(
    "nothing for a minute loses the stream; who reads no answer loses it sooner",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const big = Array.from({ length: 1000 }, () =>
          somebody(1, ...Array.from({ length: 30 }, () => "/ip4/8.8.8.8/tcp/1"))
        )
        yield* serving(b, { knowledge: { providersOf: () => Effect.succeed(big) } })
        const connection = yield* a.run(
          Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses: b.addresses() }))
        )
        const ends = (questions: number) =>
          a.run(
            Effect.scoped(
              Effect.gen(function* () {
                const stream = yield* connection.openStream(protocol)
                const question = LengthPrefix.encode(Kad.encode(Kad.make("GetProviders", { key })))
                yield* stream.write(Bytes.concat(Array.from({ length: questions }, () => question)))
                yield* Effect.sleep(questions === 0 ? "61 seconds" : "30 seconds")
                return yield* Effect.exit(
                  Effect.gen(function* () {
                    while ((yield* stream.read) !== null);
                  })
                )
              })
            )
          )
        assert.isTrue(Exit.isSuccess(yield* ends(0)))
        assert.isTrue(Exit.isFailure(yield* ends(50)))
      })
    )
  )

  it(
    "from outside is told nothing of the local network",
    simulate(
      { ...options, arrange: (_, nodes) => nodes.forEach(({ host }, i) => host.setAddresses([`${20 + i}.0.0.1`])) },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [a, b] = two(nodes)
          const neighbour = somebody(1, "/ip4/192.168.1.7/tcp/4001")
          yield* serving(b, { knowledge: { addresses: "private", nearest: () => [neighbour] } })
          const failure = yield* asking(a, b, (ask) => Effect.flip(ask(Kad.make("FindNode", { key }))))
          assert.include(["StreamFailed", "NoAnswer"], failure._tag)
        })
    )
  )
})
