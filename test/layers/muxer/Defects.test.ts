/** A defect below or inside a muxer: those who wait are told, and the log has it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Mplex from "../../../src/layers/muxer/Mplex.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import type { ByteStream } from "../../../src/services/ByteStream.ts"

/** A connection that works until it is broken. */
const breakable = (raw: ByteStream) => {
  const state = { broken: false }
  const connection: ByteStream = {
    ownedReads: raw.ownedReads,
    tryRead: () => {
      if (state.broken) throw new Error("a bug")
      return raw.tryRead()
    },
    tryWrite: (bytes) => raw.tryWrite(bytes),
    flush: () => raw.flush(),
    reset: (because) => raw.reset(because),
    get readable() {
      return raw.readable
    },
    get writable() {
      return raw.writable
    },
    get closeWrite() {
      return raw.closeWrite
    }
  }
  return { state, connection }
}

for (const [name, protocol] of [
  ["Yamux", Yamux.make()],
  ["Mplex", Mplex.make()]
] as const) {
  describe(`${name}: a defect below`, () => {
    it.effect("ends the connection at once: who waits on it is told, and the log has it", () => {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => {
        logged.push(String(message))
      })
      return Effect.gen(function* () {
        const { make } = yield* protocol
        const [left, right] = yield* Pipe.pair()
        const { connection, state } = breakable(left)
        const dialer = yield* make(connection, { role: "dialer" })
        const listener = yield* make(right, { role: "listener" })
        const accepting = yield* Effect.forkChild(Effect.flip(dialer.acceptStream), { startImmediately: true })
        state.broken = true
        const stream = yield* listener.openStream
        stream.tryWrite(Uint8Array.of(1))
        stream.flush()
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* Fiber.join(accepting)).reason._tag, "MuxerClosed")
        assert.deepInclude(yield* dialer.awaitClosed, { detail: "the muxer failed; see the log" })
        assert.lengthOf(
          logged.filter((line) => line.includes(" fails")),
          1
        )
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  })
}
