import { xsalsa20 } from "@noble/ciphers/salsa.js"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NetworkKey from "../../../src/data/NetworkKey.ts"
import {
  byteStreamSuite,
  lending,
  pattern,
  readExactly,
  reasonOf,
  settle
} from "../../../src/conformance/ByteStream.ts"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import { PrivateStream } from "../../../src/layers/pnet/PrivateStream.ts"
import { type ByteStream, read, write } from "../../../src/services/ByteStream.ts"

const keyOf = (n: number) => Result.getOrThrow(NetworkKey.fromBytes(new Uint8Array(32).fill(n)))
const nonceOf = (n: number) => pattern(0, 24, n)
const address = Multiaddr.fromStringUnsafe("/memory/1")
const raw = <S extends ByteStream>(stream: S) =>
  Object.assign(stream, { localAddress: address, remoteAddress: address })

const protect = (stream: ByteStream, key: number, nonce: number) =>
  new PrivateStream(raw(stream), keyOf(key), nonceOf(nonce))

const pair = (options?: Pipe.Options, wrap: (stream: ByteStream) => ByteStream = (stream) => stream) =>
  Effect.map(Pipe.pair(options), ([left, right]) => [protect(wrap(left), 1, 1), protect(wrap(right), 1, 2)] as const)

byteStreamSuite("PrivateStream", pair(), { bound: 64 * 1024 })
byteStreamSuite("PrivateStream over what lends for a moment and copies nothing", pair(undefined, lending), {
  bound: 64 * 1024
})
byteStreamSuite("PrivateStream over what takes little", pair({ capacity: 150 }), { transfer: 20_000 })
byteStreamSuite("PrivateStream over what comes in threes", pair({ chunk: 3 }), { transfer: 20_000, bound: 64 * 1024 })

/** One end in the network, and the bare other end. */
const bare = (options?: Pipe.Options) =>
  Effect.map(Pipe.pair(options), ([left, remote]) => ({ stream: protect(left, 1, 1), remote }))

const encrypted = (key: number, nonce: number, bytes: Uint8Array) =>
  Bytes.concat([nonceOf(nonce), xsalsa20(new Uint8Array(32).fill(key), nonceOf(nonce), bytes)])

describe("PrivateStream: what is on the wire", () => {
  it.effect("a nonce and the first bytes together, then a keystream that goes on", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* bare()
      const message = pattern(0, 200)
      assert.strictEqual(stream.tryWrite(message.subarray(0, 7)), 7)
      stream.flush()
      assert.deepStrictEqual(yield* read(remote), encrypted(1, 1, message.subarray(0, 7)))
      yield* write(stream, message.subarray(7, 100))
      yield* write(stream, message.subarray(100))
      assert.deepStrictEqual(yield* readExactly(remote, 193), encrypted(1, 1, message).subarray(31))
    })
  )

  it.effect("an end that reads sends its nonce, whichever way it reads", () =>
    Effect.gen(function* () {
      for (const begin of [
        (stream: ByteStream) => Effect.sync(() => stream.tryRead()),
        (stream: ByteStream) => Effect.sync(() => stream.whenReadable?.(() => {})),
        (stream: ByteStream) => Effect.asVoid(Effect.forkChild(stream.readable, { startImmediately: true })),
        (stream: ByteStream) => stream.writable,
        (stream: ByteStream) => stream.closeWrite
      ]) {
        const { remote, stream } = yield* bare()
        yield* begin(stream)
        assert.deepStrictEqual(yield* read(remote), nonceOf(1))
      }
    })
  )

  it.effect("one that is reset before it was used has said nothing", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* bare()
      stream.reset("over a limit")
      assert.strictEqual(remote.tryRead(), undefined)
      assert.strictEqual(yield* reasonOf(remote), "ResetByPeer")
    })
  )

  it.effect("what was not taken is encrypted again in its place, also when it is something else then", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* bare({ capacity: 40 })
      assert.strictEqual(stream.tryWrite(pattern(0, 100)), 16)
      assert.strictEqual(stream.tryWrite(pattern(0, 100)), 0)
      const first = yield* readExactly(remote, 40)
      assert.strictEqual(stream.tryWrite(pattern(500, 20)), 20)
      const all = Bytes.concat([first, yield* readExactly(remote, 20)])
      assert.deepStrictEqual(all, encrypted(1, 1, Bytes.concat([pattern(0, 16), pattern(500, 20)])))
    })
  )
})

describe("PrivateStream: remotes outside the network", () => {
  const outside = (stream: ByteStream) =>
    Effect.gen(function* () {
      const { reason } = yield* Effect.flip(Effect.forever(read(stream)))
      if (reason._tag !== "OutsideNetwork") return assert.fail(reason._tag)
      assert.strictEqual(reason.network, keyOf(1).fingerprint)
      assert.strictEqual(stream.tryRead(), undefined)
      assert.strictEqual(stream.tryWrite(pattern(0, 10)), 0)
      assert.strictEqual((yield* Effect.flip(stream.writable)).reason._tag, "OutsideNetwork")
      assert.strictEqual((yield* Effect.flip(stream.closeWrite)).reason._tag, "OutsideNetwork")
      return reason.detail
    })

  it.effect("one that begins in the clear is known at once", () =>
    Effect.gen(function* () {
      for (const more of ["", "\u0007/noise\n", "\u0007/noise\nand a handshake"]) {
        const { remote, stream } = yield* bare()
        yield* write(remote, Bytes.fromUtf8(`\u0013/multistream/1.0.0\n${more}`))
        assert.include(yield* outside(stream), "in the clear")
        assert.strictEqual(yield* reasonOf(remote), "ResetByPeer")
      }
    })
  )

  it.effect("one that ends inside its nonce is told apart from one that says nothing", () =>
    Effect.gen(function* () {
      for (const length of [1, 19, 20, 23]) {
        const { remote, stream } = yield* bare()
        yield* write(remote, pattern(0, length))
        yield* remote.closeWrite
        assert.include(yield* outside(stream), `after ${length} of the 24 bytes`)
      }
      for (const said of [0, 24]) {
        const { remote, stream } = yield* bare()
        yield* write(remote, pattern(0, said))
        yield* remote.closeWrite
        assert.isNull(yield* read(stream))
      }
    })
  )

  it.effect("one that sends back what it is sent is no node of the network, however it comes", () =>
    Effect.gen(function* () {
      for (const pieces of [[24], [200], [10, 14], [23, 1, 100]]) {
        const { remote, stream } = yield* bare()
        yield* write(stream, pattern(0, 200))
        const sent = yield* readExactly(remote, 224)
        yield* Effect.forkChild(
          Effect.gen(function* () {
            let at = 0
            for (const length of pieces) {
              yield* write(remote, sent.subarray(at, (at += length)))
              yield* settle(3)
            }
          }),
          { startImmediately: true }
        )
        assert.include(yield* outside(stream), "sends back")
        assert.strictEqual(yield* reasonOf(remote), "ResetByPeer")
      }
      // As much as the first bytes of the nonce may be the same by chance.
      const { remote, stream } = yield* bare()
      yield* write(remote, Bytes.concat([nonceOf(1).subarray(0, 23), Uint8Array.of(255), pattern(0, 10)]))
      assert.lengthOf(yield* readExactly(stream, 10), 10)
    })
  )

  it.effect("another key gives noise, and nothing of what was sent", () =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair()
      const a = protect(left, 1, 1)
      const b = protect(right, 2, 2)
      const message = pattern(0, 1000)
      yield* write(a, message)
      const got = yield* readExactly(b, 1000)
      assert.isBelow(got.filter((byte, i) => byte === message[i]).length, 30)
    })
  )

  it.effect("a nonce in pieces holds nothing up but what follows it", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* bare()
      const all = encrypted(1, 2, pattern(0, 10))
      const waiting = yield* Effect.forkChild(stream.readable, { startImmediately: true })
      for (const at of [0, 10, 23]) {
        yield* write(remote, all.subarray(at, at === 0 ? 10 : at === 10 ? 23 : 24))
        yield* settle(3)
        assert.isUndefined(waiting.pollUnsafe(), "a nonce is nothing to read")
      }
      yield* write(remote, all.subarray(24))
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* readExactly(stream, 10), pattern(0, 10))
    })
  )
})
