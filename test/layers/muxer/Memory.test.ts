import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Mplex from "../../../src/layers/muxer/Mplex.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import { describeLimit, LimitExceeded, type MemoryAccount } from "../../../src/services/ResourceManager.ts"
import { readAll } from "../../../src/conformance/StreamMuxer.ts"

/** An account with a limit that keeps a record. */
const account = (limit: number) => {
  const record = { bytes: 0, peak: 0, calls: 0, limit }
  const memory: MemoryAccount = {
    resize: (bytes) => {
      record.calls += 1
      if (bytes > record.bytes && bytes > record.limit) {
        return new LimitExceeded({ scope: "system", resource: "memory", limit: record.limit, current: record.bytes })
      }
      record.bytes = bytes
      record.peak = Math.max(record.peak, bytes)
      return undefined
    }
  }
  return { memory, record }
}

const calm = Effect.gen(function* () {
  for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
})

const join = Effect.fnUntraced(function* (
  protocol: ReturnType<typeof Yamux.make>,
  limit: number,
  options?: Pipe.Options
) {
  const { make } = yield* protocol
  const raw = yield* Pipe.pair(options)
  const { memory, record } = account(limit)
  const dialer = yield* make(raw[0], { role: "dialer" })
  const listener = yield* make(raw[1], { role: "listener", memory })
  return { dialer, listener, raw, record }
})

const muxers = [
  ["Yamux", Yamux.make({ closeGraceMs: 100 })],
  ["Mplex", Mplex.make({ closeGraceMs: 100 })]
] as const

for (const [name, protocol] of muxers) {
  describe(`${name}: memory of a connection`, () => {
    it.effect("is what was not read, and nothing once all was", () =>
      Effect.gen(function* () {
        const { dialer, listener, record } = yield* join(protocol, 1e9)
        const near = yield* dialer.openStream
        yield* ByteStream.write(near, new Uint8Array(100_000))
        yield* near.closeWrite
        const far = yield* listener.acceptStream
        yield* calm
        assert.strictEqual(record.bytes, 100_000)
        far.tryRead()
        yield* calm
        assert.isBelow(record.bytes, 100_000)
        yield* readAll(far)
        yield* calm
        assert.strictEqual(record.bytes, 0)
      })
    )

    it.effect("is what was not sent, too, and nothing once the connection has ended", () =>
      Effect.gen(function* () {
        const { dialer, listener, record } = yield* join(protocol, 1e9, { capacity: 1000 })
        const near = yield* dialer.openStream
        near.flush()
        const far = yield* listener.acceptStream
        const writing = yield* Effect.forkChild(Effect.exit(ByteStream.write(far, new Uint8Array(1_000_000))))
        yield* calm
        assert.isAtLeast(record.peak, 100_000)
        // A reader that has not read all when the connection ends keeps its bytes; the account does not.
        yield* Effect.forkChild(dialer.close)
        yield* calm
        yield* TestClock.adjust("1 second")
        yield* listener.awaitClosed
        yield* Fiber.join(writing)
        assert.strictEqual(record.bytes, 0)
      })
    )

    it.effect("is set once for a batch at most, however many streams it is for", () =>
      Effect.gen(function* () {
        const { dialer, listener, record } = yield* join(protocol, 1e9, { capacity: 1 << 20 })
        const streams = yield* Effect.forEach(Array.from({ length: 100 }), () => dialer.openStream)
        for (const stream of streams) stream.tryWrite(new Uint8Array(100))
        yield* calm
        assert.strictEqual(record.bytes, 10_000)
        // One message, and the turn after it.
        assert.isAtMost(record.calls, 3)
        for (const _ of streams) (yield* listener.acceptStream).tryRead()
        yield* calm
        assert.strictEqual(record.bytes, 0)
        assert.isAtMost(record.calls, 6)
      })
    )

    it.effect("when refused, resets the streams that hold most; the others go on", () =>
      Effect.gen(function* () {
        const { dialer, listener, record } = yield* join(protocol, 150_000)
        const [small, large] = [yield* dialer.openStream, yield* dialer.openStream]
        yield* ByteStream.write(small, new Uint8Array(100))
        yield* ByteStream.write(large, new Uint8Array(100_000))
        const near = [yield* listener.acceptStream, yield* listener.acceptStream] as const
        yield* calm
        assert.strictEqual(record.bytes, 100_100)
        yield* ByteStream.write(large, new Uint8Array(100_000))
        yield* calm
        const { reason } = yield* Effect.flip(near[1].readable)
        assert.deepInclude(reason, { _tag: "ResetLocally" })
        const refusal = new LimitExceeded({ scope: "system", resource: "memory", limit: 150_000, current: 100_100 })
        assert.strictEqual(reason._tag === "ResetLocally" ? reason.because : "", describeLimit(refusal))
        assert.strictEqual((yield* Effect.flip(large.readable)).reason._tag, "ResetByPeer")
        yield* calm
        assert.strictEqual(record.bytes, 100)
        yield* ByteStream.write(small, new Uint8Array(50))
        yield* small.closeWrite
        assert.strictEqual((yield* readAll(near[0])).length, 150)
        assert.isTrue(listener.isOpen())
      })
    )

    it.effect("when there is none at all, a stream that is read at once still works", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* join(protocol, 0)
        const reading = yield* Effect.forkChild(Effect.flatMap(listener.acceptStream, readAll))
        yield* calm
        const near = yield* dialer.openStream
        near.flush()
        yield* calm
        yield* ByteStream.write(near, new Uint8Array(1000))
        yield* near.closeWrite
        assert.strictEqual((yield* Fiber.join(reading)).length, 1000)
      })
    )

    it.effect("when what was not sent is refused, ends the connection, and says which limit", () =>
      Effect.gen(function* () {
        const { dialer, listener, record } = yield* join(protocol, 50_000, { capacity: 1000 })
        const near = yield* dialer.openStream
        near.flush()
        const far = yield* listener.acceptStream
        yield* Effect.forkChild(Effect.exit(ByteStream.write(far, new Uint8Array(1_000_000))))
        yield* TestClock.adjust("1 second")
        const reason = yield* listener.awaitClosed
        if (reason._tag !== "LimitExceeded") return assert.fail(reason._tag)
        assert.deepInclude(reason, { scope: "system", resource: "memory", limit: 50_000 })
        assert.include((yield* Effect.flip(listener.openStream)).message, describeLimit(reason))
        assert.strictEqual(record.bytes, 0)
      })
    )
  })

  describe(`${name}: memory that is refused, and a remote that takes nothing`, () => {
    it.effect("ends the connection without a turn too many", () =>
      Effect.gen(function* () {
        const { make } = yield* protocol
        const [left] = yield* Pipe.pair({ capacity: 1000 })
        const { memory, record } = account(50_000)
        const dialer = yield* make(left, { role: "dialer", memory })
        const stream = yield* dialer.openStream
        yield* Effect.forkChild(Effect.exit(ByteStream.write(stream, new Uint8Array(1_000_000))))
        yield* calm
        const { calls } = record
        // Its goodbye waits for the remote; nothing else does anything meanwhile.
        for (let i = 0; i < 20; i++) yield* calm
        assert.isBelow(record.calls - calls, 3)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* dialer.awaitClosed)._tag, "LimitExceeded")
        assert.strictEqual(record.bytes, 0)
      })
    )
  })

  describe(`${name}: a remote that takes nothing of what is sent`, () => {
    it.effect("is given up, and who waits is told", () =>
      Effect.gen(function* () {
        const { make } = yield* protocol
        const [left, right] = yield* Pipe.pair({ capacity: 1000 })
        const dialer = yield* make(left, { role: "dialer" })
        const stream = yield* dialer.openStream
        const writing = yield* Effect.forkChild(Effect.flip(ByteStream.write(stream, new Uint8Array(1_000_000))))
        // It is alive, and says so, but does not read.
        const alive =
          name === "Yamux" ? Uint8Array.from([0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]) : Uint8Array.from([61, 0])
        for (let second = 0; second < 59; second += 10) {
          right.tryWrite(alive)
          yield* calm
          assert.isTrue(dialer.isOpen())
          yield* TestClock.adjust("10 seconds")
        }
        assert.deepInclude(yield* dialer.awaitClosed, { _tag: "SendTimeout", afterMs: 60_000 })
        assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "ConnectionLost")
      })
    )
  })
}
