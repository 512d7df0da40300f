/**
 * TurnScheduler: one queue for all fibers of a node, run as microtasks.
 *
 * Effect's own scheduler gives each fiber a queue and a `setImmediate` of its
 * own, so that every wake-up of a fiber is a turn of the event loop. Here who is
 * woken runs as soon as the call that woke it has returned, before Node looks at
 * its sockets again; what a batch of bytes leads to is done with that batch.
 *
 * Sockets and timers are not starved: once fibers have run for two slices of a
 * millisecond, the rest of them wait for the next turn of the event loop. Nothing
 * is ever run from inside `scheduleTask`, so wake-ups do not nest however long
 * their chain is. Tasks run in rounds: those of a lower priority number first,
 * else in their order; what is scheduled meanwhile belongs to the next round.
 */
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"

type Task = () => void

/** In ms. Fibers run for at most twice as long before Node gets its turn. */
const defaultSliceMs = 1

/** After so many tasks the time is looked at. */
const tasksPerLook = 32

interface Line {
  readonly priority: number
  readonly tasks: Array<Task>
}

/** One round of tasks, by priority. Nearly all have the same. Once all were taken, it serves for another round. */
class Round {
  private lines: Array<Line> = []
  private line = 0
  private next = 0

  push(task: Task, priority: number): void {
    const { lines } = this
    let at = lines.length
    while (at > 0 && (lines[at - 1]?.priority ?? priority) > priority) at -= 1
    const line = lines[at - 1]
    if (line?.priority === priority) line.tasks.push(task)
    else lines.splice(at, 0, { priority, tasks: [task] })
  }

  take(): Task | undefined {
    for (;;) {
      const line = this.lines[this.line]
      if (line === undefined) return this.empty()
      const task = line.tasks[this.next]
      if (task !== undefined) {
        this.next += 1
        return task
      }
      this.line += 1
      this.next = 0
    }
  }

  private empty(): undefined {
    const [line, another] = this.lines
    if (line !== undefined && another === undefined) line.tasks.length = 0
    else this.lines = []
    this.line = 0
    return undefined
  }
}

const resolved = Promise.resolve()

class Turns implements Scheduler.SchedulerDispatcher {
  private readonly sliceMs: number
  /** What is run now, as far as it was not, and what is run after it. */
  private current = new Round()
  private following = new Round()
  /** `run` is at work, or is called without being asked again. */
  private armed = false
  /** Since when Node may not have had its turn; `undefined` when it just had it. */
  private since: number | undefined
  /** It is told when Node has its turn: only of use, and paid for, when fibers run for long. */
  private watching = false

  constructor(sliceMs: number) {
    this.sliceMs = sliceMs
  }

  scheduleTask(task: Task, priority: number): void {
    this.following.push(task, priority)
    if (this.armed) return
    this.armed = true
    void resolved.then(this.run)
  }

  flush(): void {
    for (let task = this.take(); task !== undefined; task = this.take()) task()
  }

  private take(): Task | undefined {
    const { current } = this
    const task = current.take()
    if (task !== undefined) return task
    this.current = this.following
    this.following = current
    return this.current.take()
  }

  private readonly run = (): void => {
    if (this.isOver()) return this.leaveOver()
    let left = tasksPerLook
    try {
      for (let task = this.take(); task !== undefined; task = this.take()) {
        task()
        left -= 1
        if (left > 0) continue
        if (this.isOver()) return this.leaveOver()
        left = tasksPerLook
      }
      this.armed = false
    } catch (defect) {
      // The others are not lost with it.
      this.leaveOver()
      throw defect
    }
  }

  /** True when fibers have run for long enough in this turn of the event loop. */
  private isOver(): boolean {
    const now = performance.now()
    if (this.since === undefined) this.since = now
    else if (now - this.since >= this.sliceMs) {
      if (this.watching) return true
      // That may have been long ago, and much else in between.
      this.watching = true
      this.since = now
      setImmediate(this.turned)
    }
    return false
  }

  /** The rest is run in the next turn of the event loop. */
  private leaveOver(): void {
    setImmediate(this.run)
  }

  private readonly turned = (): void => {
    this.watching = false
    this.since = undefined
  }
}

export interface Options {
  /** Fibers run for at most twice as long before sockets and timers get their turn, in ms. Default 1. */
  readonly sliceMs?: number | undefined
}

/** Makes a scheduler. All fibers that it runs share one queue. */
export const make = (options?: Options): Scheduler.Scheduler => {
  const turns = new Turns(options?.sliceMs ?? defaultSliceMs)
  return {
    executionMode: "async",
    shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
    makeDispatcher: () => turns
  }
}

/** The scheduler of all that is built on top of it, and of fibers that are provided with it. */
export const layer: Layer.Layer<never> = Layer.sync(Scheduler.Scheduler, () => make())
