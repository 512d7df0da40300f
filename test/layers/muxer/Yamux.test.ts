import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { type Facts, join, muxerSuite, overLent, readAll } from "../../../src/conformance/StreamMuxer.ts"
import { noting } from "../../support/messages.ts"

const window = 256 * 1024

const facts: Facts = {
  narrow: { protocol: Yamux.make({ acceptBacklog: 20 }), acceptBacklog: 20 },
  window: [window, window]
}

muxerSuite("Yamux", Yamux.make(), facts)
muxerSuite("Yamux over lent bytes", overLent(Yamux.make()), {
  ...facts,
  narrow: { ...facts.narrow, protocol: overLent(facts.narrow.protocol) }
})
muxerSuite("Yamux with little room for output", Yamux.make({ outputHighWater: 32 * 1024 }), facts)

const calm = Effect.gen(function* () {
  for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
})

describe("Yamux", () => {
  it.effect("a request and its answer are one message each way", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make()
      const [left, right] = yield* Pipe.pair()
      const [near, far]: [Array<number>, Array<number>] = [[], []]
      const dialer = yield* make(noting(left, near), { role: "dialer" })
      const listener = yield* make(noting(right, far), { role: "listener" })
      const serving = yield* Effect.forkChild(
        Effect.gen(function* () {
          const stream = yield* listener.acceptStream
          const bytes = yield* ByteStream.read(stream)
          if (bytes !== null) yield* ByteStream.write(stream, bytes)
          yield* stream.closeWrite
        })
      )
      yield* calm
      const stream = yield* dialer.openStream
      assert.deepStrictEqual(near, [])
      yield* ByteStream.write(stream, new Uint8Array(32))
      assert.strictEqual((yield* readAll(stream)).length, 32)
      yield* Fiber.join(serving)
      // The header, with SYN or ACK, and the payload; with the answer its FIN.
      assert.deepStrictEqual(near, [12 + 32])
      assert.deepStrictEqual(far, [12 + 32 + 12])
    })
  )

  it.effect("what many writes of a turn leave goes out together", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make()
      const [left, right] = yield* Pipe.pair({ capacity: 1 << 20 })
      const near: Array<number> = []
      const dialer = yield* make(noting(left, near), { role: "dialer" })
      yield* make(right, { role: "listener" })
      const stream = yield* dialer.openStream
      for (let count = 0; count < 100; count++) yield* ByteStream.write(stream, new Uint8Array(1024))
      yield* calm
      assert.strictEqual(
        near.reduce((sum, size) => sum + size, 0),
        100 * (1024 + 12)
      )
      assert.isAtMost(near.length, 3)
    })
  )

  it.effect("a remote that is silent after a keep-alive is given up", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make()
      const [left] = yield* Pipe.pair()
      const dialer = yield* make(left, { role: "dialer" })
      const ending = yield* Effect.forkChild(dialer.awaitClosed)
      yield* calm
      yield* TestClock.adjust("30 seconds")
      yield* calm
      assert.isUndefined(ending.pollUnsafe())
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual((yield* Fiber.join(ending))._tag, "KeepAliveTimeout")
    })
  )

  it.effect("an idle connection stays up as long as its remote answers", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(Yamux.make())
      for (let minute = 0; minute < 10; minute++) {
        yield* TestClock.adjust("1 minute")
        yield* calm
      }
      const stream = yield* dialer.openStream
      stream.flush()
      assert.strictEqual((yield* listener.acceptStream).id, stream.id)
    })
  )

  it.effect("a ping that is not answered fails, and does not wait for ever", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make()
      const [left, right] = yield* Pipe.pair()
      const dialer = yield* make(left, { role: "dialer" })
      const pinging = yield* Effect.forkChild(Effect.flip(dialer.ping))
      yield* calm
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(pinging)).reason._tag, "KeepAliveTimeout")
      right.reset("over")
    })
  )

  it.effect("opening waits for acknowledgements, and can be interrupted", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(Yamux.make({ maxUnacknowledged: 1 }))
      const first = yield* dialer.openStream
      first.flush()
      const second = yield* Effect.forkChild(dialer.openStream)
      const third = yield* Effect.forkChild(dialer.openStream)
      yield* calm
      assert.isUndefined(second.pollUnsafe())
      yield* Fiber.interrupt(second)
      yield* listener.acceptStream
      yield* Fiber.join(third)
    })
  )

  it.effect("a violation ends the connection with a reason, and the remote is told", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make()
      const [left, right] = yield* Pipe.pair()
      const dialer = yield* make(left, { role: "dialer" })
      right.tryWrite(Uint8Array.from([9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
      const ending = yield* Effect.forkChild(dialer.awaitClosed)
      assert.deepStrictEqual(yield* readAll(right), Uint8Array.from([0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))
      yield* right.closeWrite
      assert.strictEqual((yield* Fiber.join(ending))._tag, "MuxerViolation")
    })
  )

  it.effect("a remote that asks but does not read is not read from either", () =>
    Effect.gen(function* () {
      const { make } = yield* Yamux.make({ outputHighWater: 100, acceptBacklog: 0 })
      const [left, right] = yield* Pipe.pair({ capacity: 200 })
      yield* make(left, { role: "dialer" })
      let written = 0
      let id = 2
      const flood = Effect.forever(
        Effect.suspend(() => {
          const syn = new Uint8Array(12)
          syn.set([0, 1, 0, 1, 0, 0, id >> 8, id])
          id += 2
          written += 12
          return ByteStream.write(right, syn)
        })
      )
      const flooding = yield* Effect.forkChild(flood)
      yield* calm
      yield* calm
      const before = written
      yield* calm
      assert.strictEqual(written, before)
      assert.isBelow(written, 2000)
      yield* Fiber.interrupt(flooding)
      right.reset("over")
    })
  )
})
