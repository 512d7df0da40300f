/** A defect below or inside a muxer: those who wait are told, and the log has it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as Pipe from "../../../src/layers/internal/Pipe.ts"
import * as Mplex from "../../../src/layers/muxer/Mplex.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import type { ByteStream } from "../../../src/services/ByteStream.ts"
import type { MuxedConnection, MuxerError } from "../../../src/services/StreamMuxer.ts"

/** A connection that works until it is broken: its reads, its writes, or its end as well. */
const breakable = (raw: ByteStream) => {
  const state: { broken: "nothing" | "reads" | "writes" | "writes and end" } = { broken: "nothing" }
  const connection: ByteStream = {
    ownedReads: raw.ownedReads,
    tryRead: () => {
      if (state.broken === "reads") throw new Error("a bug")
      return raw.tryRead()
    },
    tryWrite: (bytes) => {
      if (state.broken.startsWith("writes")) throw new Error("a bug")
      return raw.tryWrite(bytes)
    },
    flush: () => raw.flush(),
    reset: (because) => raw.reset(because),
    get readable() {
      return raw.readable
    },
    get writable() {
      return raw.writable
    },
    get closeWrite() {
      return state.broken === "writes and end" ? Effect.die("a bug") : raw.closeWrite
    }
  }
  return { state, connection }
}

for (const [name, protocol] of [
  ["Yamux", Yamux.make()],
  ["Mplex", Mplex.make()]
] as const) {
  /** Breaks a connection, then has it used: who waits on it is told, once, and the log has it. */
  const breaking = (
    broken: "reads" | "writes" | "writes and end",
    use: (dialer: MuxedConnection, listener: MuxedConnection) => Effect.Effect<unknown, MuxerError>
  ) =>
    Effect.suspend(() => {
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
        state.broken = broken
        yield* use(dialer, listener)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* Fiber.join(accepting)).reason._tag, "MuxerClosed")
        assert.deepInclude(yield* dialer.awaitClosed, { detail: "the muxer failed; see the log" })
        assert.lengthOf(
          logged.filter((line) => line.includes(" fails")),
          1
        )
      }).pipe(Effect.provide(Logger.layer([logger])))
    })

  const write = (connection: MuxedConnection) =>
    Effect.map(connection.openStream, (stream) => {
      stream.tryWrite(Uint8Array.of(1))
      stream.flush()
    })

  describe(`${name}: a defect below`, () => {
    it.effect("in a read ends the connection at once", () => breaking("reads", (_, listener) => write(listener)))

    it.effect("in the sending of what a turn wrote does so too", () => breaking("writes", write))

    it.effect("at the end as well leaves nobody waiting", () => breaking("writes and end", write))
  })
}
