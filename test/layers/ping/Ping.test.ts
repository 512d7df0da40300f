/** Ping with peers that do not keep to it, in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Stream } from "effect"
import * as PingLayer from "../../../src/layers/ping/Ping.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Ping, protocol } from "../../../src/services/Ping.ts"
import { Protocols } from "../../../src/services/Protocols.ts"
import type { ProtocolStream } from "../../../src/services/ProtocolStream.ts"
import { ResourceManager } from "../../../src/services/ResourceManager.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { bare, type BareNode, two } from "../../support/bare.ts"

const options = { nodes: 2, layer: bare }

/** The service, as this node has it. */
const withPing = <A, E>(node: BareNode, use: (ping: Ping["Service"]) => Effect.Effect<A, E>) =>
  node.run(Effect.scoped(Effect.flatMap(Layer.build(PingLayer.layer), (context) => use(Context.get(context, Ping)))))

/** Answers pings honestly, for as long as the node runs. */
const honest = (node: BareNode) => Effect.andThen(Effect.forkChild(withPing(node, () => Effect.never)), Effect.sleep(1))

const answers: ReadonlyArray<readonly [string, string, (stream: ProtocolStream) => Effect.Effect<unknown, unknown>]> = [
  ["other bytes", "WrongEcho", (stream) => Effect.andThen(stream.read, stream.write(new Uint8Array(32)))],
  [
    "more than it was sent",
    "WrongEcho",
    (stream) =>
      Effect.flatMap(stream.read, (batch) => stream.write(Buffer.concat([batch ?? Buffer.of(), Buffer.of(1)])))
  ],
  ["bytes without end", "WrongEcho", (stream) => Effect.forever(stream.write(new Uint8Array(65_536)))],
  [
    "half an echo",
    "PingStreamFailed UnexpectedEnd",
    (stream) => Effect.flatMap(stream.read, (batch) => stream.write((batch ?? Buffer.of()).subarray(0, 16)))
  ],
  ["nothing, and closes", "PingStreamFailed UnexpectedEnd", (stream) => stream.read],
  ["a reset", "PingStreamFailed ResetByPeer", (stream) => stream.reset("no")],
  ["a defect", "PingStreamFailed ResetByPeer", () => Effect.die("a bug")],
  ["silence", "PingTimeout", () => Effect.never],
  [
    "an echo, a byte a second",
    "PingTimeout",
    (stream) =>
      Effect.flatMap(stream.read, (batch) =>
        Effect.forEach(batch ?? [], (byte) => Effect.andThen(Effect.sleep("1 second"), stream.write(Buffer.of(byte))))
      )
  ]
]

describe("who pings", () => {
  for (const [what, tags, answer] of answers) {
    it(
      `is told ${tags} of a peer that answers with ${what}, and no later than by the deadline`,
      simulate(options, ({ nodes, world }) =>
        Effect.gen(function* () {
          const [a, b] = two(nodes)
          yield* Effect.forkChild(
            b.run(
              Effect.scoped(
                Effect.flatMap(Protocols, ({ handle }) =>
                  Effect.andThen(
                    handle(protocol, (stream) => Effect.asVoid(answer(stream))),
                    Effect.never
                  )
                )
              )
            )
          )
          const connection = yield* a.run(
            Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses: b.addresses() }))
          )
          const began = world.timeline.now
          const error = yield* Effect.flip(withPing(a, ({ ping }) => Stream.runDrain(ping(b.peerId, { count: 2 }))))
          if (error._tag !== "PingError") return assert.fail(error._tag)
          const { reason } = error
          assert.strictEqual(
            reason._tag === "PingStreamFailed" ? `${reason._tag} ${reason.cause.reason._tag}` : reason._tag,
            tags
          )
          assert.isAtMost(world.timeline.now - began, 10_100)
          // The stream is gone, the connection is not.
          yield* Effect.sleep("1 second")
          assert.strictEqual(connection.streamCount(), 0)
          assert.isAtLeast(yield* connection.ping, 0)
        })
      )
    )
  }

  it(
    "is told of a peer that does not speak it",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        const target = { peer: b.peerId, addresses: b.addresses() }
        const error = yield* Effect.flip(withPing(a, ({ ping }) => Stream.runDrain(ping(target))))
        if (error._tag !== "PingError" || error.reason._tag !== "PingStreamFailed") return assert.fail(error._tag)
        assert.strictEqual(error.reason.cause.reason._tag, "ProtocolNotSupported")
      })
    )
  )
})

describe("who is pinged", () => {
  it(
    "holds back one who pings without end and reads no echo, and answers others",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        yield* honest(b)
        const connection = yield* a.run(
          Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses: b.addresses() }))
        )
        let sent = 0
        const flooding = yield* Effect.forkChild(
          a.run(
            Effect.scoped(
              Effect.flatMap(connection.openStream(protocol), (stream) =>
                Effect.forever(
                  Effect.tap(stream.write(new Uint8Array(32_000)), () => Effect.sync(() => (sent += 32_000)))
                )
              )
            )
          )
        )
        yield* Effect.sleep("1 minute")
        const before = sent
        // Its own window, the echo's window, and what each end has under way.
        assert.isAbove(before, 0)
        assert.isAtMost(before, 2 * 1024 * 1024)
        yield* Effect.sleep("1 hour")
        assert.strictEqual(sent, before)
        const held = yield* b.run(
          Effect.flatMap(ResourceManager, ({ usage }) =>
            Effect.map(usage, (rows) => rows.find((row) => row.scope === "system" && row.resource === "memory"))
          )
        )
        assert.isAtMost(held?.current ?? 0, 1024 * 1024)
        const times = yield* withPing(a, ({ ping }) => Stream.runCollect(ping(b.peerId, { count: 3 })))
        assert.lengthOf(times, 3)
        yield* Fiber.interrupt(flooding)
      })
    )
  )

  it(
    "answers so many streams of a connection at once, and resets the rest",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = two(nodes)
        yield* honest(b)
        const connection = yield* a.run(
          Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses: b.addresses() }))
        )
        yield* a.run(
          Effect.gen(function* () {
            const streams = yield* Effect.forEach(Array.from({ length: 100 }), () => connection.openStream(protocol))
            const exits = yield* Effect.forEach(
              streams,
              (stream) => Effect.exit(Effect.andThen(stream.write(new Uint8Array(32)), stream.read)),
              { concurrency: "unbounded" }
            )
            assert.strictEqual(exits.filter(Exit.isSuccess).length, 32)
          }).pipe(Effect.scoped)
        )
        const { streamsRefused } = yield* b.run(Effect.flatMap(Swarm, ({ counters }) => counters))
        assert.strictEqual(streamsRefused, 68)
      })
    )
  )
})
