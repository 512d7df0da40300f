import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as BlockListLayer from "../../../src/layers/connections/BlockList.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { BlockList } from "../../../src/services/BlockList.ts"
import { ConnectionGater } from "../../../src/services/ConnectionGater.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { startNode } from "../../support/nodes.ts"

const address = Multiaddr.fromStringUnsafe
const peer = (n: number): PeerId.PeerId =>
  Result.getOrThrow(PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 31 }, () => 0), n)))

/** The list and its gater. */
const make = (options?: BlockListLayer.Options, under: ConnectionGater = {}) =>
  Effect.map(
    Layer.build(Layer.provide(BlockListLayer.layer(options), Layer.succeed(ConnectionGater, under))),
    (context) => ({ list: Context.get(context, BlockList), gater: Context.get(context, ConnectionGater) })
  )

describe("a block list", () => {
  it.effect("knows peers and networks, and the smallest network decides", () =>
    Effect.gen(function* () {
      const { list } = yield* make({ subnets: ["198.51.0.0/16", "2001:db8::/32"], allowed: ["198.51.100.0/24"] })
      const at = (text: string) => list.reason(undefined, address(text))
      assert.strictEqual(at("/ip4/198.51.99.1/tcp/1"), "198.51.0.0/16 is blocked")
      assert.isUndefined(at("/ip4/198.51.100.1/tcp/1"))
      assert.strictEqual(at("/ip6/2001:db8:5::1/udp/1/quic-v1"), "2001:db8::/32 is blocked")
      assert.strictEqual(at("/ip6/::ffff:198.51.99.1/tcp/1"), "198.51.0.0/16 is blocked")
      assert.isUndefined(at("/memory/1"))
      assert.isUndefined(at("/dns4/example.org/tcp/1"))
      yield* list.blockSubnet("198.51.100.7")
      assert.strictEqual(at("/ip4/198.51.100.7/tcp/1"), "198.51.100.7 is blocked")
      yield* list.blockPeer(peer(1))
      assert.strictEqual(list.reason(peer(1), undefined), "the peer is blocked")
      assert.deepStrictEqual(yield* list.entries, {
        peers: [peer(1).toString()],
        subnets: ["2001:db8::/32", "198.51.100.7", "198.51.0.0/16"],
        allowed: ["198.51.100.0/24"]
      })
      yield* list.unblockPeer(peer(1))
      yield* list.removeSubnet("198.51.0.0/16")
      yield* list.removeSubnet("203.0.113.0/24")
      yield* list.allowSubnet("198.51.100.7")
      assert.isUndefined(list.reason(peer(1), address("/ip4/198.51.99.1/tcp/1")))
      assert.isUndefined(at("/ip4/198.51.100.7/tcp/1"))
      assert.include(
        (yield* Effect.flip(list.blockSubnet("198.51.100.0/33"))).message,
        '"198.51.100.0/33" is not a network'
      )
    })
  )

  it.effect("cannot be made of what it cannot read", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(make({ peers: ["bob"] })))._tag, "PeerIdError")
      assert.strictEqual((yield* Effect.flip(make({ subnets: ["here"] })))._tag, "SubnetError")
    })
  )

  it.effect("refuses at every stage, and asks the gater under it about the rest", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const under: ConnectionGater = {
        accept: () => {
          asked.push("accept")
          return Effect.void
        },
        secured: () => Effect.fail("not today")
      }
      const { gater } = yield* make({ subnets: ["198.51.100.0/24"], peers: [peer(1).toString()] }, under)
      const bad = address("/ip4/198.51.100.1/tcp/1")
      const good = address("/ip4/192.0.2.1/tcp/1")
      const ask = (effect: Effect.Effect<void, string> | undefined) =>
        effect === undefined
          ? Effect.succeed("not asked")
          : Effect.match(effect, { onSuccess: () => "allowed", onFailure: (because) => because })
      const candidate = (remotePeer: PeerId.PeerId, remoteAddress: Multiaddr.Multiaddr) =>
        ({ direction: "inbound", remotePeer, remoteAddress }) as const
      const network = "198.51.100.0/24 is blocked"
      assert.strictEqual(yield* ask(gater.accept?.(bad)), network)
      assert.deepStrictEqual(asked, [])
      assert.strictEqual(yield* ask(gater.accept?.(good)), "allowed")
      assert.deepStrictEqual(asked, ["accept"])
      assert.strictEqual(yield* ask(gater.dialPeer?.(peer(1))), "the peer is blocked")
      assert.strictEqual(yield* ask(gater.dialPeer?.(peer(2))), "allowed")
      assert.strictEqual(yield* ask(gater.dialAddress?.(undefined, bad)), network)
      assert.strictEqual(yield* ask(gater.dialAddress?.(peer(2), good)), "allowed")
      assert.strictEqual(yield* ask(gater.secured?.(candidate(peer(1), good))), "the peer is blocked")
      assert.strictEqual(yield* ask(gater.secured?.(candidate(peer(2), good))), "not today")
      assert.strictEqual(yield* ask(gater.upgraded?.(candidate(peer(2), bad))), network)
      assert.strictEqual(yield* ask(gater.upgraded?.(candidate(peer(2), good))), "allowed")
    })
  )

  it.live("disconnects whom it blocks in the moment between the last question and the connection", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const b = yield* startNode({ seed: 2, net: network.host(["10.0.1.2"]), listen: ["/ip4/10.0.1.2/tcp/4001"] })
      // Asked after the list: when it has allowed the connection.
      let block: Effect.Effect<void> = Effect.void
      const { gater, list } = yield* make({}, { upgraded: () => block })
      block = list.blockPeer(b.swarm.peerId)
      const a = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]), gater })
      yield* list.closeIn(a.swarm)
      const connection = yield* a.swarm.dial(b.address)
      assert.deepStrictEqual(yield* Effect.timeout(connection.awaitClosed, "5 seconds"), {
        by: "local",
        detail: "closed"
      })
    })
  )

  it.live("disconnects whom it blocks, and keeps them out, in both directions", () =>
    Effect.gen(function* () {
      const { gater, list } = yield* make()
      const network = yield* MemoryNet.makeNetwork()
      const a = yield* startNode({
        seed: 1,
        net: network.host(["10.0.0.1"]),
        listen: ["/ip4/10.0.0.1/tcp/4001"],
        gater
      })
      const b = yield* startNode({ seed: 2, net: network.host(["10.0.1.2"]), listen: ["/ip4/10.0.1.2/tcp/4001"] })
      const c = yield* startNode({ seed: 3, net: network.host(["10.0.2.3"]), listen: ["/ip4/10.0.2.3/tcp/4001"] })
      yield* Layer.build(
        BlockListLayer.layerDisconnect.pipe(
          Layer.provide(Layer.merge(Layer.succeed(BlockList, list), Layer.succeed(Swarm, a.swarm)))
        )
      )
      // Who is dialled counts a connection a moment after who dialled.
      const left = Effect.fnUntraced(function* (count: number) {
        while ((yield* a.swarm.connections()).length !== count) yield* Effect.sleep(2)
      })
      const toB = yield* a.swarm.dial(b.address)
      yield* c.swarm.dial(a.address)
      yield* left(2)
      yield* list.blockPeer(b.swarm.peerId, { disconnect: false })
      assert.lengthOf(yield* a.swarm.connections(), 2)
      yield* list.blockPeer(b.swarm.peerId)
      yield* toB.awaitClosed
      yield* left(1)
      assert.strictEqual((yield* a.swarm.connections())[0]?.remotePeer.toString(), c.swarm.peerId.toString())
      const refused = yield* Effect.flip(a.swarm.dial(b.address))
      assert.include(refused.message, "denied by this node's connection gater: the peer is blocked")
      yield* list.blockSubnet("10.0.2.0/24")
      yield* left(0)
      assert.strictEqual((yield* Effect.flip(c.swarm.dial(a.address)))._tag, "DialError")
      yield* list.unblockPeer(b.swarm.peerId)
      yield* a.swarm.dial(b.address)
      assert.lengthOf(yield* a.swarm.connections(), 1)
    })
  )
})
