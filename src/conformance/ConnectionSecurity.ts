/** What every security must do, whatever it puts on the wire. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Bytes from "../data/Bytes.ts"
import * as Keys from "../data/Keys.ts"
import * as PeerId from "../data/PeerId.ts"
import * as Pipe from "../layers/internal/Pipe.ts"
import * as ByteStream from "../services/ByteStream.ts"
import type { SecuredConnection, SecurityProtocol } from "../services/ConnectionSecurity.ts"

/** A node: its protocol, and who it is. */
export interface SecureNode {
  readonly protocol: SecurityProtocol
  readonly peerId: PeerId.PeerId
  readonly publicKey: Keys.PublicKey
}

const yamux = "/yamux/1.0.0"
const mplex = "/mplex/6.7.0"

export interface Options {
  readonly pipe?: Pipe.Options | undefined
  readonly dialerMuxers?: ReadonlyArray<string> | undefined
  readonly listenerMuxers?: ReadonlyArray<string> | undefined
  readonly expectedPeer?: PeerId.PeerId | undefined
}

/** Runs both ends of a handshake over a pipe. */
export const connect = (dialer: SecureNode, listener: SecureNode, options: Options = {}) =>
  Effect.gen(function* () {
    const [left, right] = yield* Pipe.pair(options.pipe)
    const [near, far] = yield* Effect.all(
      [
        dialer.protocol.secure(left, {
          role: "dialer",
          expectedPeer: options.expectedPeer,
          muxers: options.dialerMuxers ?? []
        }),
        listener.protocol.secure(right, {
          role: "listener",
          expectedPeer: undefined,
          muxers: options.listenerMuxers ?? []
        })
      ],
      { concurrency: 2 }
    )
    return { near, far, left, right }
  })

/** Reads to the end. */
export const readAll = (stream: ByteStream.ByteStream): Effect.Effect<Uint8Array, ByteStream.StreamError> =>
  Effect.gen(function* () {
    const parts: Array<Uint8Array> = []
    for (;;) {
      const bytes = yield* ByteStream.read(stream)
      if (bytes === null) return Bytes.concat(parts)
      assert.isAbove(bytes.length, 0)
      parts.push(bytes)
    }
  })

/** Reads exactly `size` bytes or more, or to the end. */
export const readSome = (stream: ByteStream.ByteStream, size: number) =>
  Effect.gen(function* () {
    const parts: Array<Uint8Array> = []
    let got = 0
    while (got < size) {
      const bytes = yield* ByteStream.read(stream)
      if (bytes === null) break
      parts.push(bytes)
      got += bytes.length
    }
    return Bytes.concat(parts)
  })

/** A loop, since tests are made of megabytes of it: `Uint8Array.from` takes twenty times as long. */
export const pattern = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = i * 31 + (i >>> 8)
  return bytes
}

/** The reason of the failure of a stream. */
export const streamFailure = <A>(effect: Effect.Effect<A, ByteStream.StreamError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

/** Writes in pieces of random sizes, flushing now and then. */
const writePieces = (stream: SecuredConnection, bytes: Uint8Array, largest: number) =>
  Effect.gen(function* () {
    for (let at = 0; at < bytes.length;) {
      const size = yield* Random.nextIntBetween(1, largest)
      const piece = bytes.subarray(at, at + size)
      at += piece.length
      if (yield* Random.nextBoolean) yield* ByteStream.write(stream, piece)
      else {
        for (let rest = piece; rest.length > 0;) {
          rest = rest.subarray(stream.tryWrite(rest))
          if (rest.length > 0) yield* stream.writable
        }
      }
      if (yield* Random.nextBoolean) yield* Effect.yieldNow
    }
    yield* stream.closeWrite
  })

export interface SuiteOptions {
  /** False for a security that agrees on no muxer. Default true. */
  readonly earlyMuxer?: boolean | undefined
}

/**
 * The suite. `make` makes two nodes with identities of their own.
 */
export const securitySuite = (
  name: string,
  make: Effect.Effect<{ readonly dialer: SecureNode; readonly listener: SecureNode }>,
  { earlyMuxer = true }: SuiteOptions = {}
): void => {
  describe(`${name}: handshake`, () => {
    it.live("both ends learn the id and key of the other", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, { expectedPeer: listener.peerId })
        assert.isTrue(PeerId.equals(near.remotePeer, listener.peerId))
        assert.isTrue(Keys.equals(near.remotePublicKey, listener.publicKey))
        assert.isTrue(PeerId.equals(far.remotePeer, dialer.peerId))
        assert.isTrue(Keys.equals(far.remotePublicKey, dialer.publicKey))
        assert.strictEqual(near.security, dialer.protocol.id)
        assert.strictEqual(far.security, dialer.protocol.id)
      })
    )

    it.live(earlyMuxer ? "the dialer's preference chooses the muxer" : "no muxer is chosen though one is shared", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, {
          dialerMuxers: [yamux, mplex],
          listenerMuxers: [mplex, yamux]
        })
        assert.strictEqual(near.earlyMuxer, earlyMuxer ? yamux : undefined)
        assert.strictEqual(far.earlyMuxer, earlyMuxer ? yamux : undefined)
      })
    )

    for (const [title, ours, theirs] of [
      ["none is shared", [yamux], [mplex]],
      ["only the dialer offers", [yamux], []],
      ["only the listener offers", [], [yamux]]
    ] as const) {
      it.live(`no muxer is chosen when ${title}`, () =>
        Effect.gen(function* () {
          const { dialer, listener } = yield* make
          const { far, near } = yield* connect(dialer, listener, { dialerMuxers: ours, listenerMuxers: theirs })
          assert.isUndefined(near.earlyMuxer)
          assert.isUndefined(far.earlyMuxer)
        })
      )
    }

    it.live("works a byte at a time, through a pipe that holds seven", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, { pipe: { capacity: 7, chunk: 1 } })
        yield* Effect.forkChild(Effect.andThen(ByteStream.write(near, pattern(100)), near.closeWrite))
        assert.deepStrictEqual(yield* readAll(far), pattern(100))
      })
    )

    it.live("the dialer fails when another peer answers, and the connection is reset", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const [left, right] = yield* Pipe.pair()
        const answer = yield* Effect.forkChild(
          listener.protocol.secure(right, { role: "listener", expectedPeer: undefined, muxers: [] })
        )
        const error = yield* Effect.flip(
          dialer.protocol.secure(left, { role: "dialer", expectedPeer: dialer.peerId, muxers: [] })
        )
        const reason = error.reason
        if (reason._tag !== "WrongPeer") return assert.fail(reason._tag)
        assert.strictEqual(reason.expected, dialer.peerId.toString())
        assert.strictEqual(reason.actual, listener.peerId.toString())
        assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
        // A listener that was done before is told by the stream.
        const answered = yield* Fiber.await(answer)
        if (Exit.isSuccess(answered)) assert.strictEqual(yield* streamFailure(readAll(answered.value)), "ResetByPeer")
      })
    )

    for (const role of ["dialer", "listener"] as const) {
      it.live(`as ${role}, a silent peer is waited for no longer than the deadline, and the connection is reset`, () =>
        Effect.gen(function* () {
          const { dialer } = yield* make
          const [left, right] = yield* Pipe.pair()
          const exit = yield* Effect.exit(
            Effect.timeout(dialer.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }), "20 millis")
          )
          assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause))
          assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
          // What the silent peer was sent before is gone with the connection.
          assert.strictEqual(yield* streamFailure(readAll(right)), "ResetByPeer")
        })
      )

      it.live(`as ${role}, a peer that closes during the handshake is a failure`, () =>
        Effect.gen(function* () {
          const { dialer } = yield* make
          const [left, right] = yield* Pipe.pair()
          yield* right.closeWrite
          const error = yield* Effect.flip(dialer.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }))
          assert.strictEqual(error.reason._tag, "HandshakeInterrupted")
        })
      )

      it.live(`as ${role}, a reset during the handshake is a failure`, () =>
        Effect.gen(function* () {
          const { dialer } = yield* make
          const [left, right] = yield* Pipe.pair()
          right.reset("no more")
          const error = yield* Effect.flip(dialer.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }))
          assert.strictEqual(error.reason._tag, "HandshakeInterrupted")
        })
      )

      it.live(`as ${role}, bytes that are no handshake are a failure`, () =>
        Effect.gen(function* () {
          const { dialer } = yield* make
          const [left, right] = yield* Pipe.pair()
          yield* ByteStream.write(right, Bytes.fromUtf8("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
          yield* right.closeWrite
          assert.isTrue(
            Exit.isFailure(
              yield* Effect.exit(dialer.protocol.secure(left, { role, expectedPeer: undefined, muxers: [] }))
            )
          )
          assert.strictEqual(yield* streamFailure(left.readable), "ResetLocally")
        })
      )
    }
  })

  describe(`${name}: data`, () => {
    for (const seed of [1, 2, 3]) {
      it.live(`arrives whole and in order both ways, in any segmentation (seed ${seed})`, () =>
        Effect.gen(function* () {
          const { dialer, listener } = yield* make
          const chunk = yield* Random.nextIntBetween(1, 3000)
          const capacity = yield* Random.nextIntBetween(100, 100_000)
          const { far, near } = yield* connect(dialer, listener, { pipe: { chunk, capacity } })
          const [up, down] = [pattern(200_000), pattern(150_001).toReversed()]
          const [, , gotUp, gotDown] = yield* Effect.all(
            [writePieces(near, up, 30_000), writePieces(far, down, 200), readAll(far), readAll(near)],
            { concurrency: 4 }
          )
          assert.isTrue(Bytes.equals(gotUp, up))
          assert.isTrue(Bytes.equals(gotDown, down))
        }).pipe(Random.withSeed(seed))
      )
    }

    it.live("a write larger than any message arrives", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener)
        const sent = pattern(1_000_000)
        const [got] = yield* Effect.all([readAll(far), Effect.andThen(ByteStream.write(near, sent), near.closeWrite)], {
          concurrency: 2
        })
        assert.isTrue(Bytes.equals(got, sent))
      })
    )

    it.live("what is read stays as it is while more is read", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener)
        yield* ByteStream.write(near, pattern(1000))
        const first = yield* ByteStream.read(far)
        yield* ByteStream.write(near, new Uint8Array(1000))
        yield* ByteStream.read(far)
        assert.deepStrictEqual(first, pattern(1000))
      })
    )

    it.live("what was written but not flushed is sent when the turn ends", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener)
        assert.strictEqual(near.tryWrite(Uint8Array.of(1, 2)), 2)
        assert.strictEqual(near.tryWrite(Uint8Array.of(3)), 1)
        assert.deepStrictEqual(yield* readSome(far, 3), Uint8Array.of(1, 2, 3))
      })
    )

    it.live("early data that the dialer sends right after its handshake is kept", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const [left, right] = yield* Pipe.pair()
        yield* Effect.forkChild(
          Effect.gen(function* () {
            const near = yield* dialer.protocol.secure(left, { role: "dialer", expectedPeer: undefined, muxers: [] })
            near.tryWrite(Uint8Array.of(1, 2, 3))
            near.flush()
            yield* near.closeWrite
          })
        )
        const far = yield* listener.protocol.secure(right, { role: "listener", expectedPeer: undefined, muxers: [] })
        assert.deepStrictEqual(yield* readAll(far), Uint8Array.of(1, 2, 3))
      })
    )

    it.live("half-close: the other direction goes on", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener)
        near.tryWrite(Uint8Array.of(1))
        yield* near.closeWrite
        yield* near.closeWrite
        assert.strictEqual(near.tryWrite(Uint8Array.of(2)), 0)
        assert.strictEqual(yield* streamFailure(near.writable), "WriteClosed")
        assert.deepStrictEqual(yield* readAll(far), Uint8Array.of(1))
        assert.isNull(far.tryRead())
        yield* ByteStream.write(far, Uint8Array.of(3))
        yield* far.closeWrite
        assert.deepStrictEqual(yield* readAll(near), Uint8Array.of(3))
      })
    )

    it.live("closing the writing side sends what the other end was too slow for", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, { pipe: { capacity: 500 } })
        const whole = pattern(30_000)
        const sent = whole.subarray(0, near.tryWrite(whole))
        assert.isAbove(sent.length, 0)
        const closing = yield* Effect.forkChild(near.closeWrite, { startImmediately: true })
        assert.isTrue(Bytes.equals(yield* readAll(far), sent))
        yield* Fiber.join(closing)
      })
    )

    it.live("reset: both ends fail, waiters too", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, { pipe: { capacity: 500 } })
        const reading = yield* Effect.forkChild(Effect.flip(near.readable), { startImmediately: true })
        const writing = yield* Effect.forkChild(Effect.flip(ByteStream.write(near, pattern(400_000))), {
          startImmediately: true
        })
        near.reset("enough")
        near.reset("enough, really")
        const error = yield* Fiber.join(reading)
        assert.deepStrictEqual(error.reason, new ByteStream.ResetLocally({ because: "enough" }))
        assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "ResetLocally")
        assert.strictEqual(yield* streamFailure(readAll(far)), "ResetByPeer")
        assert.strictEqual(near.tryWrite(Uint8Array.of(1)), 0)
        assert.isUndefined(near.tryRead())
      })
    )

    it.live("backpressure: a writer whose peer does not read is stopped, within bounds", () =>
      Effect.gen(function* () {
        const { dialer, listener } = yield* make
        const { far, near } = yield* connect(dialer, listener, { pipe: { capacity: 10_000 } })
        const piece = pattern(4096)
        let taken = 0
        for (let i = 0; i < 100; i++) {
          const n = near.tryWrite(piece)
          taken += n
          if (i % 3 === 0) near.flush()
          if (n === 0) break
        }
        assert.isBelow(taken, 400_000)
        assert.strictEqual(near.tryWrite(piece), 0)
        const waiting = yield* Effect.forkChild(near.writable, { startImmediately: true })
        yield* Effect.yieldNow
        assert.isUndefined(waiting.pollUnsafe())
        yield* readSome(far, taken)
        yield* Fiber.join(waiting)
        assert.isAbove(near.tryWrite(piece), 0)
      })
    )
  })
}
