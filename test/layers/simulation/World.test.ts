import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Queue, Random } from "effect"
import { SecureRandom } from "effect/crypto"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { epochMs, Timeline } from "../../../src/layers/simulation/Timeline.ts"
import { diff, formatEvent, parseEvent, Trace } from "../../../src/layers/simulation/Trace.ts"
import { World } from "../../../src/layers/simulation/World.ts"

const run = <A, E>(world: World, effect: Effect.Effect<A, E, SecureRandom.SecureRandom>, untilMs?: number) =>
  world.runSync(world.fork(world.place("main"), effect), untilMs)

describe("World", () => {
  it("an hour of sleep takes no time, and clocks agree", () => {
    const world = new World({ seed: 1 })
    const outcome = run(
      world,
      Effect.gen(function* () {
        const before = yield* Clock.currentTimeMillis
        yield* Effect.sleep("1 hour")
        return [before, yield* Clock.currentTimeMillis]
      })
    )
    assert.deepStrictEqual(outcome, { _tag: "Done", exit: Exit.succeed([epochMs, epochMs + 3_600_000]) })
  })

  it("a fiber that waits for nothing is a deadlock; one that outlives its time is out of time", () => {
    assert.strictEqual(run(new World({ seed: 1 }), Effect.never)._tag, "Deadlock")
    assert.strictEqual(run(new World({ seed: 1 }), Effect.forever(Effect.sleep("1 second")), 10_000)._tag, "OutOfTime")
  })

  it("yields where another stage begins, and now and then where none does", () => {
    const world = new World({ seed: 1 })
    const busy = Effect.gen(function* () {
      for (const what of ["one", "two"]) {
        world.stage = { what }
        for (let i = 0; i < 40_000; i++) yield* Effect.yieldNow
      }
    })
    const run = world.run(world.fork(world.place("main"), busy), 1)
    const stages: Array<string> = []
    let next = run.next()
    for (; next.done !== true; next = run.next()) stages.push(world.stage.what)
    assert.strictEqual(next.value._tag, "Done")
    assert.deepStrictEqual([...new Set(stages)], ["one", "two"])
    assert.isAbove(stages.length, 4)
  })

  it("fibers that spin are a problem, and not a run without end", () => {
    const outcome = run(new World({ seed: 1, maxTurnsAtOnce: 10_000 }), Effect.forever(Effect.yieldNow))
    assert.include(outcome._tag === "CheckFailed" ? outcome.problem : outcome._tag, "something spins")
  })

  it("a failed check ends the run with the problem, at the event that broke it", () => {
    const world = new World({ seed: 1 })
    let value = 0
    world.checks.add(() => (value > 2 ? `value is ${value}` : undefined))
    const outcome = run(
      world,
      Effect.forever(
        Effect.andThen(
          Effect.sleep(10),
          Effect.sync(() => value++)
        )
      )
    )
    assert.deepStrictEqual(outcome, { _tag: "CheckFailed", problem: "value is 3" })
    assert.strictEqual(world.timeline.now, 30)
  })

  /** Fibers that exchange messages at random times, and write down what they saw. */
  const busy = (seed: number, shuffle: boolean) => {
    const world = new World({ seed, shuffle })
    const outcome = run(
      world,
      Effect.gen(function* () {
        const entropy = yield* SecureRandom.SecureRandom
        const queues = yield* Effect.forEach(Array.from({ length: 20 }), () => Queue.bounded<number>(4))
        const fibers = yield* Effect.forEach(queues, (queue, i) =>
          Effect.forkChild(
            Effect.gen(function* () {
              for (let n = 0; n < 30; n++) {
                yield* Effect.sleep(yield* Random.nextIntBetween(0, 50))
                const to = queues[yield* Random.nextIntBetween(0, 19)]
                if (to !== undefined) yield* Effect.timeoutOption(Queue.offer(to, i), 100)
                const got = yield* Effect.timeoutOption(Queue.take(queue), 20)
                world.note(`fiber ${i}`, "app.got", got._tag === "Some" ? String(got.value) : "nothing")
              }
            })
          )
        )
        world.note("", "app.entropy", Buffer.from(yield* entropy.randomBytes(8)).toString("hex"))
        yield* Effect.forEach(fibers, Fiber.join)
      })
    )
    assert.strictEqual(outcome._tag, "Done")
    return world
  }

  it("one seed is one history, to the byte; another is another; shuffling explores others", () => {
    assert.strictEqual(busy(7, false).trace.hash(), busy(7, false).trace.hash())
    assert.strictEqual(busy(7, true).trace.hash(), busy(7, true).trace.hash())
    assert.strictEqual(
      new Set([busy(7, false), busy(8, false), busy(7, true), busy(8, true)].map((world) => world.trace.hash())).size,
      4
    )
  })

  it("a paused place does not run, and catches up when it is resumed", () => {
    const world = new World({ seed: 1 })
    const place = world.place("node")
    const ticks: Array<number> = []
    world.fork(
      place,
      Effect.forever(
        Effect.andThen(
          Effect.sleep(100),
          Effect.sync(() => ticks.push(world.timeline.now))
        )
      )
    )
    world.timeline.after(250, () => place.scheduler.pause())
    world.timeline.after(1000, () => place.scheduler.resume())
    run(world, Effect.sleep(1250))
    assert.deepStrictEqual(ticks, [100, 200, 1000, 1100, 1200])
  })

  it("clocks jump and drift; the monotonic one does not jump", () => {
    const world = new World({ seed: 1 })
    const { clock } = world.place("node")
    clock.jump(60_000)
    assert.deepStrictEqual([clock.currentTimeMillisUnsafe(), clock.monotonicMs], [epochMs + 60_000, 0])
    clock.drift(2)
    run(world, Effect.sleep(1000))
    assert.strictEqual(clock.monotonicMs, 2000)
    clock.drift(1)
    run(world, Effect.sleep(1000))
    assert.strictEqual(clock.monotonicMs, 3000)
  })

  it("an interrupted sleeper leaves nothing on the timeline", () => {
    const world = new World({ seed: 1 })
    run(
      world,
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const fibers = yield* Effect.forEach(Array.from({ length: 5000 }), () =>
          Effect.forkChild(Effect.sleep("1 day"))
        )
        yield* Effect.sleep(1)
        yield* Fiber.interruptAll(fibers)
        yield* Deferred.succeed(gate, undefined)
      })
    )
    assert.strictEqual(world.timeline.pending, 0)
  })
})

describe("Timeline", () => {
  it("runs events by time, and those of one time in the order they were set", () => {
    const timeline = new Timeline()
    const seen: Array<string> = []
    const random = new Prng("timeline")
    const expected: Array<readonly [number, number]> = []
    const timers = Array.from({ length: 2000 }, (_, i) => {
      const at = random.below(50)
      return { at, i, timer: timeline.after(at, () => seen.push(`${at} ${i}`)) }
    })
    for (const { at, i, timer } of timers) {
      if (i % 3 === 0) timer.cancel()
      else expected.push([at, i])
    }
    while (timeline.step(100)) {
      /* to the end */
    }
    assert.deepStrictEqual(
      seen,
      expected.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]).map(([at, i]) => `${at} ${i}`)
    )
  })
})

describe("Trace", () => {
  it("events survive their text form", () => {
    const event = { at: 12.5, node: "node 1", kind: "app.note", detail: "a\ttab, a\nline, a \\ and \\n" }
    assert.deepStrictEqual(parseEvent(formatEvent(event)), event)
    assert.isUndefined(parseEvent("no trace"))
  })

  it("hashes all, keeps the latest, and finds where two part", () => {
    const make = (odd: number) => {
      const trace = new Trace({ keep: 10 })
      for (let i = 0; i < 100; i++) trace.add({ at: i, node: "", kind: "k", detail: i === odd ? "odd" : "" })
      return trace
    }
    assert.strictEqual(make(5).hash(), make(5).hash())
    assert.notStrictEqual(make(5).hash(), make(6).hash())
    assert.lengthOf(make(5).latest, 10)
    assert.strictEqual(diff(make(95).latest, make(96).latest)?.common, 5)
    assert.isUndefined(diff(make(95).latest, make(95).latest))
  })
})

describe("Prng", () => {
  it("is even enough, and forks are independent", () => {
    const random = new Prng("x")
    const buckets = new Map<number, number>()
    for (let i = 0; i < 10_000; i++) {
      const n = random.below(10)
      buckets.set(n, (buckets.get(n) ?? 0) + 1)
    }
    for (const count of buckets.values()) assert.isTrue(count > 850 && count < 1150)
    const before = new Prng("x").fork("a").uint32()
    const drawn = new Prng("x")
    drawn.uint32()
    assert.strictEqual(drawn.fork("a").uint32(), before)
    assert.lengthOf(new Prng("x").bytes(7), 7)
  })
})
