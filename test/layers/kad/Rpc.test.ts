/** Requests to peers that do not keep to the protocol, and the streams that are kept between requests; in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as LengthPrefix from "../../../src/data/LengthPrefix.ts"
import * as Kad from "../../../src/data/messages/Kad.ts"
import { Writer } from "../../../src/data/Protobuf.ts"
import * as Rpc from "../../../src/layers/kad/Rpc.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import * as ProtocolStream from "../../../src/services/ProtocolStream.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { bare, type BareNode, two } from "../../support/bare.ts"
import { serving as serve } from "../../support/serving.ts"

const protocol = "/ipfs/kad/1.0.0"
const options = { nodes: 2, layer: bare }
const question = Kad.make("FindNode", { key: Uint8Array.of(1) })
type Handler = (stream: ProtocolStream.ProtocolStream) => Effect.Effect<unknown, unknown>

const serving = (node: BareNode, handler: Handler) => serve(node, protocol, handler)

/** Runs what uses requests of `from` to `to`. */
const asking = <A, E>(
  from: BareNode,
  to: BareNode,
  use: (rpc: Rpc.Rpc, request: Effect.Effect<Kad.Kad, Rpc.Failure>) => Effect.Effect<A, E>,
  more?: Partial<Rpc.Options>
) =>
  from.run(
    Effect.scoped(
      Effect.gen(function* () {
        const rpc = yield* Rpc.make(yield* Swarm, { protocol, deadlineMs: 10_000, ...more })
        return yield* use(rpc, rpc.request({ peer: to.peerId, addresses: to.addresses() }, question))
      })
    )
  )

/** Answers so many questions on a stream as it is asked; counts streams and questions. */
const honest = (perStream = Number.POSITIVE_INFINITY) => {
  const counts = { streams: 0, questions: 0 }
  const handler: Handler = (stream) =>
    Effect.gen(function* () {
      counts.streams++
      const { read, write } = ProtocolStream.byteMessages(stream)
      for (let left = perStream; left > 0; left--) {
        const bytes = yield* read
        if (bytes === null) return
        counts.questions++
        yield* write(bytes)
      }
    })
  return { counts, handler }
}

const bytes = (message: Kad.Kad) => LengthPrefix.encode(Kad.encode(message))
const flood = () => {
  const one = new Writer().bytes(8, new Uint8Array(0)).finish()
  const body = new Uint8Array(2 + one.length * 100_000)
  body.set([8, 4])
  for (let i = 0; i < 100_000; i++) body.set(one, 2 + i * one.length)
  return LengthPrefix.encode(body)
}

const liars: ReadonlyArray<readonly [string, string, Handler]> = [
  ["silence", "TimedOut", () => Effect.never],
  [
    "a byte a second",
    "TimedOut",
    (stream) =>
      Effect.forEach(bytes(Kad.make("FindNode", { key: new Uint8Array(100) })), (byte) =>
        Effect.andThen(Effect.sleep("1 second"), stream.write(Uint8Array.of(byte)))
      )
  ],
  ["a reset", "StreamFailed", (stream) => stream.reset("no")],
  ["the end of the stream", "NoAnswer", (stream) => stream.read],
  ["100,000 peers", "Malformed", (stream) => Effect.andThen(stream.read, stream.write(flood()))],
  [
    "a message of 10 MiB",
    "StreamFailed",
    (stream) => stream.write(LengthPrefix.encode(new Uint8Array(10 * 1024 * 1024)))
  ],
  ["no message", "Malformed", (stream) => stream.write(LengthPrefix.encode(Uint8Array.of(255, 255, 255)))],
  ["the answer to another question", "Malformed", (stream) => stream.write(bytes(Kad.make("GetProviders")))],
  ["half an answer", "StreamFailed", (stream) => stream.write(bytes(question).subarray(0, 3))]
]

describe("who asks", () => {
  for (const [what, tag, handler] of liars) {
    it(
      `is told ${tag} of a peer that answers with ${what}, by the deadline`,
      simulate(options, ({ nodes, world }) =>
        Effect.gen(function* () {
          const [a, b] = two(nodes)
          yield* serving(b, handler)
          const began = world.timeline.now
          const failure = yield* asking(a, b, (rpc, request) =>
            Effect.map(Effect.flip(request), (failure) => {
              assert.strictEqual(rpc.counters().idle, 0)
              assert.strictEqual(rpc.counters().failed, 1)
              return failure
            })
          )
          assert.strictEqual(failure._tag, tag)
          assert.isAbove(Rpc.describe(failure).length, 10)
          assert.isAtMost(world.timeline.now - began, 10_100)
          yield* Effect.sleep("1 second")
          for (const connection of yield* a.run(Effect.flatMap(Swarm, ({ connections }) => connections()))) {
            assert.strictEqual(connection.streamCount(), 0)
          }
        })
      )
    )
  }

  it(
    "is told of a peer that does not speak it, and of one that is not there",
    simulate(options, ({ nodes, world }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        assert.strictEqual((yield* Effect.flip(asking(a, b, (_, request) => request)))._tag, "StreamFailed")
        yield* b.stop
        yield* Effect.sleep("1 minute")
        const began = world.timeline.now
        assert.include(["Unreachable", "TimedOut"], (yield* Effect.flip(asking(a, b, (_, request) => request)))._tag)
        assert.isAtMost(world.timeline.now - began, 10_100)
      })
    )
  )

  it(
    "uses one stream for requests one after the other, and few for those at once",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const { counts, handler } = honest()
        yield* serving(b, handler)
        yield* asking(a, b, (rpc, request) =>
          Effect.gen(function* () {
            for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* request, question)
            assert.deepStrictEqual(counts, { streams: 1, questions: 5 })
            yield* Effect.all(
              Array.from({ length: 10 }, () => request),
              { concurrency: "unbounded" }
            )
            assert.deepStrictEqual(counts, { streams: 2, questions: 15 })
            assert.strictEqual(rpc.counters().idle, 2)
            // Of no use for long, they are closed.
            yield* Effect.sleep("1 minute")
            assert.strictEqual(rpc.counters().idle, 0)
            for (const connection of yield* a.run(Effect.flatMap(Swarm, ({ connections }) => connections()))) {
              assert.strictEqual(connection.streamCount(), 0)
            }
          })
        )
      })
    )
  )

  it(
    "asks once more on a new stream when a kept one was closed or reset meanwhile",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const { counts, handler } = honest(1)
        yield* serving(b, handler)
        yield* asking(a, b, (_, request) =>
          Effect.gen(function* () {
            for (let i = 0; i < 3; i++) {
              yield* request
              yield* Effect.sleep("1 second")
            }
          })
        )
        assert.deepStrictEqual(counts, { streams: 3, questions: 3 })
      })
    )
  )

  it(
    "asks again, once, when the kept stream ends under the question",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        let questions = 0
        // Answers the first question of a stream, and resets it at the second.
        yield* serving(b, (stream) =>
          Effect.gen(function* () {
            const { read, write } = ProtocolStream.byteMessages(stream)
            questions++
            yield* write((yield* read) ?? new Uint8Array(0))
            yield* read
            questions++
            yield* stream.reset("no")
          })
        )
        yield* asking(a, b, (rpc, request) =>
          Effect.gen(function* () {
            yield* request
            yield* request
            assert.strictEqual(rpc.counters().streamsOpened, 2)
          })
        )
        assert.strictEqual(questions, 3)
      })
    )
  )

  it(
    "is refused when too many wait for one peer already, and that ends nobody else's request",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const { handler } = honest()
        yield* serving(b, (stream) => Effect.andThen(Effect.sleep("1 second"), handler(stream)))
        const results = yield* asking(
          a,
          b,
          (_, request) =>
            Effect.all(
              Array.from({ length: 8 }, () => Effect.result(request)),
              { concurrency: "unbounded" }
            ),
          { maxWaiting: 3 }
        )
        const failed = results.flatMap((result) => (result._tag === "Failure" ? [result.failure] : []))
        assert.deepStrictEqual(
          failed,
          Array.from({ length: 3 }, () => ({ _tag: "Busy", limit: 3 }))
        )
      })
    )
  )

  it(
    "keeps no more streams than the limit, over all peers",
    simulate({ nodes: 6, layer: bare }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, ...others] = nodes
        for (const other of others) yield* serving(other, honest().handler)
        yield* a.run(
          Effect.scoped(
            Effect.gen(function* () {
              const rpc = yield* Rpc.make(yield* Swarm, { protocol, deadlineMs: 10_000, maxIdle: 3 })
              for (const other of others) {
                yield* rpc.request({ peer: other.peerId, addresses: other.addresses() }, question)
                yield* Effect.sleep(1)
              }
              assert.strictEqual(rpc.counters().idle, 3)
            })
          )
        )
      })
    )
  )

  it(
    "who interrupts a request waits for nothing, and its stream is gone",
    simulate(options, ({ nodes, world }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        yield* serving(b, () => Effect.never)
        yield* asking(a, b, (rpc, request) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(request)
            yield* Effect.sleep("2 seconds")
            const began = world.timeline.now
            yield* Fiber.interrupt(fiber)
            assert.isAtMost(world.timeline.now - began, 1)
            assert.strictEqual(rpc.counters().idle, 0)
          })
        )
        yield* Effect.sleep("1 second")
        for (const connection of yield* a.run(Effect.flatMap(Swarm, ({ connections }) => connections()))) {
          assert.strictEqual(connection.streamCount(), 0)
        }
      })
    )
  )

  it(
    "sends what is not answered, on a stream that answers the next question",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const heard: Array<string> = []
        yield* serving(b, (stream) =>
          Effect.gen(function* () {
            const { read, write } = ProtocolStream.byteMessages(stream)
            for (let message = yield* read; message !== null; message = yield* read) {
              const { type } = yield* Effect.fromResult(Kad.decode(message))
              heard.push(type)
              if (type !== "AddProvider") yield* write(message)
            }
          })
        )
        yield* asking(a, b, (rpc, request) =>
          Effect.gen(function* () {
            yield* rpc.send({ peer: b.peerId, addresses: b.addresses() }, Kad.make("AddProvider"))
            yield* request
            assert.strictEqual(rpc.counters().streamsOpened, 1)
          })
        )
        assert.deepStrictEqual(heard, ["AddProvider", "FindNode"])
      })
    )
  )
})
