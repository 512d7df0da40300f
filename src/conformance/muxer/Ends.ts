/** How a connection ends, and that it lives: what becomes of its streams, and of those who wait. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Pipe from "../../layers/internal/Pipe.ts"
import * as ByteStream from "../../services/ByteStream.ts"
import type { MuxerProtocol } from "../../services/StreamMuxer.ts"
import { type Facts, bytesOf, calm, join, reasonOf } from "./Kit.ts"

export const ends = (protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>, facts: Facts): void => {
  it.effect("closing with open streams ends them all, and both connections", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1))
      const far = yield* listener.acceptStream
      yield* ByteStream.read(far)
      const waiting = yield* Effect.forkChild(Effect.exit(ByteStream.read(far)))
      const accepting = yield* Effect.forkChild(Effect.flip(listener.acceptStream))
      yield* calm
      yield* dialer.close
      yield* dialer.close
      assert.isTrue(Exit.isFailure(yield* Fiber.join(waiting)))
      yield* Fiber.join(accepting)
      yield* dialer.awaitClosed
      yield* listener.awaitClosed
      assert.strictEqual((yield* Effect.flip(dialer.openStream))._tag, "MuxerError")
      assert.strictEqual((yield* Effect.flip(listener.openStream))._tag, "MuxerError")
      assert.isUndefined(dialer.tryOpenStream())
      assert.deepStrictEqual([dialer.streamCount(), listener.streamCount()], [0, 0])
    })
  )

  it.effect("closing is bounded even if the remote reads nothing", () =>
    Effect.gen(function* () {
      const { make } = yield* protocol
      const [near] = yield* Pipe.pair({ capacity: 100 })
      const dialer = yield* make(near, { role: "dialer" })
      const stream = yield* dialer.openStream
      const writing = yield* Effect.forkChild(
        Effect.exit(ByteStream.write(stream, new Uint8Array(facts.window[1] * 2)))
      )
      yield* calm
      const closing = yield* Effect.forkChild(dialer.close)
      yield* calm
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(closing)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(writing)))
    })
  )

  it.effect("closing its scope ends the connection", () =>
    Effect.gen(function* () {
      const { make } = yield* protocol
      const [near, far] = yield* Pipe.pair()
      const scope = yield* Scope.make()
      const dialer = yield* Scope.provide(make(near, { role: "dialer" }), scope)
      const listener = yield* make(far, { role: "listener" })
      const stream = yield* dialer.openStream
      yield* ByteStream.write(stream, bytesOf(1))
      yield* listener.acceptStream
      yield* Scope.close(scope, Exit.void)
      yield* listener.awaitClosed
      yield* dialer.awaitClosed
      assert.strictEqual(listener.streamCount(), 0)
      assert.strictEqual(yield* reasonOf(near.readable), "ResetLocally")
    })
  )

  it.effect("a connection lost fails everyone who waits", () =>
    Effect.gen(function* () {
      const { dialer, listener, raw } = yield* join(protocol)
      const near = yield* dialer.openStream
      yield* ByteStream.write(near, bytesOf(1))
      yield* listener.acceptStream
      const reading = yield* Effect.forkChild(reasonOf(near.readable))
      const accepting = yield* Effect.forkChild(Effect.flip(dialer.acceptStream))
      const pinging = yield* Effect.forkChild(Effect.flip(dialer.ping))
      yield* calm
      raw[1].reset("cable cut")
      assert.strictEqual(yield* Fiber.join(reading), "ConnectionLost")
      assert.strictEqual((yield* Fiber.join(accepting))._tag, "MuxerError")
      yield* dialer.awaitClosed
      yield* listener.awaitClosed
      yield* Fiber.interrupt(pinging)
    })
  )

  if (facts.withoutPing === true) {
    it.effect("says that it has no ping", () =>
      Effect.gen(function* () {
        const { dialer } = yield* join(protocol)
        const error = yield* Effect.flip(dialer.ping)
        assert.strictEqual(error.reason._tag, "Unsupported")
        assert.include(error.message, "no ping")
      })
    )
  } else {
    it.effect("measures a round trip", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* join(protocol)
        assert.isAtLeast(yield* dialer.ping, 0)
        assert.isAtLeast(yield* listener.ping, 0)
        assert.strictEqual((yield* Effect.all([dialer.ping, dialer.ping], { concurrency: "unbounded" })).length, 2)
      })
    )
  }
}
