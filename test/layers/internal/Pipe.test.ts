import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import { read, write } from "../../../src/services/ByteStream.ts"
import { byteStreamSuite, pattern, readExactly, reasonOf } from "../../../src/conformance/ByteStream.ts"

byteStreamSuite("Pipe", Pipe.pair(), { bound: 64 * 1024 })
byteStreamSuite("Pipe of a few bytes", Pipe.pair({ capacity: 100, chunk: 7 }), { bound: 100, transfer: 50_000 })

describe("Pipe", () => {
  it.effect("gives pieces of at most the asked size", () =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair({ chunk: 3 })
      left.tryWrite(pattern(0, 8))
      assert.deepStrictEqual([right.tryRead()?.length, right.tryRead()?.length, right.tryRead()?.length], [3, 3, 2])
    })
  )

  it.effect("copies what is written", () =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair()
      const bytes = Buffer.from(pattern(0, 2000))
      left.tryWrite(bytes)
      bytes.fill(0)
      assert.deepStrictEqual(yield* readExactly(right, 2000), pattern(0, 2000))
    })
  )

  it.effect("never wakes a reader from inside a write", () =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair()
      let woken = false
      const reader = yield* Effect.forkChild(Effect.tap(right.readable, () => Effect.sync(() => (woken = true))))
      yield* Effect.yieldNow
      left.tryWrite(pattern(0, 1))
      left.flush()
      assert.isFalse(woken)
      yield* Fiber.join(reader)
      assert.isTrue(woken)
    })
  )

  it.effect("a relay of thousands of pipes does not nest", () =>
    Effect.gen(function* () {
      const hops = 5000
      const pipes = yield* Effect.all(Array.from({ length: hops }, () => Pipe.pair()))
      const first = pipes[0]
      const last = pipes.at(-1)
      if (first === undefined || last === undefined) return assert.fail("no pipes")
      for (let i = 0; i + 1 < hops; i++) {
        const from = pipes[i]?.[1]
        const to = pipes[i + 1]?.[0]
        if (from === undefined || to === undefined) continue
        yield* Effect.forkChild(
          Effect.flatMap(read(from), (bytes) => (bytes === null ? to.closeWrite : write(to, bytes)))
        )
      }
      yield* Effect.yieldNow
      yield* write(first[0], pattern(0, 10))
      assert.deepStrictEqual(yield* readExactly(last[1], 10), pattern(0, 10))
    })
  )

  it.effect("a released end leaves what it wrote, or resets", () =>
    Effect.gen(function* () {
      const [left, right] = yield* Pipe.pair()
      yield* write(left, pattern(0, 10))
      yield* left.closeWrite
      left.release()
      assert.strictEqual(right.tryWrite(pattern(0, 10)), 0)
      assert.strictEqual((yield* Effect.flip(right.writable)).reason._tag, "ResetByPeer")
      assert.deepStrictEqual(yield* readExactly(right, 10), pattern(0, 10))
      assert.strictEqual(yield* read(right), null)
      const [one, two] = yield* Pipe.pair()
      yield* write(one, pattern(0, 10))
      one.release()
      assert.strictEqual(yield* reasonOf(two), "ResetByPeer")
    })
  )

  it.effect("two readers at once are a defect, not a hang", () =>
    Effect.gen(function* () {
      const [, right] = yield* Pipe.pair()
      yield* Effect.forkChild(right.readable)
      yield* Effect.yieldNow
      const exit = yield* Effect.exit(right.readable)
      assert.strictEqual(exit._tag, "Failure")
    })
  )
})
