import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Result, Scope, Stream } from "effect"
import * as dgram from "node:dgram"
import * as dns from "node:dns"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NetworkKey from "../../../src/data/NetworkKey.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as NodeNet from "../../../src/layers/net/NodeNet.ts"
import * as Packet from "../../../src/layers/mdns/core/Packet.ts"
import makeMdns from "multicast-dns"
import * as Names from "../../../src/layers/mdns/core/Names.ts"
import type { LocalQuestion } from "../../../src/services/LocalNetwork.ts"
import { hostNet } from "../../support/memory-nodes.ts"
import { knows, start, until } from "./nodes.ts"

/** A port that nothing uses, for a multicast of the test's own. */
const freePort = Effect.callback<number>((resume) => {
  const socket = dgram.createSocket("udp4")
  socket.bind(0, "127.0.0.1", () => {
    const { port } = socket.address()
    socket.close(() => resume(Effect.succeed(port)))
  })
})

const here = ["/ip4/127.0.0.1/tcp/0"]

describe("the local network", () => {
  it.live("in memory: nodes find each other, connect, and hear who goes", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const a = yield* start({ seed: 1, net: network.host(["10.0.0.1"]), connects: true })
      const scope = yield* Scope.make()
      const left = yield* Effect.forkChild(
        Stream.runHead(Stream.filter(a.network.changes, ({ _tag }) => _tag === "Left")),
        { startImmediately: true }
      )
      const b = yield* Scope.provide(start({ seed: 2, net: network.host(["10.0.0.2"]), connects: true }), scope)
      yield* until(
        "they are connected",
        Effect.map(a.swarm.connections(b.swarm.peerId), ({ length }) => length > 0)
      )
      yield* knows(a, b)
      yield* knows(b, a)
      const [found] = yield* a.network.peers
      assert.deepStrictEqual(found?.addresses.map(String), ["/ip4/10.0.0.2/tcp/4001"])
      assert.deepStrictEqual(found?.services, ["_p2p._udp.local"])
      yield* until(
        "the connection is worth something",
        Effect.sync(() => a.peerStore.worth(b.swarm.peerId) > 0)
      )
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(left)
      assert.deepStrictEqual(yield* a.network.peers, [])
    }).pipe(Effect.scoped)
  )

  it.live("a node that stops says goodbye twice, and one that is not seen says nothing", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const net = yield* hostNet(network, ["10.0.0.9"])
      const socket = yield* net.bind({ host: "0.0.0.0", port: 5353, reuseAddress: true })
      yield* socket.join("224.0.0.251", "10.0.0.9")
      const goodbyes: Array<string> = []
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.map(socket.receive, ({ bytes, from }) => {
            const { answers } = Result.getOrThrow(Packet.decode(bytes))
            if (answers.some(({ ttl }) => ttl === 0)) goodbyes.push(from.host)
          })
        )
      )
      const scope = yield* Scope.make()
      yield* Scope.provide(start({ seed: 1, net: network.host(["10.0.0.1"]) }), scope)
      const watcher = { net: network.host(["10.0.0.2"]), watches: true }
      yield* Scope.provide(start({ seed: 2, ...watcher }), scope)
      yield* Effect.sleep(50)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep(50)
      assert.deepStrictEqual(goodbyes, ["10.0.0.1", "10.0.0.1"])
    }).pipe(Effect.scoped)
  )

  it.live("a service is a network of its own, and so is a private network", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const host = (n: number) => network.host([`10.0.0.${n}`])
      const chat = { service: "chat" }
      const secret = { network: "07".repeat(16) }
      const a = yield* start({ seed: 1, net: host(1), ...chat })
      const b = yield* start({ seed: 2, net: host(2), ...chat })
      const c = yield* start({ seed: 3, net: host(3), ...secret })
      const d = yield* start({ seed: 4, net: host(4), ...secret })
      const e = yield* start({ seed: 5, net: host(5) })
      const watcher = yield* start({ seed: 6, net: host(6), watches: true, listen: [] })
      yield* knows(a, b)
      yield* knows(c, d)
      yield* knows(watcher, a, b, c, d, e)
      for (const [node, count] of [
        [a, 1],
        [b, 1],
        [c, 1],
        [d, 1],
        [e, 0]
      ] as const) {
        assert.lengthOf(yield* node.network.peers, count)
      }
      assert.strictEqual((yield* c.network.status).service, `_p2p-${"07".repeat(16)}._udp.local`)
    }).pipe(Effect.scoped)
  )

  it.live("what is sealed is heard by those who have the key, what is also in the clear by all", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const host = (n: number) => network.host([`10.0.0.${n}`])
      const keyOf = (n: number) => Result.getOrThrow(NetworkKey.fromBytes(new Uint8Array(32).fill(n)))
      const a = yield* start({ seed: 1, net: host(1), key: keyOf(1) })
      const b = yield* start({ seed: 2, net: host(2), key: keyOf(1) })
      const other = yield* start({ seed: 3, net: host(3), key: keyOf(2) })
      const both = yield* start({ seed: 4, net: host(4), key: keyOf(2), alsoPlain: true })
      const open = yield* start({ seed: 5, net: host(5) })
      yield* knows(a, b)
      yield* knows(b, a)
      yield* knows(other, both)
      yield* knows(both, other, open)
      yield* knows(open, both)
      const found = yield* Effect.forEach([a, b, other, both, open], (node) => node.network.peers)
      assert.deepStrictEqual(
        found.map((peers) => peers.length),
        [1, 1, 1, 2, 1]
      )
      // Questions and answers, too.
      const asked = yield* Stream.runHead(a.network.ask({ _tag: "Peer", peer: b.swarm.peerId }))
      assert.strictEqual(asked._tag, "Some")
    }).pipe(Effect.scoped)
  )

  it.live("who asks for what is held hears it as it is then, and of what is slow or gone nothing", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const a = yield* start({ seed: 1, net: network.host(["10.0.0.1"]) })
      const b = yield* start({ seed: 2, net: network.host(["10.0.0.2"]) })
      yield* knows(a, b)
      const held = (n: number) => ({ _tag: "Record", key: Uint8Array.of(n) }) as const
      let value: Uint8Array | undefined = Uint8Array.of(1)
      yield* b.network.hold(
        held(1),
        Effect.sync(() => value)
      )
      yield* b.network.hold(held(2), Effect.never)
      yield* b.network.hold({ _tag: "Key", key: Uint8Array.of(3) })
      const ask = (what: LocalQuestion) => Stream.runHead(a.network.ask(what, "700 millis"))
      const contents = (found: Effect.Success<ReturnType<typeof ask>>) => Option.map(found, ({ content }) => content)
      assert.deepStrictEqual(contents(yield* ask(held(1))), Option.some(Uint8Array.of(1)))
      value = Uint8Array.of(2)
      assert.deepStrictEqual(contents(yield* ask(held(1))), Option.some(Uint8Array.of(2)))
      value = undefined
      const [gone, slow, key] = yield* Effect.all(
        [ask(held(1)), ask(held(2)), ask({ _tag: "Key", key: Uint8Array.of(3) })],
        { concurrency: 3 }
      )
      assert.isTrue(Option.isNone(gone))
      assert.isTrue(Option.isNone(slow))
      assert.deepStrictEqual(contents(key), Option.some(undefined))
    }).pipe(Effect.scoped)
  )

  it.live("where all is full, who has a connection is heard all the same", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const a = yield* start({ seed: 1, net: network.host(["10.0.0.1"]), limits: { peers: 1 } })
      const b = yield* start({ seed: 2, net: network.host(["10.0.0.2"]) })
      yield* knows(a, b)
      const c = yield* start({ seed: 3, net: network.host(["10.0.0.3"]) })
      yield* knows(c, a, b)
      assert.lengthOf(yield* a.network.peers, 1)
      yield* c.swarm.dial(a.routed)
      yield* a.network.refresh
      yield* knows(a, b, c)
    }).pipe(Effect.scoped)
  )

  it.live("the name of a service that cannot be one is refused", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const exit = yield* Effect.exit(start({ seed: 1, net: network.host(["10.0.0.1"]), service: "No such" }))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "cannot be the name of a service")
    }).pipe(Effect.scoped)
  )

  it.live("on real sockets of this machine: several nodes of one host, and a partner that is not ours", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const options = { net: NodeNet.layer, port, interfaces: "loopback", listen: here } as const
      const a = yield* start({ seed: 1, ...options })
      const b = yield* start({ seed: 2, ...options })
      yield* knows(a, b)
      yield* knows(b, a)

      const partner = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof makeMdns>>((resume) => {
          const mdns = makeMdns({ port, bind: "0.0.0.0", interface: "127.0.0.1" })
          mdns.on("ready", () => resume(Effect.succeed(mdns)))
        }),
        (mdns) => Effect.callback<void>((resume) => mdns.destroy(() => resume(Effect.void)))
      )
      const service = Names.serviceOf()
      const heard = new Set<string>()
      partner.on("response", ({ additionals, answers }) => {
        for (const answer of [...(answers ?? []), ...(additionals ?? [])]) {
          if (answer.type === "TXT") heard.add(String([answer.data].flat()[0]))
        }
      })
      // As js-libp2p does it: a query now and then, a record an address.
      const id = "12D3KooWSPVBNrS3nrwXEY1qQNRN47m5gwA2FMRmFenexDhnZkHS"
      let asked = 0
      partner.on("query", ({ questions }) => {
        if (questions?.[0]?.name !== service) return
        asked++
        partner.respond([
          { name: service, type: "PTR", ttl: 120, data: `Partner.${service}` },
          { name: `Partner.${service}`, type: "TXT", ttl: 120, data: `dnsaddr=/ip4/127.0.0.1/tcp/4001/p2p/${id}` },
          { name: `Partner.${service}`, type: "TXT", ttl: 120, data: `dnsaddr=/ip4/127.0.0.1/tcp/4002/p2p/${id}` }
        ])
      })
      partner.query({ questions: [{ name: service, type: "PTR" }] })
      yield* until(
        "the partner hears both",
        Effect.sync(() =>
          [a, b].every(({ swarm }) => [...heard].some((text) => text.endsWith(swarm.peerId.toString())))
        )
      )
      yield* a.network.refresh
      yield* until(
        "both hear the partner",
        Effect.map(Effect.all([a.network.peers, b.network.peers]), (all) =>
          all.every((peers) => peers.some(({ addresses, peer }) => peer.toString() === id && addresses.length === 2))
        )
      )
      assert.isAbove(asked, 0)
    }).pipe(Effect.scoped)
  )

  it.live("on real sockets of this machine: who asks from another port is answered there", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const a = yield* start({ seed: 1, net: NodeNet.layer, port, interfaces: "loopback", listen: here })
      const b = yield* start({ seed: 2, net: NodeNet.layer, port, interfaces: "loopback", listen: here })
      yield* knows(a, b)
      const questions = [{ name: Names.serviceOf(), type: "PTR" }]
      const query = Packet.encode({ kind: "query", id: 99, questions, answers: [], additionals: [] })
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => dgram.createSocket("udp4")),
        (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
      )
      const answers = yield* Effect.callback<ReadonlyArray<Packet.Message>>((resume) => {
        const heard: Array<Packet.Message> = []
        socket.on("message", (bytes) => {
          heard.push(Result.getOrThrow(Packet.decode(bytes)))
          if (heard.length === 2) resume(Effect.succeed(heard))
        })
        socket.bind(0, "127.0.0.1", () => {
          socket.setMulticastInterface("127.0.0.1")
          socket.send(query, port, "224.0.0.251")
        })
      }).pipe(Effect.timeout("5 seconds"))
      for (const answer of answers) assert.deepInclude(answer, { kind: "response", id: 99, questions })
      const texts = answers.flatMap(({ additionals }) =>
        additionals.flatMap((rec) => (rec.type === "TXT" ? rec.texts.map(String) : []))
      )
      assert.lengthOf(new Set(texts), 2)
    }).pipe(Effect.scoped)
  )

  it.live("on real sockets of this machine: a resolver that knows nothing of multicast reads what is told", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const node = yield* start({ seed: 1, net: NodeNet.layer, port, interfaces: "loopback", listen: here })
      yield* until(
        "it listens",
        Effect.map(node.network.status, ({ counters }) => counters.sent > 0)
      )
      const resolver = new dns.promises.Resolver({ timeout: 2000, tries: 2 })
      resolver.setServers([`127.0.0.1:${port}`])
      const [instance] = yield* Effect.promise(() => resolver.resolvePtr(Names.serviceOf()))
      const texts = yield* Effect.promise(() => resolver.resolveTxt(instance ?? ""))
      assert.deepStrictEqual(
        texts.flat(),
        node.routed.addresses.map((address) => `dnsaddr=${Multiaddr.withPeer(address, node.swarm.peerId).toString()}`)
      )
      const [found] = yield* Effect.promise(() => resolver.resolveSrv(instance ?? ""))
      assert.include(node.routed.addresses.join(), `/tcp/${found?.port}`)
    }).pipe(Effect.scoped)
  )
})
