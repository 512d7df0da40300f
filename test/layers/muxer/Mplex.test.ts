import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Mplex from "../../../src/layers/muxer/Mplex.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import type { MuxedStream } from "../../../src/services/StreamMuxer.ts"
import { type Facts, join, muxerSuite, overLent, readAll } from "../../../src/conformance/StreamMuxer.ts"

const KiB = 1024

/** What a writer is rid of while nobody reads: unread there, under way, and unsent here. */
const facts = (maxUnreadPerStream: number): Facts => ({
  narrow: { protocol: Mplex.make({ acceptBacklog: 20 }), acceptBacklog: 20 },
  window: [maxUnreadPerStream, maxUnreadPerStream + 3 * 256 * KiB],
  holdsUpMs: 5000,
  withoutPing: true
})

muxerSuite("Mplex", Mplex.make(), facts(4096 * KiB))
muxerSuite("Mplex over lent bytes", overLent(Mplex.make()), facts(4096 * KiB))
muxerSuite(
  "Mplex with little room",
  Mplex.make({ outputHighWater: 32 * KiB, maxUnreadPerStream: 64 * KiB }),
  facts(64 * KiB)
)

const calm = Effect.gen(function* () {
  for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
})

describe("Mplex", () => {
  it.effect("a violation ends the connection with a reason", () =>
    Effect.gen(function* () {
      const { make } = yield* Mplex.make()
      const [left, right] = yield* Pipe.pair()
      const dialer = yield* make(left, { role: "dialer" })
      right.tryWrite(Uint8Array.from([7, 0]))
      const ending = yield* Effect.forkChild(dialer.awaitClosed)
      assert.strictEqual((yield* readAll(right)).length, 0)
      yield* right.closeWrite
      const reason = yield* Fiber.join(ending)
      assert.deepInclude(reason, { _tag: "MuxerViolation", detail: "a message of unknown flag 7" })
    })
  )

  it.effect("an idle connection stays up, and needs no clock", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(Mplex.make())
      yield* TestClock.adjust("1 day")
      yield* calm
      const stream = yield* dialer.openStream
      stream.flush()
      assert.strictEqual((yield* listener.acceptStream).direction, "inbound")
    })
  )

  it.effect("both ends may be held up by slow readers at once, and both recover", () =>
    Effect.gen(function* () {
      const { dialer, listener } = yield* join(Mplex.make({ maxUnreadPerStream: 64 * KiB }))
      const big = new Uint8Array(2048 * KiB)
      const [near, far] = [yield* dialer.openStream, yield* listener.openStream]
      const flood = (stream: MuxedStream) => Effect.flip(Effect.forever(ByteStream.write(stream, big)))
      const writing = yield* Effect.forkChild(flood(near))
      const back = yield* Effect.forkChild(flood(far))
      yield* calm
      yield* TestClock.adjust("5 seconds")
      yield* calm
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "ResetByPeer")
      assert.strictEqual((yield* Fiber.join(back)).reason._tag, "ResetByPeer")
    })
  )
})
