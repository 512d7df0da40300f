import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Layer, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as ActorsLayer from "../../../src/layers/actors/Actors.ts"
import * as ConnectionManagerLayer from "../../../src/layers/connections/ConnectionManager.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { defaults } from "../../../src/layers/resources/Limits.ts"
import * as ResourceManagerLayer from "../../../src/layers/resources/ResourceManager.ts"
import { ConnectionManager } from "../../../src/services/ConnectionManager.ts"
import { Actors } from "../../../src/services/Actors.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { ResourceManager } from "../../../src/services/ResourceManager.ts"
import { type Connection, type ConnectionEnd, DialError, NoAddresses, Swarm } from "../../../src/services/Swarm.ts"
import { silent, startNode } from "../../support/nodes.ts"

const peer = (n: number): PeerId.PeerId =>
  Result.getOrThrow(PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 31 }, () => 0), n)))
const somewhere = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/4001")

/** A swarm whose connections the test opens and closes. */
const makeSwarm = Effect.gen(function* () {
  const open = new Map<number, Connection>()
  const dials: Array<number> = []
  const state = { ids: 0, dialable: true, worth: new Map<string, number>() }
  const tasks: Array<(connection: Connection) => Effect.Effect<void>> = []
  const connect = Effect.fnUntraced(function* (to: PeerId.PeerId, direction: "inbound" | "outbound") {
    const ended = yield* Deferred.make<ConnectionEnd>()
    const id = ++state.ids
    const connection: Connection = {
      id,
      remotePeer: to,
      remoteAddress: somewhere,
      localAddress: somewhere,
      direction,
      kind: { _tag: "Direct" },
      security: "/noise",
      muxer: "/yamux/1.0.0",
      earlyMuxer: true,
      openedAt: yield* Clock.currentTimeMillis,
      streamCount: () => 0,
      openStream: () => Effect.die("not here"),
      ping: Effect.succeed(1),
      close: Effect.suspend(() => {
        open.delete(id)
        return Effect.asVoid(Deferred.succeed<ConnectionEnd, never>(ended, { by: "local", detail: "closed" }))
      }),
      awaitClosed: Deferred.await(ended)
    }
    open.set(id, connection)
    for (const task of tasks) yield* task(connection)
    return connection
  })
  const swarm = Layer.mock(Swarm, {
    peerId: peer(255),
    connections: (to) =>
      Effect.sync(() => [...open.values()].filter((one) => to === undefined || PeerId.equals(one.remotePeer, to))),
    dial: (target) =>
      Effect.gen(function* () {
        dials.push(yield* Clock.currentTimeMillis)
        if (state.dialable && PeerId.isPeerId(target)) return yield* connect(target, "outbound")
        return yield* new DialError({ peer: "", reason: new NoAddresses(), attempts: [] })
      }),
    forEachConnection: <R>(task: (connection: Connection) => Effect.Effect<void, never, R>) =>
      Effect.map(Effect.context<R>(), (context) => {
        tasks.push((connection) => Effect.provideContext(task(connection), context))
      })
  })
  /** Takes its grace to close, as when its remote does not answer. */
  const slow = (connection: Connection) =>
    open.set(connection.id, { ...connection, close: Effect.andThen(Effect.sleep("5 seconds"), connection.close) })
  return { swarm, open, dials, state, connect, slow }
})
type TestSwarm = Effect.Success<typeof makeSwarm>

const manage = (test: TestSwarm, options?: ConnectionManagerLayer.Options) =>
  Layer.build(
    ConnectionManagerLayer.layer(options).pipe(
      Layer.provide(test.swarm),
      Layer.provide(Layer.mock(PeerStore, { worth: (of: PeerId.PeerId) => test.state.worth.get(of.toString()) ?? 0 })),
      Layer.provide(Layer.merge(ActorsLayer.layer, ResourceManagerLayer.layer()))
    )
  ).pipe(Effect.map((context) => Context.get(context, ConnectionManager)))

const settle = Effect.forEach(Array.from({ length: 30 }), () => Effect.yieldNow, { discard: true })
const remaining = (test: TestSwarm) => [...test.open.values()].map(({ remotePeer }) => remotePeer.bytes.at(-1))

describe("the watermarks", () => {
  it.effect("are kept: those worth least go first, quietly", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const manager = yield* manage(test, { lowWater: 3, highWater: 5 })
      for (const [n, worth] of [5, 1, 4, 2, 3].entries()) {
        test.state.worth.set(peer(n).toString(), worth)
        yield* test.connect(peer(n), "inbound")
      }
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(remaining(test), 5)
      yield* test.connect(peer(9), "inbound")
      yield* settle
      // The newcomer has its grace; peers 1, 3 and 4 are worth least.
      assert.deepStrictEqual(remaining(test), [0, 2, 9])
      assert.deepStrictEqual(yield* manager.status, {
        connections: 3,
        lowWater: 3,
        highWater: 5,
        protected: [],
        trimmed: 3
      })
    })
  )

  it.effect("wait for the young to have had their grace, when they may", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const manager = yield* manage(test, { lowWater: 4, highWater: 6 })
      const scope = yield* Scope.make()
      for (let n = 0; n < 4; n++) {
        yield* Scope.provide(manager.protect(peer(n)), scope)
        yield* test.connect(peer(n), "inbound")
      }
      yield* TestClock.adjust("1 minute")
      for (let n = 4; n < 8; n++) yield* test.connect(peer(n), "inbound")
      yield* settle
      // Above the high mark newcomers go; the protected never do.
      assert.deepStrictEqual(remaining(test).slice(0, 4), [0, 1, 2, 3])
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(remaining(test), 6)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* manager.trim, 2)
      assert.lengthOf(remaining(test), 4)
    })
  )

  it.effect("are looked at again after a failure, though nobody comes any more", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      yield* manage(test, { lowWater: 3, highWater: 5 })
      for (let n = 0; n < 5; n++) yield* test.connect(peer(n), "inbound")
      yield* TestClock.adjust("1 minute")
      let broken = 1
      test.state.worth.get = () => {
        if (broken-- > 0) throw new Error("a bug of the peer store's")
        return 0
      }
      yield* test.connect(peer(9), "inbound")
      yield* settle
      assert.lengthOf(remaining(test), 3)
    }).pipe(Effect.provide(silent))
  )

  it.effect("are reached in the time that one connection takes to close, however many there are", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      yield* manage(test, { lowWater: 10, highWater: 199 })
      for (let n = 0; n < 199; n++) test.slow(yield* test.connect(peer(n), "inbound"))
      yield* TestClock.adjust("1 minute")
      yield* test.connect(peer(199), "inbound")
      yield* settle
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(remaining(test), 10)
    })
  )

  it.effect("hold against a flood of newcomers, which does not push out whom the node knows", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      yield* manage(test, { lowWater: 10, highWater: 20 })
      for (let n = 0; n < 10; n++) yield* test.connect(peer(n), "outbound")
      yield* TestClock.adjust("1 minute")
      for (let second = 0; second < 15; second++) {
        for (let n = 0; n < 10; n++) yield* test.connect(peer(100 + n), "inbound")
        yield* TestClock.adjust("1 second")
      }
      assert.isAtMost(remaining(test).length, 20)
      assert.isAtLeast(remaining(test).filter((n) => (n ?? 0) < 10).length, 5)
    })
  )

  it.effect("follow from the limits, and must be in order", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const status = yield* (yield* manage(test)).status
      assert.deepStrictEqual([status.lowWater, status.highWater], [1024, 1280])
      const limits = defaults({ memory: 0, files: 0 })
      assert.isBelow(ConnectionManagerLayer.defaultHighWater(limits), limits.system.connectionsInbound)
      for (const marks of [
        { lowWater: 3, highWater: 2 },
        { highWater: -1 },
        { highWater: 1.5 },
        { lowWater: Number.NaN }
      ]) {
        assert.strictEqual((yield* Effect.flip(manage(test, marks)))._tag, "InvalidWatermarks")
      }
    })
  )
})

describe("protection", () => {
  it.effect("lasts while anyone holds it", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const manager = yield* manage(test)
      const [a, b] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(manager.protect(peer(1)), a)
      yield* Scope.provide(manager.protect(peer(1)), b)
      yield* Scope.close(a, Exit.void)
      assert.isTrue(manager.isProtected(peer(1)))
      assert.isFalse(manager.isProtected(peer(2)))
      yield* Scope.close(b, Exit.void)
      assert.isFalse(manager.isProtected(peer(1)))
    })
  )

  it.effect("of a peer that is kept alive dials it at once, and again when it is gone", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const manager = yield* manage(test)
      const scope = yield* Scope.make()
      yield* Scope.provide(manager.keepAlive(peer(1)), scope)
      yield* Scope.provide(manager.keepAlive(peer(1)), scope)
      yield* settle
      assert.lengthOf(test.dials, 1)
      assert.isTrue(manager.isProtected(peer(1)))
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(test.dials, 1)
      for (const connection of test.open.values()) yield* connection.close
      yield* TestClock.adjust("1 second")
      assert.lengthOf(test.dials, 2)
      assert.lengthOf(remaining(test), 1)
      // One that the peer opens serves as well.
      for (const connection of test.open.values()) yield* connection.close
      yield* test.connect(peer(1), "inbound")
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(test.dials, 2)
      yield* Scope.close(scope, Exit.void)
      for (const connection of test.open.values()) yield* connection.close
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(test.dials, 2)
      assert.isFalse(manager.isProtected(peer(1)))
    })
  )

  it.effect("of a peer that cannot be reached tries ever more seldom, and stops with its scope", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      test.state.dialable = false
      const manager = yield* manage(test)
      const scope = yield* Scope.make()
      yield* Scope.provide(manager.keepAlive(peer(1)), scope)
      yield* TestClock.adjust("1 hour")
      const pauses = test.dials.slice(1).map((at, i) => at - (test.dials[i] ?? 0))
      for (const [i, pause] of pauses.entries()) {
        const whole = Math.min(300_000, 1000 * 2 ** i)
        assert.isAtLeast(pause, Math.floor(whole / 2))
        assert.isAtMost(pause, whole)
      }
      // Nine pauses until five minutes, then one every two and a half to five.
      assert.isAtLeast(test.dials.length, 18)
      assert.isAtMost(test.dials.length, 35)
      // It answers now: the pauses begin anew.
      test.state.dialable = true
      yield* TestClock.adjust("5 minutes")
      assert.lengthOf(remaining(test), 1)
      yield* TestClock.adjust("1 minute")
      const before = test.dials.length
      for (const connection of test.open.values()) yield* connection.close
      yield* TestClock.adjust("1 second")
      assert.lengthOf(test.dials, before + 1)
      yield* Scope.close(scope, Exit.void)
    })
  )

  it.effect("of a peer that hangs up at once does not become a loop", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const manager = yield* manage(test)
      yield* manager.keepAlive(peer(1))
      for (let second = 0; second < 600; second++) {
        yield* TestClock.adjust("1 second")
        for (const connection of test.open.values()) yield* connection.close
      }
      assert.isAtLeast(test.dials.length, 8)
      assert.isAtMost(test.dials.length, 14)
    })
  )
})

describe("in a network of real nodes", () => {
  it.live("the hub keeps its marks and whom it protects", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const hub = yield* startNode({ seed: 1, net: network.host(["10.0.0.1"]), listen: ["/ip4/10.0.0.1/tcp/4001"] })
      const nodes = yield* Effect.forEach([2, 3, 4, 5, 6, 7], (n) =>
        startNode({ seed: n, net: network.host([`10.0.0.${n}`]) })
      )
      const manager = yield* Layer.build(
        ConnectionManagerLayer.layer({ lowWater: 3, highWater: 5, grace: 0 }).pipe(
          Layer.provide(Layer.succeed(Swarm, hub.swarm)),
          Layer.provide(Layer.succeed(PeerStore, hub.peerStore)),
          Layer.provide(Layer.succeed(ResourceManager, hub.resources)),
          Layer.provide(Layer.succeed(Actors, hub.actors))
        )
      ).pipe(Effect.map((context) => Context.get(context, ConnectionManager)))
      const [first, second] = nodes
      if (first === undefined || second === undefined) return assert.fail("no nodes")
      yield* manager.protect(first.swarm.peerId)
      yield* hub.peerStore.setTag(second.swarm.peerId, "useful", { value: 10 })
      const ends = yield* Effect.forEach(nodes, ({ swarm }) => swarm.dial(hub.address))
      yield* Effect.raceAll(ends.slice(2).map((connection) => connection.awaitClosed))
      while ((yield* hub.swarm.connections()).length > 3) yield* Effect.sleep(5)
      const left = (yield* hub.swarm.connections()).map(({ remotePeer }) => remotePeer.toString())
      assert.include(left, first.swarm.peerId.toString())
      assert.include(left, second.swarm.peerId.toString())
      assert.strictEqual((yield* manager.status).trimmed, 3)
    })
  )
})
