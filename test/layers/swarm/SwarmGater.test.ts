import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { ConnectionGater, Stage } from "../../../src/services/ConnectionGater.ts"
import * as ByteStream from "../../../src/services/ByteStream.ts"
import type { AttemptReason } from "../../../src/services/Swarm.ts"
import { hostNet, inUse, nextEvent, run, turns, two } from "../../support/memory-nodes.ts"

const no = Effect.fail("it is on the list")

const stageOf = (reason: AttemptReason | undefined): Stage | undefined =>
  reason?._tag === "Denied" ? reason.stage : undefined

/** `a` dials `b`, and one of them has a gater. */
const refused = Effect.fnUntraced(function* (who: "dialer" | "listener", gater: ConnectionGater) {
  const nodes = yield* who === "dialer" ? two({ gater }) : two({}, { gater })
  const event = yield* nextEvent(nodes.b, "InboundFailed")
  const error = yield* Effect.flip(nodes.a.swarm.dial(nodes.atB))
  yield* turns()
  for (const node of [nodes.a, nodes.b]) {
    assert.lengthOf(yield* node.swarm.connections(), 0)
    assert.strictEqual((yield* inUse(node, "system"))["connections"], 0)
  }
  return { ...nodes, error, event }
})

describe("the connection gater", () => {
  it.effect("dialPeer: nothing is done to reach the peer", () =>
    run(
      Effect.gen(function* () {
        const { b, error } = yield* refused("dialer", { dialPeer: () => no })
        assert.deepStrictEqual(error.reason._tag === "Denied" && [error.reason.stage, error.reason.because], [
          "dialPeer",
          "it is on the list"
        ])
        assert.deepStrictEqual(error.attempts, [])
        assert.include(error.message, "it is on the list")
        assert.strictEqual((yield* b.swarm.counters).inboundFailed, 0)
      })
    )
  )

  for (const stage of ["dialAddress", "secured", "upgraded"] as const) {
    it.effect(`${stage}: an outbound attempt is denied, and says so`, () =>
      run(
        Effect.gen(function* () {
          const { error } = yield* refused("dialer", { [stage]: () => no })
          assert.strictEqual(error.reason._tag, "AllFailed")
          assert.strictEqual(stageOf(error.attempts[0]?.reason), stage)
          assert.include(error.message, `(${stage}): it is on the list`)
        })
      )
    )
  }

  for (const stage of ["accept", "secured", "upgraded"] as const) {
    it.effect(`${stage}: an inbound connection is denied, and told as an event`, () =>
      run(
        Effect.gen(function* () {
          const { a, b, event } = yield* two({}, { gater: { [stage]: () => no } }).pipe(
            Effect.flatMap((nodes) =>
              Effect.gen(function* () {
                const event = yield* nextEvent(nodes.b, "InboundFailed")
                // Once its own handshake is done, the dialer has a connection, which then ends.
                const dialled = yield* Effect.exit(nodes.a.swarm.dial(nodes.atB))
                if (Exit.isSuccess(dialled)) yield* dialled.value.awaitClosed
                return { ...nodes, event }
              })
            )
          )
          assert.strictEqual(stageOf((yield* Fiber.join(event)).reason), stage)
          yield* turns()
          for (const node of [a, b]) {
            assert.lengthOf(yield* node.swarm.connections(), 0)
            assert.strictEqual((yield* inUse(node, "system"))["connections"], 0)
          }
        })
      )
    )
  }

  it.effect("accept is asked before a byte is read", () =>
    run(
      Effect.gen(function* () {
        const { b, network } = yield* two({}, { gater: { accept: () => no } })
        const event = yield* nextEvent(b, "InboundFailed")
        const other = yield* hostNet(network, ["192.0.2.66"])
        const socket = yield* other.connect({ host: "10.0.2.1", port: 4001 })
        // Says nothing, and is let go at once all the same.
        assert.isTrue(
          Exit.isFailure(yield* Effect.exit(Effect.andThen(ByteStream.read(socket), ByteStream.read(socket))))
        )
        assert.strictEqual(stageOf((yield* Fiber.join(event)).reason), "accept")
      })
    )
  )

  it.effect("it sees who is asked about", () =>
    run(
      Effect.gen(function* () {
        const seen: Array<string> = []
        const note = (text: string) => Effect.sync(() => void seen.push(text))
        const { a, atB, b } = yield* two(
          {
            gater: {
              dialPeer: (peer) => note(`dialPeer ${peer.toString()}`),
              dialAddress: (peer, address) => note(`dialAddress ${peer?.toString()} ${address.toString()}`),
              secured: (candidate) => note(`secured ${candidate.direction} ${candidate.remotePeer.toString()}`)
            }
          },
          {
            gater: {
              accept: (remote) => note(`accept ${remote.toString().replace(/\d+$/, "port")}`),
              upgraded: (candidate) => note(`upgraded ${candidate.direction} ${candidate.remotePeer.toString()}`)
            }
          }
        )
        yield* a.swarm.dial(atB)
        yield* turns()
        const [idA, idB] = [a.swarm.peerId.toString(), b.swarm.peerId.toString()]
        assert.deepStrictEqual(seen.toSorted(), [
          "accept /ip4/10.0.1.1/tcp/port",
          `dialAddress ${idB} ${atB.toString()}`,
          `dialPeer ${idB}`,
          `secured outbound ${idB}`,
          `upgraded inbound ${idA}`
        ])
      })
    )
  )

  it.effect("one that dies refuses, whether it throws or its effect does", () =>
    run(
      Effect.gen(function* () {
        const dies: ConnectionGater = { secured: () => Effect.die(new Error("bug")) }
        const throws: ConnectionGater = {
          dialPeer: () => {
            throw new Error("bug")
          }
        }
        assert.strictEqual(stageOf((yield* refused("dialer", dies)).error.attempts[0]?.reason), "secured")
        const { error } = yield* refused("dialer", throws)
        assert.strictEqual(error.reason._tag === "Denied" && error.reason.stage, "dialPeer")
      })
    )
  )

  it.effect("one that never answers is bounded by the deadline of its stage", () =>
    run(
      Effect.gen(function* () {
        const never = () => Effect.never
        for (const [gater, patience] of [
          [{ dialPeer: never }, "1 minute"],
          [{ dialAddress: never }, "10 seconds"],
          [{ upgraded: never }, "10 seconds"]
        ] as const) {
          const { a, atB } = yield* two({ gater })
          const dialing = yield* Effect.forkChild(Effect.flip(a.swarm.dial(atB)), { startImmediately: true })
          yield* turns(200)
          yield* TestClock.adjust(patience)
          const error = yield* Fiber.join(dialing)
          assert.include(["DialTimeout", "AllFailed"], error.reason._tag)
        }
        const { b, network } = yield* two({}, { gater: { accept: never } })
        const event = yield* nextEvent(b, "InboundFailed")
        yield* (yield* hostNet(network, ["192.0.2.66"])).connect({ host: "10.0.2.1", port: 4001 })
        yield* turns()
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(event)).reason._tag, "DeadlineExceeded")
      })
    )
  )
})
