/** What runs for each connection, in a fiber that ends with the connection and with the registration. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Connection } from "../../services/Swarm.ts"
import type { Entry } from "./Table.ts"

interface Task {
  readonly run: (connection: Connection) => Effect.Effect<void>
  readonly fibers: Set<Fiber.Fiber<void>>
  /** A connection that opens while the task is registered is met twice. */
  readonly seen: WeakSet<Entry>
}

export class Tasks {
  private readonly tasks = new Set<Task>()

  private start(task: Task, entry: Entry): Effect.Effect<void> {
    if (task.seen.has(entry)) return Effect.void
    task.seen.add(entry)
    const { connection, scope } = entry
    return Effect.map(Effect.forkIn(Effect.ignoreCause(task.run(connection), { log: "Warn" }), scope), (fiber) => {
      task.fibers.add(fiber)
      fiber.addObserver(() => task.fibers.delete(fiber))
    })
  }

  /** Runs every task for a new connection. */
  startFor(entry: Entry): Effect.Effect<void> {
    return Effect.forEach(this.tasks, (task) => this.start(task, entry), { discard: true })
  }

  /** Runs a task for the connections that are open and each that comes, until the scope closes. */
  register<R>(
    run: (connection: Connection) => Effect.Effect<void, never, R>,
    open: () => ReadonlyArray<Entry>
  ): Effect.Effect<void, never, R | Scope.Scope> {
    const { tasks } = this
    return Effect.flatMap(Effect.context<R>(), (context) => {
      const task: Task = {
        run: (connection) =>
          Effect.provideContext(
            // What it throws is a defect of its fiber, and not of who starts it.
            Effect.suspend(() => run(connection)),
            context
          ),
        fibers: new Set(),
        seen: new WeakSet()
      }
      return Effect.acquireRelease(
        Effect.sync(() => tasks.add(task)),
        () =>
          Effect.suspend(() => {
            tasks.delete(task)
            return Fiber.interruptAll(task.fibers)
          })
      ).pipe(
        Effect.andThen(
          Effect.suspend(() => Effect.forEach(open(), (entry) => this.start(task, entry), { discard: true }))
        )
      )
    })
  }
}
