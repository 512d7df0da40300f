import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as Duplicates from "../../../src/layers/swarm/Duplicates.ts"
import type { Entry } from "../../../src/layers/swarm/Table.ts"
import type { ProtocolStream } from "../../../src/services/ProtocolStream.ts"
import { MuxerError, Unsupported } from "../../../src/services/StreamMuxer.ts"
import { type Connection, Swarm } from "../../../src/services/Swarm.ts"
import { run, type SimNode, simulate, SimulationFailed, type Simulation } from "../../../src/testing.ts"
import { wholeNode } from "../../../src/layers/simulation/Nodes.ts"
import { layerHandler } from "../../../src/services/Protocols.ts"

const echo = "/test/echo/1.0.0"
const node = (info: Parameters<typeof wholeNode>[0]) =>
  layerHandler(echo, (stream) => Stream.run(stream.readable, stream.writable)).pipe(Layer.provideMerge(wholeNode(info)))
type Node = Layer.Success<ReturnType<typeof node>>

/** Sends a few bytes around on a stream. */
const exchange = (stream: ProtocolStream) =>
  Effect.gen(function* () {
    for (let i = 0; i < 3; i++) {
      yield* stream.write(Buffer.from("x"))
      assert.strictEqual((yield* stream.read)?.length, 1)
    }
  })

const dialOf = (from: SimNode<Node>, to: SimNode<Node>) =>
  from.run(Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: to.peerId, addresses: to.addresses() })))

const openOf = (from: SimNode<Node>, to: SimNode<Node>) =>
  from.run(
    Effect.scoped(
      Effect.gen(function* () {
        const swarm = yield* Swarm
        yield* exchange(yield* swarm.openStream({ peer: to.peerId, addresses: to.addresses() }, echo))
      })
    )
  )

const connectionsOf = (at: SimNode<Node>) => Effect.flatMap(at.get(Swarm), (swarm) => swarm.connections())

const two = ({ nodes }: Simulation<Node>) => {
  const [a, b] = nodes
  if (b === undefined) throw new Error("two nodes")
  return [a, b] as const
}

const smallerFirst = (a: SimNode<Node>, b: SimNode<Node>) =>
  Buffer.compare(a.peerId.bytes, b.peerId.bytes) < 0 ? ([a, b] as const) : ([b, a] as const)

/** Both dial, a little apart, and open streams all the while. */
const meeting = (simulation: Simulation<Node>) =>
  Effect.gen(function* () {
    const [a, b] = two(simulation)
    const offset = yield* Random.nextBetween(0, 100)
    const ends = [
      [a, b, 0],
      [b, a, offset]
    ] as const
    let most = 0
    yield* simulation.always("no more than two", () => most <= 2 || `${most} connections`)
    const dialled = yield* Effect.forEach(
      ends,
      ([from, to, after]) =>
        Effect.gen(function* () {
          yield* Effect.sleep(after)
          const connection = yield* dialOf(from, to)
          most = Math.max(most, (yield* connectionsOf(from)).length)
          for (let i = 0; i < 12; i++) {
            yield* Effect.sleep(yield* Random.nextBetween(1, 900))
            // By the peer, and on the connection that the dial gave, which may be the one that is given up.
            yield* openOf(from, to)
            yield* from.run(Effect.scoped(Effect.flatMap(connection.openStream(echo), exchange)))
            most = Math.max(most, (yield* connectionsOf(from)).length)
          }
          return { connection, from }
        }),
      { concurrency: 2 }
    )
    yield* Effect.sleep("20 seconds")
    for (const [from, to] of ends) {
      const open = yield* connectionsOf(from)
      assert.strictEqual(open.length, 1, `connections of ${from.name}`)
      yield* openOf(from, to)
    }
    // Whoever still holds the connection that was given up need not know.
    for (const { connection, from } of dialled) {
      yield* from.run(Effect.scoped(Effect.flatMap(connection.openStream(echo), exchange)))
    }
    return most
  })

describe("two peers that dial each other at once", () => {
  it("end with one connection, and every stream opened meanwhile works, whatever the moment", () => {
    let doubled = 0
    for (let seed = 1; seed <= 25; seed++) {
      const report = run({ seed, nodes: 2, layer: node, shuffle: seed % 2 === 0 }, (simulation) =>
        Effect.map(meeting(simulation), (most) => {
          if (most === 2) doubled++
        })
      )
      if (!report.ok) throw new SimulationFailed(report)
    }
    assert.isAtLeast(doubled, 10, "the dials met too seldom for this to show anything")
  })

  it(
    "the connection that the smaller id dialled is kept, by both",
    simulate({ seed: 3, nodes: 2, layer: node }, (simulation) =>
      Effect.gen(function* () {
        const [small, large] = smallerFirst(...two(simulation))
        yield* Effect.all([dialOf(small, large), Effect.delay(dialOf(large, small), 10)], { concurrency: 2 })
        assert.lengthOf(yield* connectionsOf(small), 2)
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(
          (yield* connectionsOf(small)).map(({ direction }) => direction),
          ["outbound"]
        )
        assert.deepStrictEqual(
          (yield* connectionsOf(large)).map(({ direction }) => direction),
          ["inbound"]
        )
      })
    )
  )

  it(
    "a stream in use is never cut: the surplus connection lives as long as it",
    simulate({ seed: 4, nodes: 2, layer: node }, (simulation) =>
      Effect.gen(function* () {
        const [small, large] = smallerFirst(...two(simulation))
        const held = large.run(
          Effect.scoped(
            Effect.gen(function* () {
              const swarm = yield* Swarm
              const connection = yield* swarm.dial({ peer: small.peerId, addresses: small.addresses() })
              const stream = yield* connection.openStream(echo)
              for (let i = 0; i < 60; i++) {
                yield* exchange(stream)
                yield* Effect.sleep("1 second")
              }
              assert.lengthOf(yield* swarm.connections(), 2)
            })
          )
        )
        yield* Effect.all([held, Effect.delay(dialOf(small, large), 10)], { concurrency: 2 })
        yield* Effect.sleep("5 seconds")
        assert.lengthOf(yield* connectionsOf(small), 1)
        assert.lengthOf(yield* connectionsOf(large), 1)
      })
    )
  )

  it(
    "nothing is taken from a connection that works for one that may be dead",
    simulate({ seed: 5, nodes: 2, layer: node }, (simulation) =>
      Effect.gen(function* () {
        const [small, large] = smallerFirst(...two(simulation))
        // The smaller one has dialled; the larger one crashes without a word, starts again and dials back at once.
        const before = yield* dialOf(small, large)
        yield* Effect.sleep("1 second")
        yield* simulation.faults.crash(large)
        yield* large.start
        yield* dialOf(large, small)
        yield* Effect.sleep("1 second")
        yield* openOf(small, large)
        yield* openOf(large, small)
        yield* Effect.sleep("2 minutes")
        const [left, ...others] = yield* connectionsOf(small)
        assert.lengthOf(others, 0)
        assert.notStrictEqual(left?.id, before.id)
        yield* openOf(small, large)
      })
    )
  )
})

const ids = [
  Result.getOrThrow(PeerId.fromString("12D3KooWGC6TvWhfajpgX6wvJHYPvAvbUmr1GPZPzAdNtfUzXyVS")),
  Result.getOrThrow(PeerId.fromString("12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"))
] as const
const somewhere = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/4001")

describe("settling on one of two", () => {
  /** A connection that is nothing but what settling looks at. */
  const entry = (direction: "inbound" | "outbound", ping: Effect.Effect<number, MuxerError>) => {
    const state = { open: true, streams: 0, begun: 0 }
    const connection: Connection = {
      id: direction === "inbound" ? 1 : 2,
      remotePeer: ids[1],
      remoteAddress: somewhere,
      localAddress: somewhere,
      direction,
      kind: { _tag: "Direct" },
      security: "/noise",
      muxer: "/yamux/1.0.0",
      earlyMuxer: true,
      openedAt: 0,
      streamCount: () => state.streams,
      openStream: () => Effect.never,
      ping,
      close: Effect.sync(() => {
        state.open = false
      }),
      awaitClosed: Effect.never
    }
    const made: Entry = {
      connection,
      scope: Scope.makeUnsafe(),
      isOpen: () => state.open,
      streamsBegun: () => state.begun,
      standing: { successor: undefined }
    }
    return { state, entry: made }
  }

  const settling = Effect.fnUntraced(function* (
    surplusDirection: "inbound" | "outbound",
    ping: Effect.Effect<number, MuxerError>
  ) {
    const preferred = entry(surplusDirection === "inbound" ? "outbound" : "inbound", ping)
    const surplus = entry(surplusDirection, Effect.never)
    let superseded = false
    yield* Effect.forkScoped(
      Effect.ignore(
        Duplicates.settle(
          { preferred: preferred.entry, surplus: surplus.entry },
          Effect.sync(() => {
            superseded = true
          })
        )
      ),
      { startImmediately: true }
    )
    return { preferred: preferred.state, surplus: surplus.state, superseded: () => superseded }
  })

  it.effect("without an answer from the preferred one nothing changes", () =>
    Effect.gen(function* () {
      for (const ping of [
        Effect.never,
        Effect.fail(new MuxerError({ protocol: "/mplex/6.7.0", reason: new Unsupported({ detail: "no ping" }) }))
      ]) {
        // The preferred one is the older: its handshake proves nothing.
        const { superseded, surplus } = yield* settling("outbound", ping)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual([superseded(), surplus.open], [false, true])
      }
    })
  )

  it.effect(
    "the end that dialled the surplus one closes it, after two seconds without a stream; the other after six",
    () =>
      Effect.gen(function* () {
        for (const [direction, seconds] of [
          ["outbound", 3],
          ["inbound", 7]
        ] as const) {
          const { superseded, surplus } = yield* settling(direction, Effect.succeed(1))
          assert.isTrue(superseded())
          surplus.streams = 1
          yield* TestClock.adjust("1 minute")
          assert.isTrue(surplus.open, "it has a stream")
          surplus.streams = 0
          yield* TestClock.adjust("1 second")
          // One that came and went between two looks counts too.
          surplus.begun++
          yield* TestClock.adjust("1 second")
          yield* TestClock.adjust((seconds - 2) * 1000)
          assert.isTrue(surplus.open)
          yield* TestClock.adjust("1 second")
          assert.isFalse(surplus.open)
        }
      })
  )

  it.effect("when the preferred one ends first, the other stays", () =>
    Effect.gen(function* () {
      const { preferred, surplus } = yield* settling("outbound", Effect.succeed(1))
      preferred.open = false
      yield* TestClock.adjust("1 hour")
      assert.isTrue(surplus.open)
    })
  )
})

describe("which connection is preferred", () => {
  const [one, other] = ids
  it("both ends choose the same, and only connections of one meeting are judged", () => {
    const facts = (
      direction: "inbound" | "outbound",
      openedAt = 0
    ): Pick<Connection, "direction" | "kind" | "openedAt"> => ({
      direction,
      kind: { _tag: "Direct" },
      openedAt
    })
    const here = Duplicates.prefer(one, other, facts("outbound"), facts("inbound"))
    const there = Duplicates.prefer(other, one, facts("inbound"), facts("outbound"))
    assert.strictEqual(here, there)
    assert.isDefined(here)
    assert.notStrictEqual(Duplicates.prefer(one, other, facts("inbound"), facts("outbound")), here)
    assert.isUndefined(Duplicates.prefer(one, other, facts("inbound"), facts("inbound")))
    assert.isUndefined(Duplicates.prefer(one, other, facts("inbound"), facts("outbound", 10_001)))
    assert.isDefined(Duplicates.prefer(one, other, facts("inbound"), facts("outbound", 10_000)))
  })
})
