/**
 * What every stream muxer promises, as a suite to run against any of them:
 *
 * ```
 * muxerSuite("Yamux", Yamux.make({ acceptBacklog: 256 }), {
 *   narrow: { protocol: Yamux.make({ acceptBacklog: 20 }), acceptBacklog: 20 },
 *   window: [256 * 1024, 256 * 1024]
 * })
 * ```
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Pipe from "../layers/internal/Pipe.ts"
import * as ByteStream from "../services/ByteStream.ts"
import { lending } from "./ByteStream.ts"
import type { MuxedConnection, MuxedStream, MuxerProtocol } from "../services/StreamMuxer.ts"

export interface Facts {
  /** The same protocol with a backlog so small that its overflow can be seen. */
  readonly narrow: {
    readonly protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>
    readonly acceptBacklog: number
  }
  /** The least that a stream takes before its reader reads, and the most (in bytes). */
  readonly window: readonly [least: number, most: number]
  /**
   * For a protocol without flow control: how long a slow reader may hold up the
   * others before its stream is reset, in ms.
   */
  readonly holdsUpMs?: number | undefined
  /** The protocol has no ping. */
  readonly withoutPing?: boolean | undefined
}

export interface Joined {
  readonly dialer: MuxedConnection
  readonly listener: MuxedConnection
  /** The raw ends, to break things with. */
  readonly raw: readonly [Pipe.PipeEnd, Pipe.PipeEnd]
}

/** Two connections of `protocol`, back to back in memory. */
export const join = Effect.fnUntraced(function* (
  protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>,
  options?: Pipe.Options
): Effect.fn.Return<Joined, never, Scope.Scope> {
  const { make } = yield* protocol
  const raw = yield* Pipe.pair(options)
  const dialer = yield* make(raw[0], { role: "dialer" })
  const listener = yield* make(raw[1], { role: "listener" })
  return { dialer, listener, raw }
})

/** The same protocol over connections that lend what is read, for as short as they may. */
export const overLent = <R>(protocol: Effect.Effect<MuxerProtocol, never, R>): Effect.Effect<MuxerProtocol, never, R> =>
  Effect.map(protocol, ({ id, make }) => ({ id, make: (connection, options) => make(lending(connection), options) }))

const bytesOf = (length: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 31 + seed) & 0xff)

/** Reads to the end. */
export const readAll = Effect.fnUntraced(function* (stream: ByteStream.ByteStream) {
  const parts: Array<Uint8Array> = []
  for (;;) {
    const bytes = yield* ByteStream.read(stream)
    if (bytes === null) return new Uint8Array(Buffer.concat(parts))
    parts.push(bytes)
  }
})

const closed = (stream: MuxedStream) => Effect.callback<void>((resume) => stream.onClosed(() => resume(Effect.void)))

const echo = Effect.fnUntraced(function* (stream: MuxedStream) {
  for (;;) {
    const bytes = yield* ByteStream.read(stream)
    if (bytes === null) break
    yield* ByteStream.write(stream, bytes)
  }
  yield* stream.closeWrite
})

/** Serves every stream by `handler`; one that fails ends alone. */
const serve = (
  connection: MuxedConnection,
  handler: (stream: MuxedStream) => Effect.Effect<void, ByteStream.StreamError>
) =>
  Effect.forkScoped(
    Effect.flatMap(connection.acceptStream, (stream) => Effect.forkScoped(Effect.ignore(handler(stream)))).pipe(
      Effect.forever,
      Effect.ignore
    )
  )

const ask = Effect.fnUntraced(function* (connection: MuxedConnection, question: Uint8Array) {
  const stream = yield* connection.openStream
  yield* ByteStream.write(stream, question)
  yield* stream.closeWrite
  const answer = yield* readAll(stream)
  yield* closed(stream)
  return answer
})

const reasonOf = <A>(effect: Effect.Effect<A, ByteStream.StreamError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

/** Lets everything run that is not waiting for time to pass. */
const calm = Effect.gen(function* () {
  for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
})

export const muxerSuite = (
  name: string,
  protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>,
  facts: Facts
): void => {
  describe(`StreamMuxer: ${name}`, () => {
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
            Effect.map(ask(dialer, bytesOf(100, index)), (answer) =>
              assert.deepStrictEqual(answer, bytesOf(100, index))
            ),
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
  })
}
