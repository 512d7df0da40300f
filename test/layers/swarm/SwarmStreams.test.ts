import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import type { ProtocolStream } from "../../../src/services/ProtocolStream.ts"
import { StreamMuxer } from "../../../src/services/StreamMuxer.ts"
import { noting } from "../../support/messages.ts"
import { inUse, run, turns, two } from "../../support/memory-nodes.ts"

const echo = "/test/echo/1.0.0"

const handleEcho = Effect.fnUntraced(function* (stream: ProtocolStream) {
  for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) yield* stream.write(batch)
})

/** TCP, Noise and Yamux; what a connection sends at a time goes into `messages`. */
const noted = (messages: Array<number>) =>
  Layer.mergeAll(
    Tcp.layer,
    Noise.layer,
    Layer.effect(
      StreamMuxer,
      Effect.map(StreamMuxer, ({ protocols }) => ({
        protocols: protocols.map((protocol) => ({
          ...protocol,
          make: (connection, how) => protocol.make(noting(connection, messages), how)
        }))
      }))
    ).pipe(Layer.provide(Yamux.layer()))
  )

/** Opens so many streams at once, sends a byte on each and waits for it. Gives how many messages that took, each way. */
const exchange = Effect.fnUntraced(function* (count: number) {
  const [out, back]: [Array<number>, Array<number>] = [[], []]
  const { a, atB, b } = yield* two({ below: noted(out) }, { below: noted(back) })
  yield* b.protocols.handle(echo, handleEcho)
  const connection = yield* a.swarm.dial(atB)
  yield* a.identify.identified(connection)
  yield* turns()
  out.length = 0
  back.length = 0
  const streams = yield* Effect.forEach(Array.from({ length: count }), () => connection.openStream(echo))
  yield* Effect.forEach(streams, (stream) => stream.write(Buffer.from("x")))
  for (const stream of streams) assert.strictEqual((yield* stream.read)?.length, 1)
  return { out: out.length, back: back.length }
})

describe("streams of a connection", () => {
  it.effect("that are opened together are one message, and so is what they are answered", () =>
    run(
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* exchange(1), { out: 1, back: 1 })
        assert.deepStrictEqual(yield* exchange(40), { out: 1, back: 1 })
      })
    )
  )

  it.effect("by the hundred are served in several turns, so that they hold up nobody", () =>
    run(
      Effect.gen(function* () {
        const { back } = yield* exchange(250)
        assert.isAtLeast(back, 250 / 64)
        assert.isAtMost(back, 10)
      })
    )
  )

  it.effect("count until their handler has ended, also when the remote has reset them", () =>
    run(
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const { a, atB, b } = yield* two()
        yield* b.protocols.handle("/test/held", () => Deferred.await(gate))
        const connection = yield* a.swarm.dial(atB)
        yield* a.identify.identified(connection)
        yield* turns()
        const before = (yield* inUse(b, "system"))["inbound streams"] ?? 0
        const stream = yield* connection.openStream("/test/held")
        yield* stream.write(Buffer.from("x"))
        yield* turns()
        yield* stream.reset("enough")
        yield* turns()
        assert.strictEqual((yield* inUse(a, "system"))["outbound streams"], 0)
        assert.strictEqual((yield* inUse(b, "system"))["inbound streams"], before + 1)
        yield* Deferred.succeed(gate, undefined)
        yield* turns()
        assert.strictEqual((yield* inUse(b, "system"))["inbound streams"], before)
      })
    )
  )
})
