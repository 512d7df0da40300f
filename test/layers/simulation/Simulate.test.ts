import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, FileSystem, Layer, Stream } from "effect"
import { epochMs } from "../../../src/layers/simulation/Timeline.ts"
import { wholeNode } from "../../../src/layers/simulation/Nodes.ts"
import { run, simulate, SimulationFailed, type Simulation } from "../../../src/layers/simulation/Simulate.ts"
import type { WholeNode } from "../../../src/layers/simulation/Nodes.ts"
import { Ping } from "../../../src/services/Ping.ts"
import { Swarm } from "../../../src/services/Swarm.ts"

/** One ping from a node to another, in virtual milliseconds. */
const pingOnce = (simulation: Simulation<WholeNode>, from: number, to: number) =>
  Effect.suspend(() => {
    const [a, b] = [simulation.nodes[from], simulation.nodes[to]]
    if (a === undefined || b === undefined) return Effect.die("no such node")
    return a.run(
      Effect.gen(function* () {
        const ping = yield* Ping
        const [rtt] = yield* Stream.runCollect(
          ping.ping({ peer: b.peerId, addresses: b.addresses() }, { count: 1, deadline: "5 seconds" })
        )
        return rtt ?? 0
      })
    )
  })

const failureOf = (test: () => void): SimulationFailed => {
  try {
    test()
  } catch (error) {
    if (error instanceof SimulationFailed) return error
    throw error
  }
  return assert.fail("the simulation succeeded")
}

describe("simulate", () => {
  it(
    "a ping takes two latencies of virtual time, and no time",
    simulate({ nodes: 2, link: { latencyMs: 50 } }, (simulation) =>
      Effect.gen(function* () {
        yield* pingOnce(simulation, 0, 1)
        assert.closeTo(yield* pingOnce(simulation, 0, 1), 100, 0.01)
      })
    )
  )

  it(
    "from dial to the first answer of a protocol takes three round trips",
    simulate({ nodes: 2, link: { latencyMs: 31.5 } }, (simulation) =>
      Effect.gen(function* () {
        const before = simulation.world.timeline.now
        yield* pingOnce(simulation, 0, 1)
        const roundTrips = (simulation.world.timeline.now - before) / 63
        // TCP; security proposed with Noise's first message; Noise's last with the stream's first.
        assert.closeTo(roundTrips, 3, 0.01)
      })
    )
  )

  it("one seed is one run; another is another", () => {
    const once = (seed: number) => run({ seed, nodes: 3 }, (simulation) => pingOnce(simulation, 0, 2))
    assert.isTrue(once(1).ok)
    assert.strictEqual(once(1).hash, once(1).hash)
    assert.notStrictEqual(once(1).hash, once(2).hash)
  })

  it("a failure says what, the seed, and what happened last", () => {
    const error = failureOf(
      simulate({ seed: 42, nodes: 2 }, ({ note }) => Effect.andThen(note("here"), Effect.fail("wrong")))
    )
    assert.include(error.message, "wrong")
    assert.include(error.message, "seed 42, 2 nodes")
    assert.include(error.message, "app.note here")
  })

  it("always: a broken invariant ends the run where it breaks", () => {
    const error = failureOf(
      simulate({ nodes: 1 }, ({ always, world }) =>
        Effect.andThen(
          always("early", () => world.timeline.now < 5000 || "too late"),
          Effect.sleep("1 hour")
        )
      )
    )
    assert.include(error.message, "early: too late")
    assert.strictEqual(error.report.virtualMs, 3_600_000)
  })

  it("sometimes: what must be reached and is not, fails the run", () => {
    const report = run({ nodes: 1, mustReach: ["done", "never"] }, ({ sometimes }) =>
      Effect.andThen(sometimes("done"), sometimes("never", false))
    )
    assert.deepStrictEqual([report.ok, report.neverReached], [false, ["never"]])
    assert.strictEqual(report.reached.get("done"), 1)
  })

  it(
    "eventually: mends everything, tries again, and is bounded in virtual time",
    simulate({ nodes: 3 }, (simulation) =>
      Effect.gen(function* () {
        const { eventually, faults, nodes } = simulation
        const [a, b] = nodes
        if (b === undefined) return
        yield* faults.isolate(b)
        yield* faults.pause(a)
        const began = simulation.world.timeline.now
        yield* Effect.sleep("1 minute")
        yield* eventually("reached", pingOnce(simulation, 0, 1), "2 minutes")
        const never = yield* Effect.flip(eventually("impossible", Effect.fail("no"), "1 minute"))
        assert.include(never.message, "the last failure: no")
        assert.isAtLeast(simulation.world.timeline.now - began, 120_000)
      })
    )
  )

  it("a program that waits for nothing, and one that outlives its time, are failures", () => {
    assert.include(
      run({ nodes: 1, layer: () => Layer.empty }, () => Effect.never).problem ?? "",
      "nothing is left to happen"
    )
    assert.include(
      run({ nodes: 1, until: "1 minute" }, () => Effect.sleep("1 hour")).problem ?? "",
      "not done after 60000 ms"
    )
  })

  it("what is left waiting after every node has stopped is a failure", () => {
    const leaky = () => Layer.effectDiscard(Effect.forkDetach(Effect.forever(Effect.sleep("1 minute"))))
    assert.include(run({ nodes: 1, layer: leaky }, () => Effect.void).problem ?? "", "timers are left")
  })
})

describe("nodes of a simulation", () => {
  it(
    "a crashed node is gone without a word, and comes back as the same peer",
    simulate({ nodes: 2 }, (simulation) =>
      Effect.gen(function* () {
        const {
          faults,
          nodes: [a, b]
        } = simulation
        if (b === undefined) return
        yield* pingOnce(simulation, 0, 1)
        const [connection] = yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.connections()))
        yield* faults.crash(b)
        assert.strictEqual((yield* Effect.flip(b.run(Effect.void)))._tag, "NodeDown")
        // Nothing told the other end; its keep-alive finds out.
        yield* Effect.sleep("5 seconds")
        assert.lengthOf(yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.connections())), 1)
        yield* Effect.sleep("2 minutes")
        assert.lengthOf(yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.connections())), 0)
        assert.isDefined(connection)
        yield* faults.restart(b)
        yield* pingOnce(simulation, 0, 1)
      })
    )
  )

  it(
    "what runs on a node ends with it",
    simulate({ nodes: 1 }, ({ faults, nodes: [a] }) =>
      Effect.gen(function* () {
        const running = yield* Effect.forkChild(Effect.exit(a.run(Effect.never)), { startImmediately: true })
        yield* Effect.sleep(10)
        yield* faults.crash(a)
        const exit = yield* Fiber.join(running)
        const error = Exit.findErrorOption(exit)
        assert.strictEqual(error._tag === "Some" && error.value._tag, "NodeDown")
      })
    )
  )

  it(
    "a disk keeps what was synced over any crash",
    simulate({ nodes: 1, layer: () => Layer.empty }, ({ faults, nodes: [a] }) =>
      Effect.gen(function* () {
        const write = Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const file = yield* fs.open("/kept", { flag: "w" })
          yield* file.writeAll(Buffer.from("kept"))
          yield* file.sync
          yield* fs.writeFileString("/unsynced", "lost")
        }).pipe(Effect.scoped)
        yield* Effect.provide(write, a.disk.layer)
        yield* faults.crash(a, "lost")
        yield* faults.restart(a)
        const read = Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          return [yield* fs.readFileString("/kept"), yield* fs.exists("/unsynced")]
        })
        assert.deepStrictEqual(yield* Effect.provide(read, a.disk.layer), ["kept", false])
      })
    )
  )

  it(
    "a wrong wall clock changes what the node reads, not how long it waits",
    simulate({ nodes: 1 }, ({ faults, nodes: [a], world }) =>
      Effect.gen(function* () {
        yield* faults.clockJump(a, 3_600_000)
        const began = world.timeline.now
        const read = yield* a.run(Effect.andThen(Effect.sleep("1 second"), Clock.currentTimeMillis))
        assert.closeTo(world.timeline.now - began, 1000, 1)
        assert.closeTo(read - epochMs - world.timeline.now, 3_600_000, 1)
      })
    )
  )

  it(
    "an address change cuts connections, and the node is reached at the new one",
    simulate({ nodes: 2 }, (simulation) =>
      Effect.gen(function* () {
        const {
          faults,
          nodes: [, b]
        } = simulation
        if (b === undefined) return
        yield* pingOnce(simulation, 0, 1)
        yield* faults.addressChange(b, ["10.0.1.77"])
        yield* Effect.sleep("3 minutes")
        yield* pingOnce(simulation, 0, 1)
      })
    )
  )

  it(
    "the layer of a node can be anything",
    simulate({ nodes: 2, layer: (node) => wholeNode(node) }, (simulation) => pingOnce(simulation, 1, 0))
  )
})

describe("starting a node of a simulation", () => {
  it(
    "happens once, however many ask, and a crash meanwhile is a crash",
    simulate({ nodes: 1 }, ({ faults, nodes: [a] }) =>
      Effect.gen(function* () {
        yield* a.stop
        yield* Effect.all([a.start, a.start, a.start], { concurrency: "unbounded" })
        assert.lengthOf(yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.listenAddresses)), 2)
        yield* a.stop
        const starting = yield* Effect.forkChild(Effect.exit(a.start), { startImmediately: true })
        yield* faults.crash(a)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(starting)))
        assert.isFalse(a.running)
        yield* a.start
        assert.isTrue(a.running)
      })
    )
  )
})
