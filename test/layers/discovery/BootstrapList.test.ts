import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, FileSystem, Layer, Logger, type Path, Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import type * as PeerId from "../../../src/data/PeerId.ts"
import * as ActorsLayer from "../../../src/layers/actors/Actors.ts"
import * as BootstrapFile from "../../../src/layers/discovery/BootstrapFile.ts"
import * as BootstrapList from "../../../src/layers/discovery/BootstrapList.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { SimDisk } from "../../../src/layers/simulation/SimDisk.ts"
import { Actors } from "../../../src/services/Actors.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { type Connection, type ConnectionEnd, DialError, NoAddresses, Swarm } from "../../../src/services/Swarm.ts"
import { at, listen, run } from "../../support/memory-nodes.ts"
import { silent, startNode } from "../../support/nodes.ts"
import { peerOf, routed } from "../../support/routing.ts"

const addressOf = (n: number) => `/ip4/192.0.2.${n}/tcp/4001/p2p/${peerOf(n).toString()}`
const settle = Effect.repeat(Effect.yieldNow, { times: 100 })

/** A swarm that can dial the peers in `alive`; the others take their time to fail. */
const makeSwarmIn = Effect.fnUntraced(function* (network?: string) {
  const open = new Map<string, { readonly connection: Connection; readonly end: Effect.Effect<unknown> }>()
  const dials: Array<number> = []
  const state = { alive: new Set<number>(), dialling: 0, most: 0, ids: 0 }
  const tasks: Array<(connection: Connection) => Effect.Effect<void>> = []
  const numberOf = (peer: PeerId.PeerId) => (peer.bytes.at(-1) ?? 0) + 256 * (peer.bytes.at(-2) ?? 0)
  const connect = Effect.fnUntraced(function* (n: number) {
    const ended = yield* Deferred.make<ConnectionEnd>()
    const remotePeer = peerOf(n)
    const connection: Connection = {
      id: ++state.ids,
      remotePeer,
      remoteAddress: Multiaddr.fromStringUnsafe(`/ip4/192.0.2.${n}/tcp/4001`),
      localAddress: Multiaddr.fromStringUnsafe("/ip4/192.0.2.200/tcp/1"),
      direction: "outbound",
      kind: { _tag: "Direct" },
      security: "/noise",
      muxer: "/yamux/1.0.0",
      earlyMuxer: true,
      openedAt: yield* Clock.currentTimeMillis,
      streamCount: () => 0,
      openStream: () => Effect.die("not here"),
      ping: Effect.succeed(1),
      close: Effect.void,
      awaitClosed: Deferred.await(ended)
    }
    const fibers = yield* Effect.forEach(tasks, (task) => Effect.forkDetach(task(connection)))
    const end = Effect.suspend(() => {
      open.delete(remotePeer.toString())
      return Fiber.interruptAll(fibers)
    })
    open.set(remotePeer.toString(), { connection, end })
    return connection
  })
  const swarm = Layer.mock(Swarm, {
    peerId: peerOf(999),
    network,
    connections: () => Effect.sync(() => [...open.values()].map(({ connection }) => connection)),
    dial: (target) => {
      if (!("peer" in target)) return Effect.die("only peers at addresses are dialled")
      const n = numberOf(target.peer)
      dials.push(n)
      state.most = Math.max(state.most, ++state.dialling)
      const end = Effect.sync(() => void state.dialling--)
      const slow = Effect.andThen(
        Effect.sleep("5 seconds"),
        Effect.fail(new DialError({ peer: "", reason: new NoAddresses(), attempts: [] }))
      )
      return Effect.ensuring(
        Effect.suspend(() => (state.alive.has(n) ? Effect.andThen(Effect.sleep(100), connect(n)) : slow)),
        end
      )
    },
    forEachConnection: <R>(task: (connection: Connection) => Effect.Effect<void, never, R>) =>
      Effect.map(Effect.context<R>(), (context) => {
        tasks.push((connection) => Effect.provideContext(task(connection), context))
      })
  })
  yield* Effect.addFinalizer(() => Effect.forEach([...open.values()], ({ end }) => end))
  const lose = (n: number) => open.get(peerOf(n).toString())?.end ?? Effect.void
  return { swarm, open, dials, state, connect, lose }
})
const makeSwarm = makeSwarmIn()
type TestSwarm = Effect.Success<typeof makeSwarm>

const store = Layer.mock(PeerStore, { get: () => Effect.succeed(undefined), worth: () => 0 })
const around = (test: TestSwarm) => Layer.mergeAll(test.swarm, ActorsLayer.layer, store)
const list = Array.from({ length: 10 }, (_, i) => addressOf(i + 1))

describe("entering", () => {
  it.effect("dials nothing that it was not given", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const bootstrap = yield* Effect.provide(BootstrapList.make(), around(test))
      yield* TestClock.adjust("1 hour")
      assert.isEmpty(test.dials)
      assert.strictEqual(yield* bootstrap.reenter, 0)
      const withIpfs = yield* Effect.provide(BootstrapList.make({ ipfs: true }), around(test))
      assert.lengthOf(yield* withIpfs.peers, BootstrapList.ipfs.length)
    })
  )

  it.effect("dials nobody of the public list from a private network, and says so", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarmIn("a1b2")
      const said: Array<unknown> = []
      const log = Logger.layer([Logger.make(({ message }) => void said.push(message))])
      const bootstrap = yield* BootstrapList.make({ ipfs: true, list: list.slice(0, 1) }).pipe(
        Effect.provide([around(test), log])
      )
      assert.lengthOf(yield* bootstrap.peers, 1)
      assert.include(said.flat().join(), "private network a1b2")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual([...new Set(test.dials)], [1])
    })
  )

  it.effect("connects to as many as wanted of a list that is half dead, a few at once", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      for (const n of [2, 4, 6, 8, 10]) test.state.alive.add(n)
      const bootstrap = yield* Effect.provide(
        BootstrapList.make({ list: [...list, addressOf(999 % 256)] }),
        around(test)
      )
      const met: Array<string> = []
      yield* Effect.forkScoped(Stream.runForEach(bootstrap.discovered, (one) => Effect.sync(() => met.push(one.by))))
      yield* TestClock.adjust("30 seconds")
      assert.isAtLeast(test.open.size, 4)
      assert.isAtMost(test.open.size, 4 + 2)
      assert.strictEqual(test.state.most, 3)
      assert.isAtMost(test.dials.length, 10)
      assert.deepStrictEqual(new Set(met), new Set(["bootstrap"]))
      assert.lengthOf(met, test.open.size)
      const before = test.dials.length
      yield* TestClock.adjust("1 day")
      assert.lengthOf(test.dials, before, "it is content")
    })
  )

  it.effect("goes on trying when all are dead, ever more seldom, and finds the one that comes back", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      yield* Effect.provide(BootstrapList.make({ list }), around(test))
      yield* TestClock.adjust("1 hour")
      const first = test.dials.length
      yield* TestClock.adjust("1 hour")
      const second = test.dials.length - first
      assert.isBelow(second, first)
      assert.isAtMost(second, 2 * list.length + 5)
      test.state.alive.add(7)
      yield* TestClock.adjust("70 minutes")
      assert.deepStrictEqual([...test.open.keys()], [peerOf(7).toString()])
    })
  )

  it.effect("begins again when too few connections are left, with those that answered before", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      for (const n of [7, 8, 9, 10]) test.state.alive.add(n)
      yield* Effect.provide(BootstrapList.make({ list }), around(test))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(test.open.size, 4)
      const before = test.dials.length
      yield* test.lose(7)
      yield* test.lose(8)
      yield* TestClock.adjust("1 second")
      assert.lengthOf(test.dials, before, "two are enough")
      yield* test.lose(9)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(test.open.size, 4)
      assert.deepStrictEqual(new Set(test.dials.slice(before, before + 3)), new Set([7, 8, 9]))
    })
  )

  it.effect("is asked for by one whose tables are empty: all who ask share a try, and hear of the connected", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      for (let n = 50; n < 60; n++) yield* test.connect(n)
      const bootstrap = yield* Effect.provide(BootstrapList.make({ list: list.slice(0, 5) }), around(test))
      yield* TestClock.adjust("1 minute")
      assert.isEmpty(test.dials, "there are connections enough")
      test.state.alive.add(5)
      const met: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(bootstrap.discovered, ({ peer }) => Effect.sync(() => met.push(peer.toString())))
      )
      yield* settle
      const askers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(bootstrap.reenter))
      yield* settle
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Effect.forEach(askers, Fiber.join), [1, 1, 1])
      assert.deepStrictEqual(new Set(test.dials), new Set([1, 2, 3, 4, 5]))
      assert.lengthOf(test.dials, 5)
      yield* TestClock.adjust("1 hour")
      const again = yield* Effect.forkChild(bootstrap.reenter)
      yield* settle
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(again), 1)
      assert.isAtLeast(met.filter((id) => id === peerOf(5).toString()).length, 2)
    })
  )

  it.effect("leaves this node itself out, and refuses what cannot be dialled", () =>
    Effect.gen(function* () {
      const test = yield* makeSwarm
      const shared = [`/ip4/192.0.2.7/tcp/4001/p2p/${peerOf(999).toString()}`, addressOf(1)]
      const bootstrap = yield* Effect.provide(BootstrapList.make({ list: shared }), around(test))
      assert.lengthOf(yield* bootstrap.peers, 1)
      for (const [text, word] of [
        ["/ip4/192.0.2.1/tcp/4001", "must end with /p2p/"],
        ["nonsense", "starts with /"]
      ] as const) {
        const error = yield* Effect.flip(Effect.provide(BootstrapList.make({ list: [text] }), around(test)))
        assert.include(error.message, word)
        assert.include(error.message, text)
      }
    })
  )

  it.effect("works with nodes: one that knows only the list meets the peer on it", () =>
    run(
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const server = yield* startNode({ seed: 1, listen, net: network.host(["10.0.1.1"]) })
        const client = yield* startNode({ seed: 2, net: network.host(["10.0.2.1"]) })
        const address = Multiaddr.withPeer(at("10.0.1.1"), server.swarm.peerId).toString()
        const bootstrap = yield* BootstrapList.make({ list: [address] }).pipe(
          Effect.provideService(Swarm, client.swarm),
          Effect.provideService(Actors, client.actors),
          Effect.provideService(PeerStore, client.peerStore)
        )
        assert.strictEqual(yield* bootstrap.reenter, 1)
        assert.lengthOf(yield* client.swarm.connections(server.swarm.peerId), 1)
        yield* server.swarm.disconnect(client.swarm.peerId)
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(yield* client.swarm.connections(server.swarm.peerId), 1)
      })
    )
  )
})

describe("what is learnt", () => {
  const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, SecureRandom.layerWebCrypto)
  const temporary = Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return `${yield* fs.makeTempDirectoryScoped({ prefix: "bootstrap-" })}/peers.json`
  })

  it.effect("is who was connected long, and serves the next start", () =>
    Effect.gen(function* () {
      const path = yield* temporary
      const test = yield* makeSwarm
      const scope = yield* Scope.make()
      yield* Scope.provide(Effect.provide(BootstrapList.makeFile({ path }), around(test)), scope)
      yield* test.connect(1)
      yield* TestClock.adjust("30 minutes")
      yield* test.connect(2)
      yield* TestClock.adjust("31 minutes")
      yield* settle
      yield* Scope.close(scope, Exit.void)
      const next = yield* makeSwarm
      next.state.alive.add(1)
      const bootstrap = yield* Effect.provide(BootstrapList.makeFile({ path }), around(next))
      const [one, ...others] = yield* bootstrap.peers
      assert.isEmpty(others)
      assert.deepInclude(one, { ...routed(1), source: "learnt" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(next.dials, [1])
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.effect("is not believed from a file that is damaged or another's, which is left as it is", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* temporary
      const test = yield* makeSwarm
      yield* BootstrapFile.save(path, [{ ...routed(1), seenAt: 5 }])
      const good = yield* fs.readFileString(path)
      for (const [text, word] of [
        ["", "or is damaged"],
        ["{}", "or is damaged"],
        ["\u0000\u0001", "or is damaged"],
        [good.slice(0, -10), "or is damaged"],
        [good.replace('"version": 1', '"version": 2'), "unknown version 2"],
        [good.replace("/ip4/", "/ip5/"), "it is damaged"],
        [good.replace('"seenAt": 5', '"seenAt": "5"'), "it is damaged"],
        [`${good}${" ".repeat(2 ** 20)}`, "the limit is"]
      ] as const) {
        yield* fs.writeFileString(path, text)
        const error = yield* Effect.flip(Effect.provide(BootstrapList.makeFile({ path }), around(test)))
        assert.strictEqual(error._tag, "BootstrapFileError")
        assert.include(error.message, word)
        assert.include(error.message, path)
        assert.strictEqual(yield* fs.readFileString(path), text)
      }
      yield* fs.writeFileString(path, good)
      assert.deepStrictEqual(yield* BootstrapFile.load(path), [{ ...routed(1), seenAt: 5 }])
      assert.deepStrictEqual(yield* BootstrapFile.load(`${path}.none`), [])
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.effect("is whole after a power cut: what was saved, or what was there before", () =>
    Effect.gen(function* () {
      const peers = (count: number) => Array.from({ length: count }, (_, n) => ({ ...routed(n), seenAt: n }))
      const outcomes = new Set<string>()
      for (let seed = 0; seed < 100; seed++) {
        const disk = new SimDisk({ random: new Prng(`${seed}`), sectorBytes: 64 })
        const inFile = <A, E>(
          use: Effect.Effect<A, E, FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom>
        ) => Effect.provide(use, Layer.mergeAll(disk.layer, NodePath.layer, SecureRandom.layerWebCrypto))
        yield* inFile(BootstrapFile.save("/peers.json", peers(3)))
        // The power goes at each step of it.
        disk.stop(seed % 12)
        const saving = yield* Effect.forkChild(Effect.exit(inFile(BootstrapFile.save("/peers.json", peers(9)))), {
          startImmediately: true
        })
        yield* settle
        const isAcknowledged = saving.pollUnsafe() !== undefined
        disk.crash("torn")
        yield* Fiber.await(saving)
        const found = (yield* inFile(BootstrapFile.load("/peers.json"))).length
        assert.include(isAcknowledged ? [9] : [3, 9], found)
        outcomes.add(`${isAcknowledged} ${found}`)
      }
      assert.deepStrictEqual([...outcomes].toSorted(), ["false 3", "false 9", "true 9"])
    }).pipe(Effect.provide(silent))
  )

  it.effect("is not lost when the disk fails: the list goes on, and is written when it can be", () =>
    Effect.gen(function* () {
      const saves: Array<number> = []
      const warnings: Array<unknown> = []
      const test = yield* makeSwarm
      let broken = true
      const fs = yield* FileSystem.FileSystem
      const path = yield* temporary
      const failing = {
        ...fs,
        rename: (from: string, to: string) => {
          saves.push(1)
          return broken ? fs.rename(`${from}.none`, to) : fs.rename(from, to)
        }
      }
      yield* Effect.provide(BootstrapList.makeFile({ path }), around(test)).pipe(
        Effect.provideService(FileSystem.FileSystem, failing),
        Effect.provide(Logger.layer([Logger.make(({ message }) => warnings.push(message))]))
      )
      yield* test.connect(1)
      const later = Effect.andThen(TestClock.adjust("10 minutes"), settle)
      while (saves.length < 2) yield* later
      assert.isFalse(yield* fs.exists(path))
      broken = false
      while (!(yield* fs.exists(path))) yield* later
      assert.lengthOf(warnings, 1, "it is told of once")
      assert.lengthOf(yield* BootstrapFile.load(path), 1)
    }).pipe(Effect.scoped, Effect.provide(platform))
  )
})
