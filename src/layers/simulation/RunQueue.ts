/**
 * The one run queue of a simulation. Every fiber of every node is scheduled
 * here and run in one synchronous loop: in the order of scheduling, or, to
 * explore interleavings, in an order drawn from the seed, with turns that end
 * anywhere.
 */
import type * as Scheduler from "effect/Scheduler"
import type { Prng } from "./Prng.ts"

type Task = () => void

/** Steps that a fiber may take before others get their turn. */
const maxOps = 2048

export class RunQueue {
  /** Tasks run so far. */
  steps = 0
  private readonly order: Prng | undefined
  private tasks: Array<Task> = []
  private head = 0

  /** With `order`, the next task is any of those that are runnable. */
  constructor(order: Prng | undefined) {
    this.order = order
  }

  get isEmpty(): boolean {
    return this.head === this.tasks.length
  }

  /**
   * After how many steps a fiber is to give way: the most, or, to explore
   * interleavings, any number up to it, few as likely as many. A fiber of a real
   * node gives way after 2,048 steps, which may fall between any two of them.
   */
  turnLength(): number {
    return this.order === undefined ? maxOps : 2 ** this.order.below(12)
  }

  push(task: Task): void {
    this.tasks.push(task)
  }

  /** Runs the next task; false when there is none. */
  step(): boolean {
    const { tasks } = this
    const { head } = this
    const first = tasks[head]
    if (first === undefined) return false
    let task = first
    if (this.order !== undefined) {
      const chosen = head + this.order.below(tasks.length - head)
      task = tasks[chosen] ?? first
      tasks[chosen] = first
    }
    this.head++
    if (this.head === tasks.length) {
      tasks.length = 0
      this.head = 0
    } else if (this.head >= 8192 && this.head * 2 > tasks.length) {
      this.tasks = tasks.slice(this.head)
      this.head = 0
    }
    this.steps++
    task()
    return true
  }
}

/**
 * The scheduler of one node: its tasks go into the run queue, or wait while the
 * node is paused.
 */
export class NodeScheduler implements Scheduler.Scheduler {
  readonly executionMode = "sync"
  private readonly queue: RunQueue
  private held: Array<Task> | undefined
  private turnLength: number

  constructor(queue: RunQueue) {
    this.queue = queue
    this.turnLength = queue.turnLength()
  }

  readonly dispatcher: Scheduler.SchedulerDispatcher = {
    // Priorities are left out: fibers of all nodes share the queue.
    scheduleTask: (task) => this.schedule(task),
    flush: () => {}
  }

  readonly schedule = (task: Task): void => {
    if (this.held === undefined) this.queue.push(task)
    else this.held.push(task)
  }

  shouldYield(fiber: { readonly currentOpCount: number }): boolean {
    if (fiber.currentOpCount < this.turnLength) return false
    this.turnLength = this.queue.turnLength()
    return true
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.dispatcher
  }

  get paused(): boolean {
    return this.held !== undefined
  }

  /** From now on nothing of the node runs, as if its process were stopped. */
  pause(): void {
    this.held ??= []
  }

  /** Everything that waited runs, in its order. */
  resume(): void {
    const held = this.held ?? []
    this.held = undefined
    for (const task of held) this.queue.push(task)
  }
}
