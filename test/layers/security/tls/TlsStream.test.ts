import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Scheduler } from "effect"
import * as tls from "node:tls"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as NodeNet from "../../../../src/layers/net/NodeNet.ts"
import * as Pipe from "../../../../src/layers/internal/Pipe.ts"
import type { Bridge } from "../../../../src/layers/security/tls/Bridge.ts"
import { limit, TlsStream } from "../../../../src/layers/security/tls/TlsStream.ts"
import * as ByteStream from "../../../../src/services/ByteStream.ts"
import type { SecuredConnection } from "../../../../src/services/ConnectionSecurity.ts"
import { Net } from "../../../../src/services/Net.ts"
import { byteStreamSuite } from "../../../../src/conformance/ByteStream.ts"
import { connect, pattern, readAll, readSome, streamFailure } from "../../../../src/conformance/ConnectionSecurity.ts"
import { meet, node, secureBoth } from "./remote.ts"

const options = { expectedPeer: undefined, muxers: [] }

/** A man in the middle: bytes go on as `change` gives them; `null` cuts the direction off. */
const between = (
  from: ByteStream.ByteStream,
  to: ByteStream.ByteStream,
  change: (bytes: Uint8Array) => Uint8Array | null
) =>
  Effect.gen(function* () {
    for (;;) {
      const bytes = yield* ByteStream.read(from)
      const changed = bytes === null ? null : change(bytes)
      if (changed === null) return yield* to.closeWrite
      if (changed.length > 0) yield* ByteStream.write(to, changed)
    }
  }).pipe(Effect.ignore)

const tapped = Effect.gen(function* () {
  const [left, tapLeft] = yield* Pipe.pair()
  const [right, tapRight] = yield* Pipe.pair()
  const tap: { change: (bytes: Uint8Array) => Uint8Array | null } = { change: (bytes) => bytes }
  yield* Effect.forkScoped(between(tapLeft, tapRight, (bytes) => tap.change(bytes)))
  yield* Effect.forkScoped(between(tapRight, tapLeft, (bytes) => bytes))
  const [near, far] = yield* secureBoth(left, right)
  return { near, far, tap, right }
})

/** What is read until the stream ends or fails, and how it fails. */
const readUntilFailure = (stream: SecuredConnection) =>
  Effect.gen(function* () {
    let got = 0
    for (;;) {
      const next = yield* Effect.result(ByteStream.read(stream))
      if (Result.isFailure(next)) return { got, reason: next.failure.reason }
      if (next.success === null) return { got, reason: undefined }
      got += next.success.length
    }
  })

describe("TlsStream: what is done to it on the way", () => {
  it.live("a cut is told from an end, at any byte", () =>
    Effect.gen(function* () {
      // Two records of 10 bytes, then the one that says the end.
      const record = 10 + 5 + 1 + 16
      const whole = 2 * record + 2 + 5 + 1 + 16
      for (let n = 0; n <= whole; n += n === 0 || n >= whole - 2 ? 1 : 3) {
        const { far, near, right, tap } = yield* tapped
        let left = n
        tap.change = (bytes) => {
          const part = bytes.subarray(0, left)
          left -= part.length
          return part
        }
        for (let i = 0; i < 2; i++) {
          near.tryWrite(pattern(10))
          near.flush()
          yield* near.writable
          yield* Effect.yieldNow
        }
        yield* near.closeWrite
        const { got, reason } = yield* readUntilFailure(far)
        assert.strictEqual(got, Math.min(2, Math.floor(n / record)) * 10)
        assert.strictEqual(reason?._tag, n === whole ? undefined : "UnexpectedEnd", `${n} bytes`)
        if (n < whole) assert.strictEqual(yield* streamFailure(right.readable), "ResetLocally")
      }
    })
  )

  for (const side of ["dialer", "listener"] as const) {
    it.live(`tampering is found by the ${side}, which fails, after what came before, and resets the raw stream`, () =>
      Effect.gen(function* () {
        const [left, tapLeft] = yield* Pipe.pair()
        const [right, tapRight] = yield* Pipe.pair()
        let tamper = false
        const change = (bytes: Uint8Array) =>
          tamper ? Uint8Array.from(bytes, (byte, i) => (i === 40 ? byte ^ 1 : byte)) : bytes
        yield* Effect.forkScoped(between(tapLeft, tapRight, change))
        yield* Effect.forkScoped(between(tapRight, tapLeft, change))
        const [near, far] = yield* secureBoth(left, right)
        const [from, to, raw] = side === "dialer" ? [far, near, left] : [near, far, right]
        yield* ByteStream.write(from, pattern(10))
        yield* readSome(to, 10)
        tamper = true
        yield* ByteStream.write(from, pattern(100))
        const { reason } = yield* Effect.flip(ByteStream.read(to))
        if (reason._tag !== "ProtocolViolation") return assert.fail(reason._tag)
        assert.deepStrictEqual([reason.layer, reason.detail], ["tls", "decryption failed or bad record mac"])
        assert.strictEqual(to.tryWrite(pattern(1)), 0)
        assert.strictEqual(yield* streamFailure(to.writable), "ProtocolViolation")
        assert.strictEqual(yield* streamFailure(to.closeWrite), "ProtocolViolation")
        assert.strictEqual(yield* streamFailure(raw.readable), "ResetLocally")
      })
    )
  }

  it.live("a raw stream that fails fails those who wait, and TLS with it", () =>
    Effect.gen(function* () {
      const [us, them] = yield* Effect.all([node(1), node(2)])
      const { far, near, right } = yield* connect(us, them, { pipe: { capacity: 500 } })
      const writing = yield* Effect.forkChild(Effect.flip(ByteStream.write(near, pattern(500_000))))
      const reading = yield* Effect.forkChild(Effect.flip(ByteStream.read(near)))
      yield* Effect.yieldNow
      right.reset("gone")
      assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "ResetByPeer")
      assert.strictEqual((yield* Fiber.join(reading)).reason._tag, "ResetByPeer")
      assert.strictEqual(yield* streamFailure(near.closeWrite), "ResetByPeer")
      assert.strictEqual(yield* streamFailure(readAll(far)), "ResetLocally")
    })
  )

  it.live("a raw stream that fails while the end is under way fails who waits for it", () =>
    Effect.gen(function* () {
      const [us, them] = yield* Effect.all([node(1), node(2)])
      const { near, right } = yield* connect(us, them, { pipe: { capacity: 500 } })
      near.tryWrite(pattern(100_000))
      const closing = yield* Effect.forkChild(Effect.flip(near.closeWrite))
      yield* Effect.yieldNow
      right.reset("gone")
      assert.strictEqual((yield* Fiber.join(closing)).reason._tag, "ResetByPeer")
    })
  )

  it.live("a remote that ends its side only is written to still", () =>
    Effect.gen(function* () {
      const { remote, secured } = yield* meet("listener")
      const connection = Result.getOrThrow(secured)
      yield* Effect.promise(() => remote.secured)
      // `end` of a Node socket ends both sides of the pipe's end only as it is told to: here the writing one.
      remote.socket.allowHalfOpen = true
      remote.socket.end(pattern(3))
      assert.deepStrictEqual(yield* readAll(connection), pattern(3))
      const got = new Promise<Uint8Array>((resolve) => remote.socket.once("data", (bytes) => resolve(bytes)))
      yield* ByteStream.write(connection, pattern(9))
      assert.deepStrictEqual(Uint8Array.from(yield* Effect.promise(() => got)), pattern(9))
      yield* connection.closeWrite
    })
  )

  it.live("parts written in a turn become one record", () =>
    Effect.gen(function* () {
      const { far, near, tap } = yield* tapped
      yield* readSome(far, 0)
      let sent = 0
      tap.change = (bytes) => {
        sent += bytes.length
        return bytes
      }
      for (const part of [pattern(1), pattern(500), pattern(3)]) assert.strictEqual(near.tryWrite(part), part.length)
      near.flush()
      assert.deepStrictEqual(yield* readSome(far, 504), Bytes.concat([pattern(1), pattern(500), pattern(3)]))
      assert.strictEqual(sent, 504 + 5 + 1 + 16)
    })
  )

  it.live("a slow reader leaves the rest with the raw stream", () =>
    Effect.gen(function* () {
      const [us, them] = yield* Effect.all([node(1), node(2)])
      const { far, near, right } = yield* connect(us, them, { pipe: { capacity: 100_000 } })
      yield* Effect.forkChild(Effect.ignore(ByteStream.write(near, pattern(1_000_000))))
      yield* ByteStream.read(far)
      for (let i = 0; i < 100; i++) yield* Effect.yieldNow
      // Full: nothing was taken since.
      let waiting = 0
      for (let bytes = right.tryRead(); bytes; bytes = right.tryRead()) waiting += bytes.length
      assert.isAbove(waiting, 99_000)
      near.reset("the test is over")
    })
  )
})

describe("TlsStream: what it leaves to Node", () => {
  const made = Effect.gen(function* () {
    const [left, right] = yield* Pipe.pair()
    const sockets: { bridge?: Bridge; socket?: tls.TLSSocket } = {}
    const stream = new TlsStream({
      raw: left,
      dispatcher: (yield* Scheduler.Scheduler).makeDispatcher(),
      scratch: new Uint8Array(limit),
      fork: Effect.runForkWith(yield* Effect.context()),
      open: (bridge) => {
        sockets.bridge = bridge
        sockets.socket = tls.connect({ socket: bridge, rejectUnauthorized: false })
        return sockets.socket
      }
    })
    const ended = Effect.gen(function* () {
      for (let i = 0; i < 10; i++) yield* Effect.yieldNow
      assert.isTrue(sockets.bridge?.closed)
      assert.isTrue(sockets.socket?.closed)
    })
    return { stream, left, right, sockets, ended }
  })

  it.live("nothing, after a reset", () =>
    Effect.gen(function* () {
      const { ended, sockets, stream } = yield* made
      assert.isFalse(sockets.socket?.destroyed)
      stream.reset("enough")
      yield* ended
    })
  )

  it.live("nothing, after garbage", () =>
    Effect.gen(function* () {
      const { ended, right, stream } = yield* made
      yield* ByteStream.write(right, pattern(100))
      assert.strictEqual((yield* Effect.flip(stream.readable)).reason._tag, "ProtocolViolation")
      yield* ended
    })
  )

  it.live("nothing, when the raw stream fails, before or after it starts", () =>
    Effect.gen(function* () {
      const { ended, right, stream } = yield* made
      right.reset("gone")
      assert.strictEqual((yield* Effect.flip(stream.readable)).reason._tag, "ResetByPeer")
      yield* ended
      const [left] = yield* Pipe.pair()
      left.reset("gone before")
      const us = yield* node(1)
      for (const role of ["dialer", "listener"] as const) {
        const error = yield* Effect.flip(us.protocol.secure(left, { role, ...options }))
        assert.strictEqual(error.reason._tag, "HandshakeInterrupted")
      }
    })
  )
})

/** Two ends of a real connection, secured. */
const overTcp = Effect.gen(function* () {
  const net = yield* Net
  const listener = yield* net.listen({ host: "127.0.0.1", port: 0 })
  const [left, right] = yield* Effect.all([net.connect({ ...listener.local }), listener.accept], { concurrency: 2 })
  return yield* secureBoth(left, right)
}).pipe(Effect.provide(NodeNet.layer), Effect.orDie)

byteStreamSuite("Tls over TCP", overTcp, { live: true, transfer: 4 * 1024 * 1024, settle: Effect.sleep("15 millis") })
