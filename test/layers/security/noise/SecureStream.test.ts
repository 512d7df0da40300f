import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Scheduler } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as Pipe from "../../../../src/layers/internal/Pipe.ts"
import { frame } from "../../../../src/layers/security/noise/Frames.ts"
import { SecureStream } from "../../../../src/layers/security/noise/SecureStream.ts"
import { CipherState, maxCounter } from "../../../../src/layers/security/noise/SymmetricState.ts"
import * as ByteStream from "../../../../src/services/ByteStream.ts"
import { pattern, readSome, streamFailure } from "../../../../src/conformance/ConnectionSecurity.ts"

const crypto = NodeCrypto.make()
const key = (n: number) => crypto.aeadKey(new Uint8Array(32).fill(n))
const nothing = new Uint8Array(0)

/** A secured stream over one end of a pipe, and the bare other end with the ciphers that belong to it. */
const make = (options?: Pipe.Options & { readonly early?: Uint8Array; readonly counter?: number }) =>
  Effect.gen(function* () {
    const [raw, remote] = yield* Pipe.pair(options)
    const stream = new SecureStream({
      raw,
      send: new CipherState(key(1), options?.counter),
      receive: new CipherState(key(2), options?.counter),
      early: options?.early ?? nothing,
      dispatcher: (yield* Scheduler.Scheduler).makeDispatcher(),
      fork: Effect.runForkWith(yield* Effect.context())
    })
    return { stream, raw, remote, receive: new CipherState(key(1), options?.counter) }
  })

/** Messages of the remote, numbered from 0. */
const messages = (...plaintexts: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> =>
  plaintexts.map((plaintext, i) => frame(key(2).seal(i, nothing, [plaintext])))

const [one, two, three] = [Uint8Array.of(1), Uint8Array.of(2, 2), Uint8Array.of(3, 3, 3)]
const sealed = messages(one, two, three)
const at = (i: number): Uint8Array => sealed[i] ?? assert.fail()

/** What can be read before the stream fails, and how it fails. */
const readUntilFailure = (stream: SecureStream) =>
  Effect.gen(function* () {
    const got: Array<number> = []
    for (;;) {
      const next = yield* Effect.result(ByteStream.read(stream))
      if (next._tag === "Failure") return { got, reason: next.failure.reason }
      if (next.success === null) return { got, reason: undefined }
      got.push(...next.success)
    }
  })

const send = (remote: ByteStream.ByteStream, ...bytes: ReadonlyArray<Uint8Array>) =>
  ByteStream.write(remote, Bytes.concat(bytes))

describe("SecureStream: what a remote may do to it", () => {
  it.live("messages of one batch are all delivered", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* make()
      yield* send(remote, ...sealed)
      yield* remote.closeWrite
      assert.deepStrictEqual(yield* readUntilFailure(stream), { got: [1, 2, 2, 3, 3, 3], reason: undefined })
      assert.isNull(stream.tryRead())
    })
  )

  it.live("early bytes come first, a message cut in two among them", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* make({ early: Bytes.concat([at(0), at(1).subarray(0, 5)]) })
      yield* send(remote, at(1).subarray(5), at(2))
      yield* remote.closeWrite
      assert.deepStrictEqual((yield* readUntilFailure(stream)).got, [1, 2, 2, 3, 3, 3])
    })
  )

  const broken: ReadonlyArray<readonly [string, ReadonlyArray<Uint8Array>, ReadonlyArray<number>]> = [
    ["a tampered message", [at(0), Uint8Array.from(at(1), (byte, i) => (i === 3 ? byte ^ 1 : byte)), at(2)], [1]],
    ["a replayed message", [at(0), at(0), at(1)], [1]],
    ["swapped messages", [at(1), at(0)], []],
    ["a dropped message", [at(1), at(2)], []],
    ["a message of this side, reflected", [frame(key(1).seal(0, nothing, [one]))], []],
    ["a message too short for its tag", [at(0), Uint8Array.of(0, 15), new Uint8Array(15)], [1]],
    ["an empty message", [at(0), Uint8Array.of(0, 0), at(1)], [1]],
    ["garbage", [pattern(5000)], []]
  ]
  for (const [title, bytes, got] of broken) {
    it.live(`${title} breaks the stream, after what authenticated before it, and resets the raw one`, () =>
      Effect.gen(function* () {
        const { raw, remote, stream } = yield* make()
        yield* send(remote, ...bytes)
        const outcome = yield* readUntilFailure(stream)
        assert.deepStrictEqual(outcome.got, got)
        assert.strictEqual(outcome.reason?._tag, "ProtocolViolation")
        assert.strictEqual(yield* streamFailure(raw.readable), "ResetLocally")
        assert.strictEqual(stream.tryWrite(one), 0)
        assert.strictEqual(yield* streamFailure(stream.writable), "ProtocolViolation")
        assert.isUndefined(stream.tryRead())
      })
    )
  }

  it.live("a cut inside a message is told from an end between messages, at every byte", () =>
    Effect.gen(function* () {
      for (let n = 0; n <= at(0).length; n++) {
        const { remote, stream } = yield* make()
        yield* send(remote, at(0).subarray(0, n))
        yield* remote.closeWrite
        const { reason } = yield* readUntilFailure(stream)
        assert.strictEqual(reason?._tag, n === 0 || n === at(0).length ? undefined : "UnexpectedEnd", `${n} bytes`)
      }
    })
  )

  it.live("messages without content are not delivered, and do no harm", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* make()
      yield* send(remote, ...messages(nothing, nothing, one, nothing))
      yield* remote.closeWrite
      assert.deepStrictEqual(yield* readUntilFailure(stream), { got: [1], reason: undefined })
    })
  )
})

describe("SecureStream: what it lends", () => {
  it.live("is left alone until the next read, whatever other connections read meanwhile", () =>
    Effect.gen(function* () {
      const pairs = yield* Effect.all(Array.from({ length: 20 }, () => make({ capacity: 1_000_000 })))
      for (let turn = 0; turn < 3; turn++) {
        for (const [i, { remote }] of pairs.entries()) {
          const plaintext = pattern(10_000 + i * 1000 + turn)
          yield* send(remote, frame(key(2).seal(turn, nothing, [plaintext.fill(i + turn * 32)])))
        }
        const lent = yield* Effect.forEach(pairs, ({ stream }) =>
          Effect.map(stream.readable, () => stream.tryRead() ?? assert.fail())
        )
        for (const [i, bytes] of lent.entries()) {
          assert.strictEqual(bytes.length, 10_000 + i * 1000 + turn)
          assert.isTrue(bytes.every((byte) => byte === i + turn * 32))
        }
      }
    })
  )
})

describe("SecureStream: what it writes", () => {
  it.live("parts written in a turn become one message", () =>
    Effect.gen(function* () {
      const { receive, remote, stream } = yield* make()
      for (const part of [one, two, pattern(5000), three]) assert.strictEqual(stream.tryWrite(part), part.length)
      stream.flush()
      const whole = Bytes.concat([one, two, pattern(5000), three])
      const got = yield* readSome(remote, whole.length + 18)
      assert.strictEqual((got[0] ?? 0) * 256 + (got[1] ?? 0), whole.length + 16)
      assert.deepStrictEqual(receive.decrypt(nothing, got.subarray(2)), whole)
    })
  )

  it.live("no message is longer than the protocol allows", () =>
    Effect.gen(function* () {
      const { receive, remote, stream } = yield* make({ capacity: 1_000_000 })
      assert.strictEqual(stream.tryWrite(pattern(65_520)), 65_520)
      stream.flush()
      const got = yield* readSome(remote, 65_537 + 2 + 1 + 16)
      assert.deepStrictEqual(got.subarray(0, 2), Uint8Array.of(0xff, 0xff))
      assert.strictEqual(receive.decrypt(nothing, got.subarray(2, 65_537))?.length, 65_519)
      assert.strictEqual(receive.decrypt(nothing, got.subarray(65_539))?.length, 1)
    })
  )

  it.live("nothing is sent when nothing was written", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* make()
      stream.flush()
      assert.strictEqual(stream.tryWrite(nothing), 0)
      yield* Effect.yieldNow
      assert.isUndefined(remote.tryRead())
    })
  )

  it.live("what the raw stream had no room for is sent without anybody waiting for it", () =>
    Effect.gen(function* () {
      const { receive, remote, stream } = yield* make({ capacity: 10 })
      stream.tryWrite(pattern(1000))
      stream.flush()
      assert.strictEqual(stream.tryWrite(one), 0)
      const got = yield* readSome(remote, 1018)
      assert.deepStrictEqual(receive.decrypt(nothing, got.subarray(2)), pattern(1000))
      yield* stream.writable
      assert.strictEqual(stream.tryWrite(one), 1)
    })
  )

  it.live("an exhausted key ends the stream", () =>
    Effect.gen(function* () {
      const { raw, stream } = yield* make({ counter: maxCounter - 1 })
      stream.tryWrite(one)
      stream.flush()
      stream.tryWrite(one)
      stream.flush()
      assert.strictEqual(stream.tryWrite(one), 0)
      assert.strictEqual(yield* streamFailure(stream.writable), "ResetLocally")
      assert.strictEqual(yield* streamFailure(raw.readable), "ResetLocally")
    })
  )

  it.live("a remote that goes away fails the writer that waits", () =>
    Effect.gen(function* () {
      const { remote, stream } = yield* make({ capacity: 10 })
      const writing = yield* Effect.forkChild(Effect.flip(ByteStream.write(stream, pattern(200_000))), {
        startImmediately: true
      })
      remote.reset("gone")
      assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "ResetByPeer")
    })
  )
})
