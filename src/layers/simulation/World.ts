/**
 * A world: one run queue, one timeline, one seed, one trace. It is run to its
 * end in one synchronous loop: everything that can run now, then the jump to
 * the next event.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { Prng } from "./Prng.ts"
import { NodeScheduler, RunQueue } from "./RunQueue.ts"
import { NodeClock, Timeline } from "./Timeline.ts"
import { Trace, type TraceOptions } from "./Trace.ts"

export interface WorldOptions {
  /** Everything random follows from it. */
  readonly seed: number | string
  /** Explore interleavings: run what is runnable in an order drawn from the seed. Default false: in order. */
  readonly shuffle?: boolean | undefined
  readonly trace?: TraceOptions | undefined
  /** Turns without time passing after which the run has failed: fibers that wake each other for ever. Default 5 million. */
  readonly maxTurnsAtOnce?: number | undefined
}

/** Where the fibers of one node, or of the program that watches them, run. */
export interface Place {
  readonly name: string
  readonly clock: NodeClock
  readonly scheduler: NodeScheduler
  /** Clock, scheduler, random numbers and entropy. */
  readonly context: Context.Context<SecureRandom.SecureRandom>
}

/** What a run is at, for people: no part of the trace. */
export interface Stage {
  readonly what: string
  /** How much of it is done. */
  readonly done?: number | undefined
  readonly of?: number | undefined
}

/** Steps after which a run yields, though nothing else has come: a part of a second. */
const stepsAtOnce = 16_384

/** How a run ended. */
export type Outcome<A, E> =
  | { readonly _tag: "Done"; readonly exit: Exit.Exit<A, E> }
  /** Nothing was left to happen, and the fiber still waited. */
  | { readonly _tag: "Deadlock" }
  /** The fiber still ran at the end of the time it was given. */
  | { readonly _tag: "OutOfTime" }
  /** A check failed; see {@link World.problem}. */
  | { readonly _tag: "CheckFailed"; readonly problem: string }

export class World {
  readonly timeline = new Timeline()
  readonly queue: RunQueue
  readonly random: Prng
  readonly trace: Trace
  /** Called after every event; a text is a problem, and ends the run. */
  readonly checks = new Set<() => string | undefined>()
  /** Whoever drives it may say what it is at. */
  stage: Stage = { what: "running" }
  private readonly maxTurnsAtOnce: number
  private problem: string | undefined

  constructor(options: WorldOptions) {
    this.random = new Prng(`seed ${options.seed}`)
    this.queue = new RunQueue(options.shuffle === true ? this.random.fork("order") : undefined)
    this.trace = new Trace(options.trace)
    this.maxTurnsAtOnce = options.maxTurnsAtOnce ?? 5_000_000
  }

  /** Turns of fibers and events of the timeline so far. */
  get events(): number {
    return this.queue.steps + this.timeline.events
  }

  /** Notes something in the trace. */
  readonly note = (node: string, kind: string, detail: string): void => {
    this.trace.add({ at: this.timeline.now, node, kind, detail })
  }

  /** Ends the run with a problem, at the next event. */
  fail(problem: string): void {
    this.problem ??= problem
  }

  /** A place for fibers, with clocks and random numbers of its own. */
  place(name: string): Place {
    const scheduler = new NodeScheduler(this.queue)
    const clock = new NodeClock(this.timeline, scheduler.schedule)
    const random = this.random.fork(`random of ${name}`)
    const entropy = this.random.fork(`entropy of ${name}`)
    const context = Context.make(
      SecureRandom.SecureRandom,
      SecureRandom.make((size) => entropy.bytes(size))
    ).pipe(
      Context.add(Clock.Clock, clock),
      Context.add(Scheduler.Scheduler, scheduler),
      Context.add(Random.Random, random)
    )
    return { name, clock, scheduler, context }
  }

  /** Starts an effect at a place. It runs when the world does. */
  fork<A, E, R>(place: { readonly context: Context.Context<R> }, effect: Effect.Effect<A, E, R>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(place.context)(Effect.andThen(Effect.yieldNow, effect))
  }

  /**
   * Runs until the fiber is done, at most until `untilMs` of virtual time. It
   * yields now and then, and whenever the stage has changed, for progress; between,
   * it does nothing but run.
   */
  *run<A, E>(fiber: Fiber.Fiber<A, E>, untilMs: number): Generator<void, Outcome<A, E>> {
    const { queue, timeline } = this
    let shown = this.stage
    let rest = queue.steps + stepsAtOnce
    for (let turns = 1; ; turns++) {
      // All that can run now, runs now.
      const until = queue.steps + this.maxTurnsAtOnce
      while (queue.step()) {
        if (queue.steps < rest && queue.steps < until && this.stage === shown) continue
        if (queue.steps >= until) {
          this.fail(`${this.maxTurnsAtOnce} turns without time passing: something spins`)
          break
        }
        shown = this.stage
        rest = queue.steps + stepsAtOnce
        yield
      }
      for (const check of this.checks) {
        const problem = check()
        if (problem !== undefined) this.fail(problem)
      }
      if (this.problem !== undefined) return { _tag: "CheckFailed", problem: this.problem }
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return { _tag: "Done", exit }
      if (!timeline.step(untilMs)) return timeline.next === undefined ? { _tag: "Deadlock" } : { _tag: "OutOfTime" }
      // What is due at one moment has no order of its own: all of it is runnable before any of it runs.
      while (timeline.next === timeline.now && timeline.step(untilMs)) {
        // The next event of this moment.
      }
      if (turns % 4096 === 0) yield
    }
  }

  /** The same, to the end. */
  runSync<A, E>(fiber: Fiber.Fiber<A, E>, untilMs = Number.POSITIVE_INFINITY): Outcome<A, E> {
    const run = this.run(fiber, untilMs)
    for (let next = run.next(); ; next = run.next()) {
      if (next.done === true) return next.value
    }
  }
}
