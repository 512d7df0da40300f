/**
 * What every ByteStream promises, as tests. Run it against a pair of streams
 * joined back to back: what is written to one is read from the other.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { type ByteStream, read, type StreamError, write } from "../services/ByteStream.ts"

export interface ByteStreamOptions {
  /** Run on the real clock: for streams that wait for the operating system. */
  readonly live?: boolean | undefined
  /** The most bytes that a writer may get rid of while the reader reads nothing. Default 32 MiB. */
  readonly bound?: number | undefined
  /** Bytes sent each way in the transfer test. Default 1 MiB. */
  readonly transfer?: number | undefined
  /** Runs a test, for streams that live on a clock of their own. */
  readonly run?: (<A, E>(test: Effect.Effect<A, E, Scope.Scope>) => void) | undefined
  /** Lets everything that is under way arrive. Default: some turns. */
  readonly settle?: Effect.Effect<void> | undefined
}

/** Declares a test in the way that the options ask for. */
export const tester = (options: ByteStreamOptions) => {
  const { live, run } = options
  const plain: (name: string, body: () => void) => void = it
  return <A, E>(name: string, body: () => Effect.Effect<A, E, Scope.Scope>): void =>
    run === undefined ? (live === true ? it.live : it.effect)(name, body) : plain(name, () => run(body()))
}

/** The byte at a position of an endless pattern without a short period. */
const byteAt = (position: number, seed: number): number => (Math.imul(position + seed, 0x9e3779b1) >>> 24) & 0xff

export const pattern = (from: number, length: number, seed = 0): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = byteAt(from + i, seed)
  return bytes
}

/** Sizes that repeat from a seed: many small, some large. */
const sizes = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return (state & 3) === 0 ? 1 + ((state >>> 8) % 100_000) : 1 + ((state >>> 8) % 300)
  }
}

const sendPattern = (stream: ByteStream, total: number, seed: number): Effect.Effect<void, StreamError> =>
  Effect.gen(function* () {
    const next = sizes(seed)
    let sent = 0
    while (sent < total) {
      const size = Math.min(next(), total - sent)
      yield* write(stream, pattern(sent, size, seed))
      sent += size
    }
    yield* stream.closeWrite
  })

/** Reads to the end and checks every byte; gives their number. */
const receivePattern = (stream: ByteStream, seed: number): Effect.Effect<number, StreamError> =>
  Effect.gen(function* () {
    let got = 0
    for (;;) {
      const bytes = yield* read(stream)
      if (bytes === null) return got
      for (let i = 0; i < bytes.length; i++) {
        if (bytes[i] !== byteAt(got + i, seed)) return assert.fail(`byte ${got + i} is wrong`)
      }
      got += bytes.length
    }
  })

/** Lets everything that can go on go on, without a clock. */
export const settle = (rounds = 200): Effect.Effect<void> =>
  Effect.suspend(() => {
    let left = rounds
    return Effect.whileLoop({ while: () => left-- > 0, body: () => Effect.yieldNow, step: () => {} })
  })

/** Writes until nothing more is taken however long one waits; gives the number of bytes taken. */
const fill = (stream: ByteStream, options: ByteStreamOptions): Effect.Effect<number, StreamError> =>
  Effect.gen(function* () {
    let taken = 0
    for (;;) {
      const size = 50_000
      const n = stream.tryWrite(pattern(taken, size))
      taken += n
      if (n === size) continue
      stream.flush()
      const waiter = yield* Effect.forkChild(stream.writable)
      yield* options.settle ?? settle()
      if (waiter.pollUnsafe() === undefined) {
        yield* Fiber.interrupt(waiter)
        return taken
      }
      yield* Fiber.join(waiter)
    }
  })

/**
 * The same stream, whose reads are lent for as short as they may be: what was given is overwritten when the next is
 * asked for, or once whoever asked is suspended.
 */
export const lending = (stream: ByteStream): ByteStream => {
  let last = new Uint8Array(0)
  return {
    ownedReads: false,
    tryRead: () => {
      last.fill(0xdb)
      const bytes = stream.tryRead()
      if (bytes === null || bytes === undefined) return bytes
      const given = new Uint8Array(bytes)
      last = given
      queueMicrotask(() => given.fill(0xdb))
      return given
    },
    tryWrite: (bytes) => stream.tryWrite(bytes),
    flush: () => stream.flush(),
    reset: (because) => stream.reset(because),
    get readable() {
      return stream.readable
    },
    get writable() {
      return stream.writable
    },
    get closeWrite() {
      return stream.closeWrite
    }
  }
}

/** Reads exactly so many bytes. */
export const readExactly = (stream: ByteStream, size: number): Effect.Effect<Uint8Array, StreamError> =>
  Effect.gen(function* () {
    const out = new Uint8Array(size)
    let got = 0
    while (got < size) {
      const bytes = yield* read(stream)
      if (bytes === null) return assert.fail(`ended after ${got} of ${size} bytes`)
      assert.isAtMost(got + bytes.length, size, "more bytes than were written")
      out.set(bytes, got)
      got += bytes.length
    }
    return out
  })

/** Why the stream failed, by waiting for it. */
export const reasonOf = (stream: ByteStream): Effect.Effect<string> =>
  Effect.gen(function* () {
    for (;;) {
      const bytes = stream.tryRead()
      if (bytes === null) return "end"
      if (bytes !== undefined) continue
      const exit = yield* Effect.result(stream.readable)
      if (exit._tag === "Failure") return exit.failure.reason._tag
    }
  })

/** Declares the tests of one implementation. `makePair` is run in each test's own scope. */
export const byteStreamSuite = <E>(
  name: string,
  makePair: Effect.Effect<readonly [ByteStream, ByteStream], E, Scope.Scope>,
  options: ByteStreamOptions = {}
): void => {
  const test = tester(options)
  describe(`${name}: a byte stream`, () => {
    test("carries bytes in order, both ways at once, in pieces of any size", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        const total = options.transfer ?? 1024 * 1024
        const [, , there, back] = yield* Effect.all(
          [
            sendPattern(left, total, 1),
            sendPattern(right, total, 2),
            receivePattern(right, 1),
            receivePattern(left, 2)
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([there, back], [total, total])
      }))

    test("sends what was written without a flush when the turn ends", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        assert.strictEqual(left.tryWrite(pattern(0, 10)), 10)
        assert.deepStrictEqual(yield* readExactly(right, 10), pattern(0, 10))
        assert.strictEqual(left.tryWrite(new Uint8Array(0)), 0)
        assert.strictEqual(right.tryRead(), undefined)
      }))

    test("closes one direction and keeps the other", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        const there = yield* Effect.forkChild(Effect.andThen(write(left, pattern(0, 5000)), left.closeWrite))
        assert.strictEqual(yield* receivePattern(right, 0), 5000)
        yield* Fiber.join(there)
        yield* left.closeWrite
        assert.strictEqual(right.tryRead(), null)
        assert.strictEqual(right.tryRead(), null)
        yield* right.readable
        const back = yield* Effect.forkChild(Effect.andThen(write(right, pattern(0, 7000)), right.closeWrite))
        assert.strictEqual(yield* receivePattern(left, 0), 7000)
        yield* Fiber.join(back)
      }))

    test("ends an empty stream", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* left.closeWrite
        assert.strictEqual(yield* read(right), null)
      }))

    test("calls who asks to be told of bytes and of the end, where it can", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        const ask = (called: Deferred.Deferred<void>) =>
          right.whenReadable?.(() => Deferred.doneUnsafe(called, Effect.void)) ?? false
        const ofBytes = Deferred.makeUnsafe<void>()
        if (!ask(ofBytes)) return
        yield* write(left, pattern(0, 10))
        yield* Deferred.await(ofBytes)
        assert.isFalse(ask(ofBytes), "there is something to read")
        assert.deepStrictEqual(yield* readExactly(right, 10), pattern(0, 10))
        const ofEnd = Deferred.makeUnsafe<void>()
        assert.isTrue(ask(ofEnd))
        yield* left.closeWrite
        yield* Deferred.await(ofEnd)
        assert.strictEqual(yield* read(right), null)
        assert.isFalse(ask(ofEnd), "there is the end")
      }))

    test("calls who asks to be told of bytes when it fails", () =>
      Effect.gen(function* () {
        const [, right] = yield* makePair
        const called = Deferred.makeUnsafe<void>()
        if (!(right.whenReadable?.(() => Deferred.doneUnsafe(called, Effect.void)) ?? false)) return
        right.reset("enough")
        yield* Deferred.await(called)
        assert.strictEqual((yield* Effect.flip(right.readable)).reason._tag, "ResetLocally")
      }))

    test("what was taken may be changed at once, where it says so", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        if (left.copiesWrites !== true) return
        for (const size of [1, 100, 5000, 200_000]) {
          const bytes = pattern(0, size)
          const taken = left.tryWrite(bytes)
          assert.isAbove(taken, 0)
          bytes.fill(0)
          left.flush()
          assert.deepStrictEqual(yield* readExactly(right, taken), pattern(0, taken))
        }
      }))

    test("takes nothing after closeWrite and says why", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* left.closeWrite
        assert.strictEqual(left.tryWrite(pattern(0, 10)), 0)
        const error = yield* Effect.flip(left.writable)
        assert.strictEqual(error.reason._tag, "WriteClosed")
        assert.strictEqual(yield* read(right), null)
      }))

    test("a reset fails both ends, each with its reason", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* write(left, pattern(0, 10))
        yield* readExactly(right, 10)
        left.reset("enough")
        left.reset("again")
        assert.strictEqual(left.tryRead(), undefined)
        assert.strictEqual(left.tryWrite(pattern(0, 10)), 0)
        const mine = yield* Effect.flip(left.readable)
        assert.isTrue(mine.reason._tag === "ResetLocally" && mine.reason.because === "enough")
        assert.strictEqual((yield* Effect.flip(left.writable)).reason._tag, "ResetLocally")
        assert.strictEqual((yield* Effect.flip(left.closeWrite)).reason._tag, "ResetLocally")
        assert.strictEqual(yield* reasonOf(right), "ResetByPeer")
        assert.strictEqual(right.tryRead(), undefined)
        assert.strictEqual(right.tryWrite(pattern(0, 10)), 0)
        assert.strictEqual((yield* Effect.flip(right.writable)).reason._tag, "ResetByPeer")
        right.reset("late")
        assert.strictEqual((yield* Effect.flip(right.readable)).reason._tag, "ResetByPeer")
      }))

    test("a reset wakes those who wait at both ends", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* fill(left, options)
        const reader = yield* Effect.forkChild(Effect.flip(left.readable))
        const writer = yield* Effect.forkChild(Effect.flip(left.writable))
        yield* settle(3)
        left.reset("enough")
        assert.strictEqual((yield* Fiber.join(reader)).reason._tag, "ResetLocally")
        assert.strictEqual((yield* Fiber.join(writer)).reason._tag, "ResetLocally")
        assert.strictEqual(yield* reasonOf(right), "ResetByPeer")
      }))

    test("a writer that is blocked learns of the other side's reset", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* fill(left, options)
        const writer = yield* Effect.forkChild(Effect.flip(left.writable))
        yield* settle(3)
        right.reset("no")
        assert.strictEqual((yield* Fiber.join(writer)).reason._tag, "ResetByPeer")
      }))

    test("a reset after closeWrite is a reset when data was still to come", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        yield* left.closeWrite
        assert.strictEqual(yield* read(right), null)
        right.tryWrite(pattern(0, 10))
        right.flush()
        yield* readExactly(left, 10)
        right.reset("no")
        assert.strictEqual(yield* reasonOf(left), "ResetByPeer")
      }))

    test("takes a bounded number of bytes while nobody reads, and goes on when somebody does", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        const taken = yield* fill(left, options)
        assert.isAbove(taken, 0)
        assert.isAtMost(taken, options.bound ?? 32 * 1024 * 1024)
        const closing = yield* Effect.forkChild(left.closeWrite)
        assert.strictEqual(yield* receivePattern(right, 0), taken)
        yield* Fiber.join(closing)
      }))

    test("an interrupted wait leaves nothing behind", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        for (let i = 0; i < 3; i++) {
          const reader = yield* Effect.forkChild(right.readable)
          yield* settle(3)
          yield* Fiber.interrupt(reader)
        }
        yield* write(left, pattern(0, 100))
        assert.deepStrictEqual(yield* readExactly(right, 100), pattern(0, 100))
        const taken = yield* fill(left, options)
        for (let i = 0; i < 3; i++) {
          const writer = yield* Effect.forkChild(left.writable)
          yield* settle(3)
          yield* Fiber.interrupt(writer)
        }
        const writer = yield* Effect.forkChild(left.writable)
        yield* readExactly(right, taken)
        yield* Fiber.join(writer)
      }))

    test("bytes that were read stay as they are until the next read or wait", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        for (let i = 0; i < 20; i++) {
          yield* write(left, pattern(i, 16))
          let bytes = right.tryRead()
          while (bytes === undefined) {
            yield* right.readable
            bytes = right.tryRead()
          }
          if (bytes === null) return assert.fail("ended early")
          const there = left.tryWrite(pattern(1000, 16))
          left.flush()
          const back = right.tryWrite(pattern(2000, 16))
          right.flush()
          const got = bytes.length
          assert.deepStrictEqual(Uint8Array.from(bytes), pattern(i, got))
          // What was written meanwhile comes next.
          yield* readExactly(left, back)
          yield* readExactly(right, 16 - got + there)
        }
      }))

    test("ping-pong", () =>
      Effect.gen(function* () {
        const [left, right] = yield* makePair
        const echo = Effect.gen(function* () {
          for (;;) {
            const bytes = yield* read(right)
            if (bytes === null) return yield* right.closeWrite
            yield* write(right, bytes)
          }
        })
        const server = yield* Effect.forkChild(echo)
        for (let i = 0; i < 100; i++) {
          yield* write(left, pattern(i, 32))
          assert.deepStrictEqual(yield* readExactly(left, 32), pattern(i, 32))
        }
        yield* left.closeWrite
        assert.strictEqual(yield* read(left), null)
        yield* Fiber.join(server)
      }))
  })
}
