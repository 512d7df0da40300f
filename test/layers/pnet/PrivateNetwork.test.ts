import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Fiber, Layer, Result, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NetworkKey from "../../../src/data/NetworkKey.ts"
import { transportSuite } from "../../../src/conformance/Transport.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as NodeNet from "../../../src/layers/net/NodeNet.ts"
import * as PrivateNetwork from "../../../src/layers/pnet/PrivateNetwork.ts"
import * as Tls from "../../../src/layers/security/Tls.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as MemoryTransport from "../../../src/layers/transport/MemoryTransport.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import * as ConnectionSecurity from "../../../src/services/ConnectionSecurity.ts"
import type { StreamMuxer } from "../../../src/services/StreamMuxer.ts"
import { DialError } from "../../../src/services/Swarm.ts"
import * as Transport from "../../../src/services/Transport.ts"
import { hostNet, two } from "../../support/memory-nodes.ts"
import { startNode, type TestNode } from "../../support/nodes.ts"
import { nextEvent, realNode, runNodes, tagsOf } from "../../support/peers.ts"

const at = Multiaddr.fromStringUnsafe
const keyOf = (n: number) => Result.getOrThrow(NetworkKey.fromBytes(new Uint8Array(32).fill(n)))

/** The transports of a layer, in the network of a key. */
const inNetwork = <R>(transports: Layer.Layer<Transport.Transport, never, R>, key = keyOf(1)) =>
  PrivateNetwork.layer(key).pipe(Layer.provide(transports), Layer.provide(SecureRandom.layerWebCrypto), Layer.orDie)

const only = <R>(layer: Layer.Layer<Transport.Transport, never, R>) =>
  Effect.map(Layer.build(layer), (context) => {
    const [first] = Context.get(context, Transport.Transport).transports
    return first ?? assert.fail("no transport")
  })

transportSuite(
  "memory, in a private network",
  Effect.gen(function* () {
    const hub = yield* MemoryTransport.makeHub()
    const side = only(inNetwork(MemoryTransport.layer(hub)).pipe(Layer.fresh))
    return { dialer: yield* side, listener: yield* side, listenAt: at("/memory/0") }
  }),
  { bound: 64 * 1024 }
)

transportSuite(
  "TCP on sockets, in a private network",
  Effect.gen(function* () {
    const side = only(inNetwork(Tcp.layer).pipe(Layer.provide(NodeNet.layer), Layer.fresh))
    return { dialer: yield* side, listener: yield* side, listenAt: at("/ip4/127.0.0.1/tcp/0") }
  }),
  { live: true }
)

type Below = Transport.Transport | ConnectionSecurity.ConnectionSecurity | StreamMuxer

/** TCP, Noise and Yamux, with a key or without. */
const below = (key: NetworkKey.NetworkKey | undefined) =>
  key === undefined ? Libp2p.layerTcp : PrivateNetwork.layer(key).pipe(Layer.provideMerge(Libp2p.layerTcp), Layer.orDie)

/** Why the one address of a dial failed, by its tags and in words. */
const failed = (error: DialError): { readonly tags: string; readonly message: string; readonly ms?: number } => {
  const [attempt] = error.attempts
  return { tags: attempt === undefined ? error.reason._tag : tagsOf(attempt.reason), message: error.message }
}

/** `a` cannot connect with `b`, and both say why. */
const refuses = (a: TestNode, b: TestNode) =>
  Effect.gen(function* () {
    const inbound = yield* nextEvent(b, "InboundFailed")
    const started = performance.now()
    const error = yield* Effect.flip(a.swarm.dial(b.address))
    if (!(error instanceof DialError)) return assert.fail(String(error))
    assert.isBelow(performance.now() - started, 3000, "well within the deadline of a handshake")
    const { reason } = yield* Fiber.join(inbound)
    assert.lengthOf(yield* a.swarm.connections(), 0)
    assert.lengthOf(yield* b.swarm.connections(), 0)
    return { ...failed(error), inbound: tagsOf(reason) }
  })

const pings = (a: TestNode, b: TestNode) =>
  Effect.gen(function* () {
    yield* a.swarm.dial(b.address)
    const times = yield* Stream.runCollect(a.ping.ping(b.swarm.peerId, { count: 2, deadline: "5 seconds" }))
    assert.lengthOf(times, 2)
  })

describe("nodes of a private network", () => {
  it.live("with the same key they are as any nodes; identify observes and tells addresses", () =>
    runNodes(
      Effect.gen(function* () {
        const a = yield* realNode({ seed: 1, below: below(keyOf(1)) })
        const b = yield* realNode({ seed: 2, below: below(keyOf(1)) })
        yield* pings(a, b)
        const [connection] = yield* a.swarm.connections()
        if (connection === undefined) return assert.fail("no connection")
        const info = yield* a.identify.identified(connection)
        assert.strictEqual(info.observedAddress?.toString(), connection.localAddress.toString())
        assert.include(info.listenAddresses.map(String), connection.remoteAddress.toString())
        const result = yield* a.perf.measure(b.swarm.peerId, { uploadBytes: 5_000_000, downloadBytes: 5_000_000 })
        assert.isAbove(result.uploadMs, 0)
      })
    )
  )

  it.live("without the key, with another, or in none: neither end connects, and both say what it may be", () =>
    runNodes(
      Effect.gen(function* () {
        const here = yield* realNode({ seed: 1, below: below(keyOf(1)) })
        const elsewhere = yield* realNode({ seed: 2, below: below(keyOf(2)) })
        const open = yield* realNode({ seed: 3 })

        const fromOpen = yield* refuses(open, here)
        assert.include(
          ["NegotiationFailed MalformedNegotiation", "NegotiationFailed NegotiationInterrupted"],
          fromOpen.tags
        )
        assert.include(fromOpen.message, "private network")
        assert.strictEqual(fromOpen.inbound, "NegotiationFailed OutsideNetwork")

        const toOpen = yield* refuses(here, open)
        assert.strictEqual(toOpen.tags, "NegotiationFailed OutsideNetwork")
        assert.include(toOpen.message, keyOf(1).fingerprint)
        assert.strictEqual(toOpen.inbound, "NegotiationFailed MalformedNegotiation")

        const toOther = yield* refuses(here, elsewhere)
        assert.strictEqual(toOther.tags, "NegotiationFailed OutsideNetwork")
        assert.include(toOther.message, "it is in another, or in none")
        assert.strictEqual(toOther.inbound, "NegotiationFailed OutsideNetwork")
      })
    )
  )

  it.effect(
    "a remote that takes all and says nothing, as some without the key do: why it ends says what it may be",
    () =>
      Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const silently = yield* hostNet(network, ["10.0.2.1"])
        const { accept } = yield* silently.listen({ host: "10.0.2.1", port: 4001 })
        yield* Effect.forkScoped(Effect.forever(accept))
        const dial = Effect.fnUntraced(function* (seed: number, key: NetworkKey.NetworkKey | undefined) {
          const { swarm } = yield* startNode({ seed, below: below(key), net: network.host([`10.0.1.${seed}`]) })
          const dialling = yield* Effect.forkChild(Effect.flip(swarm.dial(at("/ip4/10.0.2.1/tcp/4001"))))
          yield* TestClock.adjust("20 seconds")
          const error = yield* Fiber.join(dialling)
          if (!(error instanceof DialError)) return assert.fail(String(error))
          return { ...failed(error), reason: error.attempts[0]?.reason }
        })
        const within = yield* dial(1, keyOf(1))
        assert.strictEqual(within.tags, "DeadlineExceeded securing")
        assert.deepInclude(within.reason, { network: keyOf(1).fingerprint })
        assert.include(within.message, `the key of the private network ${keyOf(1).fingerprint}`)
        const outside = yield* dial(2, undefined)
        assert.strictEqual(outside.tags, "DeadlineExceeded securing")
        assert.notInclude(outside.message, "private network")
      }).pipe(Effect.scoped)
  )

  it.effect("nodes that dial each other at once from the ports that they listen on still meet", () =>
    Effect.gen(function* () {
      const { a, atA, atB, b } = yield* two({ below: below(keyOf(1)) }, { below: below(keyOf(1)) })
      yield* Effect.all([a.swarm.dial(atB), b.swarm.dial(atA)], { concurrency: 2 })
      assert.isAtLeast((yield* a.swarm.connections()).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("a remote that has only the second security is offered that, under the key", () =>
    Effect.gen(function* () {
      const tls = Layer.mergeAll(Tcp.layer, ConnectionSecurity.layerPrefer([Tls.make]), Yamux.layer())
      const ways = <R>(plain: Layer.Layer<Below, never, R>) =>
        PrivateNetwork.layer(keyOf(1)).pipe(Layer.provideMerge(plain), Layer.orDie)
      const a = yield* realNode({ seed: 1, below: ways(Libp2p.layerTcpTls) })
      const b = yield* realNode({ seed: 2, below: ways(tls) })
      const connection = yield* a.swarm.dial(b.address)
      assert.strictEqual(connection.security, "/tls/1.0.0")
    }).pipe(Effect.scoped)
  )
})

/** Writes down what a transport sends. */
const tapped = (inner: Transport.TransportProtocol, wire: Array<Uint8Array>): Transport.TransportProtocol => {
  const tap = <E, R>(connecting: Effect.Effect<Transport.RawConnection, E, R>) =>
    Effect.map(connecting, (raw): Transport.RawConnection => ({
      ownedReads: raw.ownedReads,
      copiesWrites: raw.copiesWrites,
      localAddress: raw.localAddress,
      remoteAddress: raw.remoteAddress,
      tryRead: () => raw.tryRead(),
      tryWrite: (bytes) => {
        const taken = raw.tryWrite(bytes)
        wire.push(Bytes.copy(bytes.subarray(0, taken)))
        return taken
      },
      flush: () => raw.flush(),
      reset: (because) => raw.reset(because),
      readable: raw.readable,
      writable: raw.writable,
      closeWrite: raw.closeWrite
    }))
  return {
    ...inner,
    dial: (address, options) => tap(inner.dial(address, options)),
    listen: (address) =>
      Effect.map(inner.listen(address), (listener) => ({ ...listener, accept: tap(listener.accept) }))
  }
}

const tappedTcp = (wire: Array<Uint8Array>) => Transport.layerPrefer([Effect.map(Tcp.make, (tcp) => tapped(tcp, wire))])

/** Whatever an eavesdropper would know libp2p by. */
const telltale = ["/multistream/1.0.0", "/noise", "/yamux", "/ipfs/", "libp2p"]
const heard = (wire: ReadonlyArray<Uint8Array>): ReadonlyArray<string> => {
  const text = Buffer.concat(wire).toString("latin1")
  return telltale.filter((word) => text.includes(word))
}

describe("an eavesdropper", () => {
  const listen = (key: NetworkKey.NetworkKey | undefined, wire: Array<Uint8Array>) =>
    Effect.gen(function* () {
      const rest = Layer.mergeAll(Noise.layer, Yamux.layer())
      const tcp = tappedTcp(wire)
      const ways =
        key === undefined
          ? Layer.merge(tcp, rest)
          : Layer.merge(PrivateNetwork.layer(key).pipe(Layer.provide(tcp), Layer.orDie), rest)
      const { a, atB, b } = yield* two({ below: ways }, { below: ways })
      const connection = yield* a.swarm.dial(atB)
      yield* a.identify.identified(connection)
      yield* Stream.runDrain(b.ping.ping(a.swarm.peerId, { count: 1, interval: 0 }))
    }).pipe(Effect.scoped)

  it.live("reads no name of a protocol in a private network, and several outside", () =>
    Effect.gen(function* () {
      const wires: readonly [Array<Uint8Array>, Array<Uint8Array>] = [[], []]
      yield* listen(undefined, wires[0])
      yield* listen(keyOf(1), wires[1])
      assert.includeMembers([...heard(wires[0])], ["/multistream/1.0.0", "/noise"])
      assert.deepStrictEqual(heard(wires[1]), [])
      assert.isAbove(Buffer.concat(wires[1]).length, 500)
    })
  )
})

describe("PrivateNetwork.layer", () => {
  const fake = (name: string, securesItself?: boolean): Transport.TransportProtocol => ({
    name,
    securesItself,
    canDial: () => true,
    canListen: () => true,
    dial: () => Effect.die("dialled without the key"),
    listen: () => Effect.die("listened without the key")
  })
  const transports = (...all: ReadonlyArray<Transport.TransportProtocol>) =>
    Transport.layerPrefer(all.map((one) => Effect.succeed(one)))
  const build = (beneath: Layer.Layer<Transport.Transport>) =>
    Layer.build(
      PrivateNetwork.layer(keyOf(1)).pipe(Layer.provide(beneath), Layer.provide(SecureRandom.layerWebCrypto))
    ).pipe(Effect.scoped)

  it.effect("is not built with a transport that secures itself, and names it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        build(transports(fake("tcp"), fake("quic-v1", true), fake("webtransport", true)))
      )
      assert.strictEqual(error.reason._tag, "SecuresItself")
      assert.include(error.message, "quic-v1 and webtransport")
      yield* build(transports(fake("tcp"), fake("ws", false)))
    })
  )

  it.effect("a node is in one network", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(build(inNetwork(transports(fake("tcp")), keyOf(2))))
      assert.strictEqual(error.reason._tag, "AlreadyPrivate")
      assert.include(error.message, keyOf(2).fingerprint)
    })
  )

  it.effect("takes the place of the transports that it is merged with", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const rest = Layer.mergeAll(
        network.host(["10.0.0.1"]),
        SecureRandom.layerWebCrypto,
        IdentityFromSeed.layer(new Uint8Array(32))
      ).pipe(Layer.provideMerge(NodeCrypto.layer))
      const context = yield* Layer.build(below(keyOf(1)).pipe(Layer.provide(rest)))
      const found = Context.get(context, Transport.Transport)
      assert.strictEqual(found.network, keyOf(1).fingerprint)
      assert.deepStrictEqual(
        found.transports.map(({ name }) => name),
        ["tcp"]
      )
    }).pipe(Effect.scoped)
  )
})

describe("LIBP2P_FORCE_PNET", () => {
  const start = (key: NetworkKey.NetworkKey | undefined, value: string | undefined) =>
    Layer.build(Libp2p.layerDefault({ network: key }).pipe(Layer.fresh)).pipe(
      Effect.scoped,
      Effect.result,
      Effect.provide(
        ConfigProvider.layer(ConfigProvider.fromEnv({ env: value === undefined ? {} : { LIBP2P_FORCE_PNET: value } }))
      ),
      Effect.map(Result.isSuccess)
    )

  it.live("a node without a key is refused, one with a key is not", () =>
    Effect.gen(function* () {
      for (const value of ["1", "true", "yes"]) {
        assert.isFalse(yield* start(undefined, value), value)
        assert.isTrue(yield* start(keyOf(1), value), value)
      }
      for (const value of [undefined, "", "0", "false"]) assert.isTrue(yield* start(undefined, value), value)
    })
  )
})
