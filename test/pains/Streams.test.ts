/** What streams of other stacks are criticised for: a model that changes, no backpressure, lost early data, flags for relays. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { type ByteStream, Ping, type ProtocolStream, ResourceManager, Swarm } from "../../src/index.ts"
import { run, simulate } from "../../src/testing.ts"
import { bytes, dial, handle, keep, nth, readAll, reasonOf } from "./kit.ts"

const MiB = 1024 * 1024

describe("1 the stream model", () => {
  it(
    "1 a stream is pulled; half-close and reset are two things, and each end is told which, as a value",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const blocked = yield* Deferred.make<string>()
        yield* handle(b, "/reverse", (stream) =>
          Effect.flatMap(readAll(stream), (all) => stream.write(all.toReversed()))
        )
        yield* handle(b, "/reads", (stream) =>
          Effect.flatMap(reasonOf(Effect.forever(stream.read)), (tag) => Deferred.succeed(blocked, tag))
        )
        const connection = yield* dial(a, b)
        yield* a.run(
          Effect.gen(function* () {
            // The answer comes after the question has ended: closing is of one direction.
            const question = bytes(300_000)
            const stream = yield* connection.openStream("/reverse")
            yield* stream.write(question)
            yield* stream.closeWrite
            yield* stream.closeWrite
            assert.strictEqual(yield* reasonOf(stream.write(bytes(1))), "WriteClosed")
            assert.deepStrictEqual(yield* readAll(stream), question.toReversed())
            assert.isNull(yield* stream.read)
            // A reset is of both, at once, and says so at both ends.
            const other = yield* connection.openStream("/reads")
            yield* other.write(bytes(10))
            yield* Effect.sleep(100)
            yield* other.reset("enough")
            assert.strictEqual(yield* reasonOf(other.read), "ResetLocally")
            assert.strictEqual(yield* reasonOf(other.write(bytes(1))), "ResetLocally")
          }).pipe(Effect.scoped)
        )
        assert.strictEqual(yield* Deferred.await(blocked), "ResetByPeer")
      })
    )
  )

  it("1 there is no event to miss: nothing of a stream registers a listener", () => {
    type Listening = "on" | "once" | "off" | "addEventListener" | "onData" | "onClose"
    const none: [Extract<keyof ProtocolStream.ProtocolStream | keyof ByteStream.ByteStream, Listening>] extends [never]
      ? true
      : false = true
    assert.isTrue(none)
  })
})

describe("10 backpressure", () => {
  it(
    "10 a reader that stops holds its writer, memory stays within the windows, and nothing else waits",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const gate = yield* Deferred.make<void>()
        let arrived = 0
        yield* handle(b, "/stops", (stream) =>
          Effect.andThen(
            Deferred.await(gate),
            Stream.runForEach(stream.readable, (batch) => Effect.sync(() => (arrived += batch.length)))
          )
        )
        const connection = yield* dial(a, b)
        const block = new Uint8Array(64 * 1024)
        const streams = 8
        const total = 4 * MiB
        let taken = 0
        const writing = yield* Effect.forkChild(
          a.run(
            Effect.forEach(
              Array.from({ length: streams }),
              () =>
                Effect.gen(function* () {
                  const stream = yield* connection.openStream("/stops")
                  for (let sent = 0; sent < total; sent += block.length) {
                    yield* stream.write(block)
                    taken += block.length
                  }
                  yield* stream.closeWrite
                  yield* readAll(stream)
                }).pipe(Effect.scoped),
              { concurrency: "unbounded" }
            )
          )
        )
        const held = (node: typeof a) =>
          node.run(
            Effect.gen(function* () {
              const resources = yield* ResourceManager.ResourceManager
              const rows = yield* resources.usage
              const row = rows.find(({ resource, scope }) => resource === "memory" && scope.startsWith("connection "))
              assert.isAtMost(row?.peak ?? 0, resources.limits.connection.memory)
              return row?.current ?? 0
            })
          )
        yield* Effect.sleep("1 minute")
        const before = taken
        assert.isAbove(before, 0)
        // A first window of 256 KiB for each stream, and what the writer's end holds: not what it wants to write.
        assert.isAtMost(before, streams * 256 * 1024 + 2 * MiB)
        assert.isAtMost((yield* held(a)) + (yield* held(b)), streams * 256 * 1024 + 4 * MiB)
        yield* a.run(
          Effect.flatMap(Ping.Ping, ({ ping }) => Stream.runDrain(ping(b.peerId, { count: 3, deadline: "1 second" })))
        )
        yield* Effect.sleep("1 hour")
        assert.strictEqual(taken, before)
        assert.strictEqual(arrived, 0)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(writing)
        assert.strictEqual(arrived, streams * total)
        assert.deepStrictEqual([yield* held(a), yield* held(b)], [0, 0])
      })
    )
  )
})

describe("11 early data", () => {
  const seeds = [1, 2, 3, 4, 5, 6]

  it("11 what a peer sends before anybody looks is there when somebody does, in any order of things", () => {
    for (const seed of seeds) {
      const report = run({ nodes: 2, seed, shuffle: true }, ({ nodes }) =>
        Effect.gen(function* () {
          const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
          const early = bytes(150_000)
          const heard = yield* Deferred.make<Uint8Array>()
          // The listener speaks first, on a stream of its own, the moment it sees the connection.
          yield* keep(
            b,
            Effect.flatMap(Swarm.Swarm, (swarm) =>
              swarm.forEachConnection((connection) =>
                Effect.flatMap(connection.openStream("/greeting"), (stream) =>
                  Effect.andThen(stream.write(early), stream.closeWrite)
                ).pipe(Effect.andThen(Effect.never), Effect.scoped, Effect.orDie)
              )
            )
          )
          yield* handle(b, "/late", (stream) =>
            Effect.andThen(
              Effect.sleep("1 minute"),
              Effect.flatMap(readAll(stream), (all) => stream.write(all))
            )
          )
          yield* handle(a, "/greeting", (stream) =>
            Effect.andThen(
              Effect.sleep("10 seconds"),
              Effect.flatMap(readAll(stream), (all) => Deferred.succeed(heard, all))
            )
          )
          const connection = yield* dial(a, b)
          // With the proposal of the protocol, before the remote has agreed or has a reader.
          const echoed = yield* a.run(
            Effect.flatMap(connection.openStream("/late"), (stream) =>
              stream.write(early).pipe(Effect.andThen(stream.closeWrite), Effect.andThen(readAll(stream)))
            ).pipe(Effect.scoped)
          )
          assert.deepStrictEqual(echoed, early)
          assert.deepStrictEqual(yield* Effect.timeout(Deferred.await(heard), "1 minute"), early)
        })
      )
      assert.isTrue(report.ok, `seed ${seed}: ${report.problem}`)
    }
  })
})

describe("12 relayed connections", () => {
  /** What only a connection of one's own may carry, such as a large transfer. */
  const needsDirect = (kind: Extract<ProtocolStream.ConnectionKind, { readonly _tag: "Direct" }>): string => kind._tag
  const mayBeLimited = (kind: Extract<ProtocolStream.ConnectionKind, { readonly _tag: "Relayed" }>): boolean =>
    kind.limited

  it("12 the kind of a connection is in its type: the compiler asks whoever forgets", () => {
    const send = (connection: Pick<Swarm.Connection, "kind">): string => {
      // @ts-expect-error it may be relayed
      needsDirect(connection.kind)
      // @ts-expect-error and it may not be
      mayBeLimited(connection.kind)
      switch (connection.kind._tag) {
        case "Direct":
          return needsDirect(connection.kind)
        case "Relayed":
          return mayBeLimited(connection.kind) ? "limited" : "relayed"
      }
    }
    assert.strictEqual(send({ kind: { _tag: "Direct" } }), "Direct")
    assert.strictEqual(send({ kind: { _tag: "Relayed", limited: true } }), "limited")
    // Opening a stream takes no flag for it.
    const parameters: Parameters<Swarm.Connection["openStream"]>["length"] = 1
    assert.strictEqual(parameters, 1)
  })

  it(
    "12 who dials, who handles and who listens to events see the same kind",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const seen = yield* Deferred.make<ProtocolStream.ConnectionKind>()
        yield* handle(b, "/kind", (stream) => Deferred.succeed(seen, stream.connection))
        const event = yield* b
          .run(
            Effect.flatMap(Swarm.Swarm, ({ events }) =>
              Stream.runHead(Stream.filter(events, ({ _tag }) => _tag === "Connected"))
            )
          )
          .pipe(Effect.forkChild)
        yield* Effect.sleep(1)
        const connection = yield* dial(a, b)
        const opened = yield* a.run(
          Effect.scoped(
            Effect.flatMap(connection.openStream("/kind"), (stream) =>
              Effect.as(stream.write(bytes(1)), stream.connection)
            )
          )
        )
        const told = yield* Fiber.join(event)
        const direct = { _tag: "Direct" } as const
        assert.deepStrictEqual([connection.kind, opened, yield* Deferred.await(seen)], [direct, direct, direct])
        assert.deepStrictEqual(
          told._tag === "Some" && told.value._tag === "Connected" && told.value.connection.kind,
          direct
        )
      })
    )
  )
})
