import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import { Net } from "../../../src/services/Net.ts"
import { netSuite } from "../../../src/conformance/Net.ts"
import { pattern, readExactly, reasonOf } from "../../../src/conformance/ByteStream.ts"
import { write } from "../../../src/services/ByteStream.ts"

netSuite("MemoryNet", MemoryNet.layer({ names: { "known.example": { addresses: ["10.0.0.1"] } } }), {
  bound: 64 * 1024,
  name: "known.example",
  multicast: { group: "224.0.0.251", via: "10.0.0.1" }
})

const on = (layer: Layer.Layer<Net>) =>
  Effect.flatMap(Layer.build(layer), (context) => Effect.provide(Effect.service(Net), context))

describe("MemoryNet", () => {
  it.effect("hosts of one network meet, those of two do not", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const left = yield* on(network.host(["10.0.0.1"]))
      const right = yield* on(network.host(["10.0.0.2", "fd00::2"]))
      const stranger = yield* on((yield* MemoryNet.makeNetwork()).host(["10.0.0.3"]))
      const listener = yield* right.listen({ host: "0.0.0.0", port: 4001 })
      const client = yield* left.connect({ host: "10.0.0.2", port: 4001 })
      const server = yield* listener.accept
      assert.deepStrictEqual([server.local, server.remote.host], [{ host: "10.0.0.2", port: 4001 }, "10.0.0.1"])
      yield* write(client, pattern(0, 10))
      assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
      const error = yield* Effect.flip(stranger.connect({ host: "10.0.0.2", port: 4001 }))
      assert.strictEqual(error.reason._tag, "Unreachable")
      // Each host has a loopback of its own, and no route to a family that it has no address of.
      assert.strictEqual(
        (yield* Effect.flip(left.connect({ host: "127.0.0.1", port: 4001 }))).reason._tag,
        "ConnectionRefused"
      )
      assert.strictEqual((yield* Effect.flip(left.connect({ host: "fd00::2", port: 4001 }))).reason._tag, "Unreachable")
    })
  )

  it.effect("a host that leaves takes its address along", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const left = yield* on(network.host(["10.0.0.1"]))
      const client = yield* Effect.scoped(
        Effect.gen(function* () {
          const right = yield* on(network.host(["10.0.0.2"]))
          yield* right.listen({ host: "10.0.0.2", port: 1 })
          return yield* left.connect({ host: "10.0.0.2", port: 1 })
        })
      )
      assert.strictEqual((yield* Effect.flip(left.connect({ host: "10.0.0.2", port: 1 }))).reason._tag, "Unreachable")
      assert.notStrictEqual(yield* reasonOf(client), "end")
    })
  )

  it.effect("a multicast datagram reaches the other hosts, and this one unless told not to", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const nets = yield* Effect.forEach(["10.0.0.1", "10.0.0.2", "10.0.0.3"], (host) => on(network.host([host])))
      const sockets = yield* Effect.forEach(nets, (net) =>
        net.bind({ host: "0.0.0.0", port: 5353, reuseAddress: true })
      )
      const [first, second, third] = sockets
      if (first === undefined || second === undefined || third === undefined) return assert.fail("no sockets")
      for (const socket of sockets) yield* socket.join("224.0.0.251")
      yield* first.setMulticast({ loopback: false })
      yield* first.send(pattern(0, 3), { host: "224.0.0.251", port: 5353 })
      assert.deepStrictEqual((yield* second.receive).from, { host: "10.0.0.1", port: 5353 })
      assert.deepStrictEqual((yield* third.receive).bytes, pattern(0, 3))
      yield* second.send(pattern(9, 3), { host: "224.0.0.251", port: 5353 })
      assert.deepStrictEqual((yield* first.receive).bytes, pattern(9, 3))
      assert.deepStrictEqual((yield* second.receive).bytes, pattern(9, 3))
    })
  )

  it.effect("has a table of names", () =>
    Effect.gen(function* () {
      const net = yield* on(
        MemoryNet.layer({
          names: {
            "a.example": { addresses: ["10.0.0.1", "fd00::1"] },
            "_dnsaddr.a.example": { txt: ["dnsaddr=/ip4/10.0.0.1"] }
          }
        })
      )
      assert.deepStrictEqual(yield* net.lookup("a.example", 6), ["fd00::1"])
      assert.deepStrictEqual(yield* net.lookup("a.example", "any"), ["10.0.0.1", "fd00::1"])
      assert.deepStrictEqual(yield* net.lookupTxt("_dnsaddr.a.example"), ["dnsaddr=/ip4/10.0.0.1"])
      assert.strictEqual((yield* Effect.flip(net.lookupTxt("a.example"))).reason._tag, "NameNotFound")
      assert.strictEqual((yield* Effect.flip(net.lookup("b.example", 4))).reason._tag, "NameNotFound")
    })
  )
})
