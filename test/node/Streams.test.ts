import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import type * as ProtocolStream from "../../src/services/ProtocolStream.ts"
import { pattern } from "../../src/conformance/ByteStream.ts"
import { realNode, runNodes, stillServes } from "../support/peers.ts"

const two = Effect.gen(function* () {
  return { a: yield* realNode({ seed: 1 }), b: yield* realNode({ seed: 2 }) }
})

const echo = (stream: ProtocolStream.ProtocolStream) => Stream.run(stream.readable, stream.writable)

/** Reads to the end. */
const readAll = (stream: ProtocolStream.ProtocolStream) =>
  Effect.map(Stream.runCollect(stream.readable), (batches) => new Uint8Array(Buffer.concat(batches)))

const same = (actual: Uint8Array, expected: Uint8Array): void =>
  assert.strictEqual(
    Buffer.compare(actual, expected),
    0,
    `${actual.length} bytes are not the ${expected.length} that were sent`
  )

/** Writes in pieces of many sizes. */
const writeInPieces = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, bytes: Uint8Array) {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7 + 3) % 70_000) {
    yield* stream.write(bytes.subarray(at, at + size))
  }
})

describe("streams between nodes", () => {
  it.live("early data comes with the proposal, and a handler that speaks first is heard", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* b.protocols.handle("/late", (stream) => Effect.andThen(Effect.sleep(50), echo(stream)))
        yield* b.protocols.handle("/first", (stream) => stream.write(Buffer.from("hello")))
        const connection = yield* a.swarm.dial(b.address)
        const bytes = pattern(0, 200_000)
        const stream = yield* connection.openStream("/late")
        yield* stream.write(bytes)
        yield* stream.closeWrite
        same(yield* readAll(stream), bytes)
        // Nothing is written by this end: the proposal goes out all the same.
        const quiet = yield* connection.openStream("/first")
        same(yield* Effect.timeout(readAll(quiet), "5 seconds"), Buffer.from("hello"))
      })
    )
  )

  it.live("half-close: the answer comes after the question has ended, and writing on fails", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* b.protocols.handle("/reverse", (stream) =>
          Effect.flatMap(readAll(stream), (all) => writeInPieces(stream, all.toReversed()))
        )
        const stream = yield* a.swarm.openStream(b.address, "/reverse")
        const bytes = pattern(0, 3_000_000)
        yield* writeInPieces(stream, bytes)
        yield* stream.closeWrite
        assert.strictEqual((yield* Effect.flip(stream.write(new Uint8Array(1)))).reason._tag, "WriteClosed")
        same(yield* readAll(stream), bytes.toReversed())
        assert.isNull(yield* stream.read)
      })
    )
  )

  it.live("what was written arrives when the stream's scope closes at once", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        const got = yield* Deferred.make<Uint8Array>()
        yield* b.protocols.handle("/take", (stream) =>
          Effect.flatMap(Effect.andThen(Effect.sleep(50), readAll(stream)), (all) => Deferred.succeed(got, all))
        )
        const bytes = pattern(0, 200_000)
        yield* Effect.scoped(Effect.flatMap(a.swarm.openStream(b.address, "/take"), (stream) => stream.write(bytes)))
        same(yield* Effect.timeout(Deferred.await(got), "5 seconds"), bytes)
      })
    )
  )

  it.live("a reset wakes the other end's reader and writer with ResetByPeer, and this end's with ResetLocally", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        const reader = yield* Deferred.make<string>()
        const writer = yield* Deferred.make<string>()
        const reason = <E extends { readonly reason: { readonly _tag: string } }>(effect: Effect.Effect<unknown, E>) =>
          Effect.map(Effect.flip(effect), (error) => error.reason._tag)
        yield* b.protocols.handle("/blocked", (stream) =>
          Effect.all(
            [
              Effect.flatMap(reason(Effect.forever(stream.read)), (tag) => Deferred.succeed(reader, tag)),
              Effect.flatMap(reason(Effect.forever(stream.write(new Uint8Array(65_536)))), (tag) =>
                Deferred.succeed(writer, tag)
              )
            ],
            { concurrency: "unbounded", discard: true }
          )
        )
        const stream = yield* a.swarm.openStream(b.address, "/blocked")
        const writing = yield* Effect.forkChild(reason(Effect.forever(stream.write(new Uint8Array(65_536)))))
        yield* Effect.sleep(50)
        yield* stream.reset("enough")
        assert.strictEqual(yield* Effect.timeout(Deferred.await(reader), "5 seconds"), "ResetByPeer")
        assert.strictEqual(yield* Effect.timeout(Deferred.await(writer), "5 seconds"), "ResetByPeer")
        assert.strictEqual(yield* Effect.timeout(Fiber.join(writing), "5 seconds"), "ResetLocally")
        yield* stillServes(a, b)
      })
    )
  )

  it.live("eight streams at once carry every byte, while a ninth is not read", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* b.protocols.handle("/echo", echo)
        yield* b.protocols.handle("/sleeps", () => Effect.never)
        const connection = yield* a.swarm.dial(b.address)
        const stuck = yield* connection.openStream("/sleeps")
        const blocked = yield* Effect.forkChild(Effect.exit(Effect.forever(stuck.write(new Uint8Array(65_536)))))
        yield* Effect.forEach(
          [1, 2, 3, 4, 5, 6, 7, 8],
          (seed) =>
            Effect.gen(function* () {
              const bytes = pattern(0, 2_000_000, seed)
              const stream = yield* connection.openStream("/echo")
              const [all] = yield* Effect.all(
                [readAll(stream), Effect.andThen(writeInPieces(stream, bytes), stream.closeWrite)],
                { concurrency: "unbounded" }
              )
              same(all, bytes)
            }),
          { concurrency: "unbounded" }
        ).pipe(Effect.timeout("10 seconds"))
        assert.isUndefined(blocked.pollUnsafe())
        yield* Fiber.interrupt(blocked)
      })
    )
  )

  it.live("a thousand short streams on one connection leave none open", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* b.protocols.handle("/echo", echo)
        const connection = yield* a.swarm.dial(b.address)
        yield* a.identify.identified(connection)
        yield* Effect.forEach(
          Array.from({ length: 1000 }),
          (_, i) =>
            Effect.scoped(
              Effect.gen(function* () {
                const stream = yield* connection.openStream("/echo")
                const bytes = pattern(i, 100)
                yield* stream.write(bytes)
                yield* stream.closeWrite
                same(yield* readAll(stream), bytes)
              })
            ),
          { concurrency: 50, discard: true }
        )
        assert.strictEqual(connection.streamCount(), 0)
        assert.strictEqual((yield* b.swarm.counters).streamsRefused, 0)
      })
    )
  )

  it.live("both nodes dial each other at the same moment, and both can be used", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* a.protocols.handle("/echo", echo)
        yield* b.protocols.handle("/echo", echo)
        const [toB, toA] = yield* Effect.all([a.swarm.dial(b.address), b.swarm.dial(a.address)], {
          concurrency: "unbounded"
        })
        for (const connection of [toB, toA]) {
          const stream = yield* connection.openStream("/echo")
          yield* stream.write(Buffer.from("x"))
          yield* stream.closeWrite
          assert.lengthOf(yield* readAll(stream), 1)
        }
      })
    )
  )

  it.live("a connection that is closed under open streams fails them with ConnectionLost or ResetByPeer", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        yield* b.protocols.handle("/sleeps", () => Effect.never)
        const scope = yield* Scope.make()
        const connection = yield* a.swarm.dial(b.address)
        const stream = yield* Scope.provide(connection.openStream("/sleeps"), scope)
        yield* stream.write(new Uint8Array(1))
        const reading = yield* Effect.forkChild(Effect.flip(stream.read), { startImmediately: true })
        yield* Effect.sleep(20)
        yield* b.swarm.disconnect(a.swarm.peerId)
        assert.include(
          ["ConnectionLost", "ResetByPeer"],
          (yield* Effect.timeout(Fiber.join(reading), "5 seconds")).reason._tag
        )
        assert.strictEqual((yield* Effect.flip(connection.openStream("/sleeps"))).reason._tag, "MuxerFailed")
        yield* Scope.close(scope, Exit.void)
        yield* stillServes(a, b)
      })
    )
  )

  it.live("a connection that says goodbye, at either end, is not handed out again", () =>
    runNodes(
      Effect.gen(function* () {
        const { a, b } = yield* two
        for (const [closer, other] of [
          [a, b],
          [b, a]
        ] as const) {
          const first = yield* a.swarm.dial(b.address)
          yield* a.identify.identified(first)
          // The remote end answers the goodbye only when its streams are done; until then the connection is there.
          const [mine] = yield* closer.swarm.connections(other.swarm.peerId)
          const closing = yield* Effect.forkChild(mine?.close ?? Effect.die("not connected"), {
            startImmediately: true
          })
          if (closer === b) yield* Fiber.join(closing)
          else yield* Effect.yieldNow
          const second = yield* a.swarm.dial(b.address)
          assert.notStrictEqual(second.id, first.id)
          assert.isAtLeast(yield* second.ping, 0)
          yield* Fiber.join(closing)
          assert.include(yield* a.swarm.connections(b.swarm.peerId), second)
          yield* second.close
        }
      })
    )
  )
})
