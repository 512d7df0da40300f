/** What other stacks keep of peers that have gone, and what they let one busy peer take from the others. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import {
  Actors,
  ConnectionManager,
  Identify,
  IdentityFromSeed,
  Libp2p,
  MemoryNet,
  MemoryPeerStore,
  Multiaddr,
  type Net,
  NodeCrypto,
  PeerStore,
  Ping,
  Protocols,
  ResourceManager,
  Swarm
} from "../../src/index.ts"
import { simulate } from "../../src/testing.ts"
import { usedBytes } from "../support/memory.ts"
import { dial } from "./kit.ts"

/** A node on a network in memory; it ends with the scope. */
const start = (seed: number, net: Layer.Layer<Net.Net>) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] }).pipe(
        Layer.provide(Libp2p.layerTcp),
        Layer.provideMerge(MemoryPeerStore.layer()),
        Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
        Layer.provide(Layer.mergeAll(net, NodeCrypto.layer, SecureRandom.layerWebCrypto)),
        Layer.fresh
      )
    )
    const swarm = Context.get(context, Swarm.Swarm)
    const address = (yield* swarm.listenAddresses).find((address) => !address.toString().includes("127.0.0.1"))
    return {
      swarm,
      address: Multiaddr.withPeer(address ?? assert.fail("it does not listen"), swarm.peerId),
      ping: Context.get(context, Ping.Ping),
      protocols: Context.get(context, Protocols.Protocols)
    }
  })

describe("6 state of peers that have gone", () => {
  it(
    "6 100 peers come and go: every table is a function of the peers that are connected",
    simulate({ nodes: 101, until: "7 days" }, ({ always, faults, nodes }) =>
      Effect.gen(function* () {
        const [hub, ...peers] = nodes
        const resources = yield* hub.get(ResourceManager.ResourceManager)
        const facts = hub.run(
          Effect.gen(function* () {
            const swarm = yield* Swarm.Swarm
            const manager = yield* (yield* ConnectionManager.ConnectionManager).status
            return {
              connections: (yield* swarm.connections()).length,
              managed: manager.connections,
              protected: manager.protected.length,
              actors: (yield* (yield* Actors.Actors).tree).flatMap(({ children }) => children).length,
              scopes: resources.scopeCount(),
              held: (yield* resources.usage).reduce((sum, row) => sum + (row.scope === "system" ? row.current : 0), 0),
              observed: (yield* (yield* Identify.Identify).observed).length,
              peers: yield* (yield* PeerStore.PeerStore).size
            }
          })
        )
        const fresh = yield* facts
        let open = 0
        let most = 0
        // A peer, its connection, and a few for protocols and places: so many for each, and none for who has gone.
        yield* always(
          "scopes follow connections",
          () => {
            most = Math.max(most, resources.scopeCount())
            return (
              resources.scopeCount() <= fresh.scopes + 8 + 8 * open || `${resources.scopeCount()} with ${open} open`
            )
          },
          1000
        )
        for (let first = 0; first < peers.length; first += 20) {
          const wave = peers.slice(first, first + 20)
          open += wave.length
          yield* Effect.forEach(
            wave,
            (peer) =>
              Effect.flatMap(dial(peer, hub), (connection) =>
                peer.run(Effect.flatMap(Identify.Identify, ({ identified }) => identified(connection)))
              ),
            { concurrency: "unbounded", discard: true }
          )
          yield* Effect.sleep("1 second")
          assert.strictEqual((yield* facts).connections, wave.length)
          // A third leaves in order, a third is closed by the hub, a third vanishes without a word.
          yield* Effect.forEach(
            wave,
            (peer, i) =>
              i % 3 === 0
                ? peer.stop
                : i % 3 === 1
                  ? hub.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.disconnect(peer.peerId)))
                  : faults.crash(peer),
            { concurrency: "unbounded", discard: true }
          )
          yield* Effect.sleep("2 minutes")
          open -= wave.length
          yield* Effect.sleep("1 second")
          assert.strictEqual((yield* facts).connections, 0)
        }
        assert.isAbove(most, fresh.scopes)
        const known = (yield* facts).peers
        assert.isAtMost(known, 100)
        yield* Effect.sleep("2 days")
        assert.deepStrictEqual({ ...(yield* facts), peers: 0 }, fresh)
      })
    )
  )

  it.live("6 no connection, socket or stream object of a peer that has gone is kept", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const hub = yield* start(1, network.host(["10.0.0.1"]))
      const kept: Array<WeakRef<object>> = []
      yield* hub.swarm.forEachConnection((connection) => Effect.sync(() => void kept.push(new WeakRef(connection))))
      yield* hub.protocols.handle("/echo", (stream) =>
        Effect.suspend(() => {
          kept.push(new WeakRef(stream))
          return Stream.run(stream.readable, stream.writable)
        })
      )
      for (let n = 0; n < 20; n++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const peer = yield* start(2 + n, network.host([`10.0.${n + 1}.1`]))
            const connection = yield* peer.swarm.dial(hub.address)
            const stream = yield* connection.openStream("/echo")
            yield* stream.write(new Uint8Array(1000))
            yield* stream.read
            if (n % 2 === 0) yield* hub.swarm.disconnect(peer.swarm.peerId)
          })
        )
      }
      while ((yield* hub.swarm.connections()).length > 0) yield* Effect.sleep(5)
      let alive = kept.length
      assert.strictEqual(alive, 40, "a connection and a stream of each")
      for (let patience = 0; patience < 20 && alive > 3; patience++) {
        yield* usedBytes
        alive = kept.filter((ref) => ref.deref() !== undefined).length
      }
      // The latest may still be in the hands of a fiber that is ending, or of the last event.
      assert.isAtMost(alive, 3)
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )
})

describe("23 the event loop", () => {
  it.live(
    "23 eight busy connections hold it for a few batches at most: a ping on another is answered between them",
    () =>
      Effect.gen(function* () {
        // A network that holds back nobody: what bounds the busy ones is the node.
        const network = yield* MemoryNet.makeNetwork({ capacity: 4 * 1024 * 1024 })
        const hub = yield* start(1, network.host(["10.0.0.1"]))
        let moved = 0
        yield* hub.protocols.handle("/sink", (stream) =>
          Stream.runForEach(stream.readable, (batch) => Effect.sync(() => (moved += batch.length)))
        )
        const block = new Uint8Array(1024 * 1024)
        const quiet = yield* start(50, network.host(["10.0.50.1"]))
        yield* quiet.swarm.dial(hub.address)
        const busy = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) =>
          Effect.flatMap(start(1 + n, network.host([`10.0.${n}.1`])), ({ swarm }) =>
            swarm.openStream(hub.address, "/sink")
          )
        )
        for (const stream of busy) yield* Effect.forkScoped(Effect.ignore(Effect.forever(stream.write(block))))
        // What the busy ones move from one turn of the event loop to the next.
        let turns = 0
        let most = 0
        let before = moved
        const turn = Effect.callback<void>((resume) => {
          const immediate = setImmediate(() => resume(Effect.void))
          return Effect.sync(() => clearImmediate(immediate))
        })
        yield* turn
        before = moved
        const watching = yield* Effect.forkScoped(
          Effect.forever(
            Effect.andThen(
              turn,
              Effect.sync(() => {
                turns++
                most = Math.max(most, moved - before)
                before = moved
              })
            )
          )
        )
        for (let i = 0; i < 4; i++) {
          const [movedAtFirst, turnsAtFirst] = [moved, turns]
          yield* Stream.runDrain(quiet.ping.ping(hub.swarm.peerId, { count: 1 }))
          assert.isAtMost(moved - movedAtFirst, 8 * 1024 * 1024)
          assert.isAtMost(turns - turnsAtFirst, 16)
        }
        assert.isAtMost(most, 8 * 1024 * 1024)
        yield* Fiber.interrupt(watching)
        // They were busy all the while.
        assert.isAbove(moved, 4 * 1024 * 1024)
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )
})
