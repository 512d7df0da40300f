import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as Controls from "../../../src/layers/faults/Controls.ts"
import * as FaultyTransport from "../../../src/layers/faults/FaultyTransport.ts"
import * as MemoryTransport from "../../../src/layers/transport/MemoryTransport.ts"
import { write } from "../../../src/services/ByteStream.ts"
import { FaultControls, Faults } from "../../../src/services/FaultControls.ts"
import { Transport } from "../../../src/services/Transport.ts"
import { pattern, readExactly, reasonOf } from "../../../src/conformance/ByteStream.ts"
import { transportSuite } from "../../../src/conformance/Transport.ts"

const sides = Effect.gen(function* () {
  const hub = yield* MemoryTransport.makeHub()
  const context = yield* Layer.build(
    FaultyTransport.layer().pipe(Layer.provide(MemoryTransport.layer(hub)), Layer.provideMerge(Controls.layer()))
  )
  const { controls, transport } = yield* Effect.provide(
    Effect.all({ controls: Effect.service(FaultControls), transport: Effect.service(Transport) }),
    context
  )
  const dialer = transport.transports[0] ?? assert.fail("no transport")
  const listener = yield* MemoryTransport.make(hub)
  return { controls, dialer, listener, listenAt: Multiaddr.fromStringUnsafe("/memory/0") }
})

transportSuite("FaultyTransport, no fault", sides, { bound: 64 * 1024 })

describe("FaultyTransport", () => {
  it.effect("gives connections faults by the host of their address", () =>
    Effect.gen(function* () {
      const { controls, dialer, listenAt, listener } = yield* sides
      const listening = yield* listener.listen(listenAt)
      const address = (yield* listening.addresses)[0] ?? assert.fail("no address")
      const host = FaultyTransport.hostOf(address)
      const client = yield* dialer.dial(address)
      const server = yield* listening.accept
      yield* controls.set({ corrupt: 1 }, host)
      yield* write(client, pattern(0, 10))
      assert.notDeepEqual(yield* readExactly(server, 10), pattern(0, 10))
      assert.strictEqual(yield* controls.cut(host), 1)
      assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
      yield* controls.set({ refuse: true }, host)
      const error = yield* Effect.flip(dialer.dial(address))
      assert.include(error.message, "connection refused")
    })
  )

  it("names hosts", () => {
    const host = (text: string) => FaultyTransport.hostOf(Multiaddr.fromStringUnsafe(text))
    assert.strictEqual(host("/ip4/192.0.2.1/tcp/4001"), "192.0.2.1")
    assert.strictEqual(host("/ip6/2001:db8::1/udp/4001/quic-v1"), "2001:db8::1")
    assert.strictEqual(host("/dns4/example.com/tcp/1"), "example.com")
    assert.strictEqual(host("/memory/7/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"), "/memory/7")
  })

  it.effect("faults are read from a request, and checked", () =>
    Effect.gen(function* () {
      const decode = Schema.decodeUnknownEffect(Faults)
      assert.deepStrictEqual(yield* decode({ delayMs: { min: 1, max: 2 }, corrupt: 0.5 }), {
        delayMs: { min: 1, max: 2 },
        corrupt: 0.5
      })
      for (const wrong of [
        { corrupt: 2 },
        { bytesPerSecond: 0 },
        { delayMs: -1 },
        { delayMs: { min: 1 } },
        { refuse: 1 }
      ])
        yield* Effect.flip(decode(wrong))
    })
  )
})
