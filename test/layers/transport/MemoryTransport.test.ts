import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as MemoryTransport from "../../../src/layers/transport/MemoryTransport.ts"
import { Transport } from "../../../src/services/Transport.ts"
import { reasonOf } from "../../../src/conformance/ByteStream.ts"
import { transportSuite } from "../../../src/conformance/Transport.ts"

const at = Multiaddr.fromStringUnsafe

transportSuite(
  "MemoryTransport",
  Effect.gen(function* () {
    const hub = yield* MemoryTransport.makeHub()
    return {
      dialer: yield* MemoryTransport.make(hub),
      listener: yield* MemoryTransport.make(hub),
      listenAt: at("/memory/0")
    }
  }),
  { bound: 64 * 1024 }
)

describe("MemoryTransport", () => {
  it.effect("listens on the number asked for; 0 is any and cannot be dialled", () =>
    Effect.gen(function* () {
      const hub = yield* MemoryTransport.makeHub()
      const memory = yield* MemoryTransport.make(hub)
      const listening = yield* memory.listen(at("/memory/7"))
      assert.deepStrictEqual((yield* listening.addresses).map(String), ["/memory/7"])
      assert.isFalse(memory.canDial(at("/memory/0")))
      assert.strictEqual((yield* Effect.flip(memory.dial(at("/memory/0")))).reason._tag, "UnsupportedAddress")
    })
  )

  it.effect("two hubs never meet", () =>
    Effect.gen(function* () {
      const left = yield* MemoryTransport.make(yield* MemoryTransport.makeHub())
      const right = yield* MemoryTransport.make(yield* MemoryTransport.makeHub())
      yield* right.listen(at("/memory/7"))
      const error = yield* Effect.flip(left.dial(at("/memory/7")))
      assert.strictEqual(error.message, "/memory/7: connect: connection refused")
    })
  )

  it.effect("more than the backlog are reset", () =>
    Effect.gen(function* () {
      const memory = yield* MemoryTransport.make(yield* MemoryTransport.makeHub({ backlog: 1 }))
      yield* memory.listen(at("/memory/7"))
      yield* memory.dial(at("/memory/7"))
      assert.strictEqual(yield* reasonOf(yield* memory.dial(at("/memory/7"))), "ResetByPeer")
    })
  )

  it.effect("is a Transport by itself", () =>
    Effect.gen(function* () {
      const hub = yield* MemoryTransport.makeHub()
      const { transports } = yield* Effect.provide(Effect.service(Transport), MemoryTransport.layer(hub))
      assert.deepStrictEqual(
        transports.map((one) => one.name),
        ["memory"]
      )
    })
  )
})
