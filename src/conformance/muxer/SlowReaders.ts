/** What a stream that is not read, or not accepted, may hold up, and how much is kept for it. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as ByteStream from "../../services/ByteStream.ts"
import type { MuxedConnection, MuxerProtocol } from "../../services/StreamMuxer.ts"
import { type Facts, ask, bytesOf, calm, echo, join, reasonOf, serve } from "./Kit.ts"

export const slowReaders = (protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>, facts: Facts): void => {
  /** A stream that writes without end to a reader that does not read. */
  const flood = Effect.fnUntraced(function* (dialer: MuxedConnection) {
    const stream = yield* dialer.openStream
    const flooding = { stream, written: 0 }
    const piece = new Uint8Array(10_000)
    yield* Effect.forkChild(
      Effect.ignore(
        Effect.forever(
          Effect.suspend(() => {
            const taken = stream.tryWrite(piece)
            flooding.written += taken
            return taken > 0 ? Effect.void : stream.writable
          })
        )
      )
    )
    for (let before = -1; before !== flooding.written;) {
      before = flooding.written
      yield* calm
    }
    return flooding
  })

  const { holdsUpMs } = facts
  if (holdsUpMs === undefined) {
    it.effect("a slow reader holds up only itself, and no more than its window is kept for it", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* join(protocol)
        const flooding = yield* flood(dialer)
        const slow = yield* listener.acceptStream
        yield* calm
        assert.isAtLeast(flooding.written, facts.window[0])
        assert.isAtMost(flooding.written, facts.window[1])
        yield* serve(listener, echo)
        const question = bytesOf(500_000)
        assert.deepStrictEqual(yield* ask(dialer, question), question)
        assert.isAtMost(flooding.written, facts.window[1])
        const before = flooding.written
        for (let read = 0; read < facts.window[0];) read += (yield* ByteStream.read(slow))?.length ?? 0
        yield* calm
        assert.isAbove(flooding.written, before)
      })
    )
  } else {
    it.effect("a slow reader holds up the others for a bounded time; then its stream is reset", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* join(protocol)
        const flooding = yield* flood(dialer)
        const slow = yield* listener.acceptStream
        yield* calm
        assert.isAtLeast(flooding.written, facts.window[0])
        assert.isAtMost(flooding.written, facts.window[1])
        yield* serve(listener, echo)
        const question = bytesOf(50_000)
        const asking = yield* Effect.forkChild(ask(dialer, question))
        yield* TestClock.adjust(holdsUpMs - 1)
        yield* calm
        assert.isUndefined(asking.pollUnsafe())
        assert.isAtMost(flooding.written, facts.window[1])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* Fiber.join(asking), question)
        assert.strictEqual(yield* reasonOf(slow.readable), "ResetLocally")
        assert.strictEqual(yield* reasonOf(flooding.stream.readable), "ResetByPeer")
      })
    )

    it.effect("a slow reader that reads in time loses nothing", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* join(protocol)
        const flooding = yield* flood(dialer)
        const slow = yield* listener.acceptStream
        for (let round = 0; round < 5; round++) {
          yield* TestClock.adjust(holdsUpMs - 1)
          const before = flooding.written
          for (let read = 0; read < facts.window[0];) read += (yield* ByteStream.read(slow))?.length ?? 0
          yield* calm
          assert.isAbove(flooding.written, before)
        }
      })
    )
  }

  it.effect("a stream that reads no more does not hold up its writer", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1))
      const far = yield* listener.acceptStream
      far.closeRead()
      far.closeRead()
      yield* ByteStream.write(near, new Uint8Array(facts.window[1] * 2))
      assert.strictEqual(far.tryRead(), null)
    })
  )

  it.effect("streams beyond the accept backlog are reset, the others served", () =>
    Effect.gen(function* () {
      const { acceptBacklog, protocol } = facts.narrow
      const { dialer, listener } = yield* join(protocol)
      const streams = yield* Effect.forEach(Array.from({ length: acceptBacklog + 50 }), () =>
        Effect.tap(dialer.openStream, (stream) => ByteStream.write(stream, bytesOf(1)))
      )
      yield* calm
      assert.strictEqual(listener.streamCount(), acceptBacklog)
      yield* serve(listener, echo)
      const answers = yield* Effect.forEach(
        streams,
        (stream) =>
          Effect.match(ByteStream.read(stream), {
            onFailure: (error) => error.reason._tag,
            onSuccess: () => "served"
          }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(answers.filter((answer) => answer === "served").length, acceptBacklog)
      assert.strictEqual(answers.filter((answer) => answer === "ResetByPeer").length, 50)
    })
  )
}
