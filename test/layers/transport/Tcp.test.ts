import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as net from "node:net"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as NodeNet from "../../../src/layers/net/NodeNet.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import type { Net } from "../../../src/services/Net.ts"
import { Transport } from "../../../src/services/Transport.ts"
import { transportSuite } from "../../../src/conformance/Transport.ts"

const at = Multiaddr.fromStringUnsafe

const tcpOn = (layer: Layer.Layer<Net>, options: Tcp.Options = {}) =>
  Effect.flatMap(Layer.build(layer), (context) => Effect.provide(Tcp.makeWith(options), context))

transportSuite(
  "Tcp over NodeNet",
  Effect.gen(function* () {
    return {
      dialer: yield* tcpOn(NodeNet.layer),
      listener: yield* tcpOn(NodeNet.layer),
      listenAt: at("/ip4/127.0.0.1/tcp/0")
    }
  }),
  { live: true }
)

transportSuite(
  "Tcp over NodeNet, all interfaces",
  Effect.gen(function* () {
    const both = yield* tcpOn(NodeNet.layer)
    return { dialer: both, listener: both, listenAt: at("/ip4/0.0.0.0/tcp/0") }
  }),
  { live: true }
)

const memorySides = (listenAt: string) =>
  Effect.gen(function* () {
    const network = yield* MemoryNet.makeNetwork()
    return {
      dialer: yield* tcpOn(network.host(["10.0.0.1", "fd00::1"])),
      listener: yield* tcpOn(network.host(["10.0.0.2", "fd00::2"])),
      listenAt: at(listenAt)
    }
  })
transportSuite("Tcp over MemoryNet", memorySides("/ip4/10.0.0.2/tcp/0"), { bound: 64 * 1024 })
transportSuite("Tcp over MemoryNet, IPv6", memorySides("/ip6/fd00::2/tcp/0"), { bound: 64 * 1024 })

const names = { "node.example": { addresses: ["10.0.0.9", "fd00::2", "10.0.0.2"] } }

const twoHosts = Effect.gen(function* () {
  const network = yield* MemoryNet.makeNetwork({ names })
  return {
    left: yield* tcpOn(network.host(["10.0.0.1", "fd00::1"])),
    right: yield* tcpOn(network.host(["10.0.0.2", "fd00::2"])),
    plain: yield* tcpOn(network.host(["10.0.0.3"]), { portReuse: false })
  }
})

describe("Tcp", () => {
  it.effect("an unspecified host is all addresses of the machine", () =>
    Effect.gen(function* () {
      const { left } = yield* twoHosts
      const four = yield* left.listen(at("/ip4/0.0.0.0/tcp/4001"))
      const six = yield* left.listen(at("/ip6/::/tcp/4001"))
      assert.deepStrictEqual((yield* four.addresses).map(String), ["/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.1/tcp/4001"])
      assert.deepStrictEqual((yield* six.addresses).map(String), ["/ip6/::1/tcp/4001", "/ip6/fd00::1/tcp/4001"])
    })
  )

  it.effect("dials from the port that it listens on, of the same family", () =>
    Effect.gen(function* () {
      const { left, plain, right } = yield* twoHosts
      const listening = yield* right.listen(at("/ip4/0.0.0.0/tcp/4001"))
      yield* right.listen(at("/ip6/::/tcp/4001"))
      yield* left.listen(at("/ip4/10.0.0.1/tcp/5001"))
      yield* plain.listen(at("/ip4/0.0.0.0/tcp/6001"))
      const client = yield* left.dial(at("/ip4/10.0.0.2/tcp/4001"))
      assert.strictEqual(client.localAddress.toString(), "/ip4/10.0.0.1/tcp/5001")
      assert.strictEqual((yield* listening.accept).remoteAddress.toString(), "/ip4/10.0.0.1/tcp/5001")
      const six = yield* left.dial(at("/ip6/fd00::2/tcp/4001"))
      assert.notInclude(six.localAddress.toString(), "/tcp/5001")
      const other = yield* plain.dial(at("/ip4/10.0.0.2/tcp/4001"))
      assert.notInclude(other.localAddress.toString(), "/tcp/6001")
    })
  )

  it.live("dials from the port that it listens on, over real sockets", () =>
    Effect.gen(function* () {
      if (!("BoundSocket" in net) || process.platform !== "linux") return
      const left = yield* tcpOn(NodeNet.layer)
      const right = yield* tcpOn(NodeNet.layer)
      const from = yield* left.listen(at("/ip4/0.0.0.0/tcp/0"))
      const to = yield* right.listen(at("/ip4/127.0.0.1/tcp/0"))
      const [mine] = yield* from.addresses
      const [theirs] = yield* to.addresses
      if (mine === undefined || theirs === undefined) return assert.fail("no address")
      const client = yield* left.dial(theirs)
      assert.strictEqual(client.localAddress.toString(), mine.toString())
      yield* right.dial(mine)
      yield* from.accept
    })
  )

  it.effect("tries each address of a name, and tells the last refusal", () =>
    Effect.gen(function* () {
      const { left, right } = yield* twoHosts
      const address = at("/dns/node.example/tcp/4001")
      assert.isTrue(left.canDial(address))
      assert.isFalse(left.canListen(address))
      const refused = yield* Effect.flip(left.dial(address))
      assert.strictEqual(refused.message, "/dns/node.example/tcp/4001: connect 10.0.0.2 port 4001: connection refused")
      yield* right.listen(at("/ip4/10.0.0.2/tcp/4001"))
      assert.strictEqual((yield* left.dial(address)).remoteAddress.toString(), "/ip4/10.0.0.2/tcp/4001")
      yield* right.listen(at("/ip6/fd00::2/tcp/4001"))
      assert.strictEqual(
        (yield* left.dial(at("/dns6/node.example/tcp/4001"))).remoteAddress.toString(),
        "/ip6/fd00::2/tcp/4001"
      )
      const unknown = yield* Effect.flip(left.dial(at("/dns4/no.example/tcp/4001")))
      assert.strictEqual(unknown.message, "/dns4/no.example/tcp/4001: lookup: no such name: no.example")
    })
  )

  it.effect("knows what is not its own", () =>
    Effect.gen(function* () {
      const { left } = yield* twoHosts
      for (const text of [
        "/ip4/1.2.3.4/tcp/0",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/1/ws",
        "/dnsaddr/a.example/tcp/1",
        "/memory/1"
      ]) {
        assert.isFalse(left.canDial(at(text)), text)
      }
    })
  )

  it.effect("is a Transport by itself", () =>
    Effect.gen(function* () {
      const { transports } = yield* Effect.provide(
        Effect.service(Transport),
        Layer.provide(Tcp.layer, MemoryNet.layer())
      )
      assert.deepStrictEqual(
        transports.map((one) => one.name),
        ["tcp"]
      )
    })
  )
})
