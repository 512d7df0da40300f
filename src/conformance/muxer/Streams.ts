/** What a stream of a muxer carries, and how it ends. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as ByteStream from "../../services/ByteStream.ts"
import type { MuxerProtocol } from "../../services/StreamMuxer.ts"
import { type Facts, ask, bytesOf, calm, closed, echo, join, readAll, reasonOf, serve } from "./Kit.ts"

export const streams = (protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>, facts: Facts): void => {
  it.effect("echoes, both ways, however the bytes are cut", () =>
    Effect.gen(function* () {
      for (const options of [{}, { chunk: 7 }, { capacity: 13 }]) {
        const { dialer, listener } = yield* join(protocol, options)
        yield* serve(listener, echo)
        yield* serve(dialer, echo)
        const question = bytesOf(20_000)
        assert.deepStrictEqual(yield* ask(dialer, question), question)
        assert.deepStrictEqual(yield* ask(listener, question), question)
      }
    })
  )

  it.effect("moves more than any window", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      yield* serve(listener, echo)
      const question = bytesOf(facts.window[1] + 3_000_000)
      const stream = yield* dialer.openStream
      const answer = yield* Effect.forkChild(readAll(stream))
      yield* ByteStream.write(stream, question)
      yield* stream.closeWrite
      assert.isTrue(Buffer.from(question).equals(yield* Fiber.join(answer)))
    })
  )

  it.effect("carries a thousand streams at once, and forgets them", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      yield* serve(listener, echo)
      yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, index) => index),
        (index) =>
          Effect.map(ask(dialer, bytesOf(100, index)), (answer) => assert.deepStrictEqual(answer, bytesOf(100, index))),
        { concurrency: "unbounded", discard: true }
      )
      yield* calm
      assert.strictEqual(dialer.streamCount(), 0)
      assert.strictEqual(listener.streamCount(), 0)
    })
  )

  it.effect("half-closes: the other direction goes on", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(3))
      yield* near.closeWrite
      yield* near.closeWrite
      assert.strictEqual(yield* reasonOf(ByteStream.write(near, bytesOf(1))), "WriteClosed")
      const far = yield* listener.acceptStream
      assert.deepStrictEqual(yield* readAll(far), bytesOf(3))
      assert.strictEqual(near.tryRead(), undefined)
      yield* ByteStream.write(far, bytesOf(5))
      assert.deepStrictEqual(yield* ByteStream.read(near), bytesOf(5))
      assert.strictEqual(dialer.streamCount(), 1)
      yield* far.closeWrite
      assert.strictEqual(yield* ByteStream.read(near), null)
      yield* Effect.all([closed(near), closed(far)])
      // Also when that is long known.
      yield* closed(near)
      assert.deepStrictEqual([dialer.streamCount(), listener.streamCount()], [0, 0])
    })
  )

  it.effect("a stream closed without data is known to the remote", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* near.closeWrite
      const far = yield* listener.acceptStream
      assert.strictEqual(yield* ByteStream.read(far), null)
      const flushed = yield* dialer.openStream
      flushed.flush()
      assert.strictEqual((yield* listener.acceptStream).direction, "inbound")
    })
  )

  it.effect("a reset reaches those who wait, at both ends", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1))
      const far = yield* listener.acceptStream
      const here = yield* Effect.forkChild(reasonOf(near.readable))
      yield* ByteStream.read(far)
      const there = yield* Effect.forkChild(reasonOf(far.readable))
      yield* calm
      near.reset("enough")
      near.reset("twice")
      assert.strictEqual(yield* Fiber.join(here), "ResetLocally")
      assert.strictEqual(yield* Fiber.join(there), "ResetByPeer")
      assert.strictEqual(yield* reasonOf(ByteStream.write(near, bytesOf(1))), "ResetLocally")
      assert.strictEqual(yield* reasonOf(ByteStream.write(far, bytesOf(1))), "ResetByPeer")
      yield* Effect.all([closed(near), closed(far)])
      // Also when that is long known.
      yield* closed(near)
      assert.deepStrictEqual([dialer.streamCount(), listener.streamCount()], [0, 0])
    })
  )

  it.effect("a reset ends a writer that waits for its window", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      const writing = yield* Effect.forkChild(reasonOf(ByteStream.write(near, new Uint8Array(facts.window[1] * 2))))
      const far = yield* listener.acceptStream
      yield* calm
      far.reset("too much")
      assert.strictEqual(yield* Fiber.join(writing), "ResetByPeer")
    })
  )

  it.effect("data sent before the stream is accepted is kept", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1000))
      yield* near.closeWrite
      yield* calm
      assert.strictEqual(listener.streamCount(), 1)
      assert.deepStrictEqual(yield* readAll(yield* listener.acceptStream), bytesOf(1000))
    })
  )

  it.effect("an interrupted reader or writer leaves its place to the next", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1))
      const far = yield* listener.acceptStream
      yield* ByteStream.read(far)
      const reader = yield* Effect.forkChild(far.readable)
      const writer = yield* Effect.forkChild(ByteStream.write(near, new Uint8Array(facts.window[1] * 2)))
      yield* calm
      yield* Fiber.interrupt(reader)
      yield* Fiber.interrupt(writer)
      const next = yield* Effect.forkChild(ByteStream.write(near, bytesOf(1)))
      const waiting = yield* Effect.forkChild(listener.acceptStream)
      yield* calm
      yield* Fiber.interrupt(waiting)
      far.closeRead()
      yield* Fiber.join(next)
      const second = yield* dialer.openStream
      second.flush()
      assert.strictEqual((yield* listener.acceptStream).id, second.id)
    })
  )
}
