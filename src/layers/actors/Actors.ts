/**
 * The actor runtime.
 *
 * ```
 * spawn ── forkIn(caller's scope) ──> supervisor fiber
 *                                      └─ run 1: scope { make, mailbox loop, children }
 *                                      └─ run 2: after a failure, if the policy allows
 * ```
 *
 * Questions that are open when a run ends are failed by the supervisor: an
 * asker never outwaits the actor that it asked.
 */
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Queue, type Scope } from "effect"
import {
  ActorError,
  type ActorErrorReason,
  type ActorInfo,
  type ActorRef,
  ActorRestarted,
  Actors,
  ActorStopped,
  AskTimeout,
  Observer,
  type RestartPolicy,
  type SpawnOptions
} from "../../services/Actors.ts"

/** A living actor, as its parent and the tree see it. */
interface Node {
  readonly name: string
  readonly path: string
  readonly children: Set<Node>
  readonly info: () => ActorInfo
  /** Makes its present run fail, for a child that escalates. */
  readonly fail: (cause: Cause.Cause<unknown>) => void
}

/** What waits in a mailbox. */
interface Envelope<M> {
  readonly message: M
  /** Fails the question that the message carries, if it is one. */
  readonly question: ((reason: ActorErrorReason) => void) | undefined
}

/** The actor that the running code belongs to. */
const CurrentActor = Context.Reference<Node | undefined>("effect-libp2p/CurrentActor", {
  defaultValue: () => undefined
})

const defaultMailbox = 64

const infos = (nodes: Iterable<Node>): ReadonlyArray<ActorInfo> => Array.from(nodes, (node) => node.info())

/** Counts restarts and says whether another is allowed. */
const restartAllowed = (policy: RestartPolicy, failures: Array<number>, now: number): boolean => {
  if (typeof policy === "string") return false
  const since = now - Duration.toMillis(policy.within)
  while (failures.length > 0 && (failures[0] ?? now) <= since) failures.shift()
  if (failures.length >= policy.times) return false
  failures.push(now)
  return true
}

const make = Effect.sync(() => {
  const roots = new Set<Node>()

  const spawn = Effect.fnUntraced(function* <M, E, R>(options: SpawnOptions<M, E, R>) {
    const parent = yield* CurrentActor
    const observe = yield* Observer
    const siblings = parent === undefined ? roots : parent.children
    const capacity = options.mailbox ?? defaultMailbox
    const mailbox = yield* Queue.bounded<Envelope<M>, ActorError>(capacity)
    // Taken from the mailbox and not yet answered: lost if the run fails.
    const openQuestions = new Set<(reason: ActorErrorReason) => void>()
    const failures: Array<number> = []
    let state: ActorInfo["state"] = "starting"
    let restarts = 0
    let stopped = false
    let detail: (() => string) | undefined
    let escalated = Deferred.makeUnsafe<never, unknown>()

    const path = parent === undefined ? options.name : `${parent.path}/${options.name}`
    const failure = (reason: ActorErrorReason) => new ActorError({ actor: path, reason })
    const failQuestions = (reason: ActorErrorReason) => {
      for (const fail of openQuestions) fail(reason)
    }

    const node: Node = {
      name: options.name,
      path,
      children: new Set(),
      info: () => ({
        name: options.name,
        state,
        mailbox: { depth: Queue.sizeUnsafe(mailbox), capacity },
        restarts,
        detail: detail === undefined ? "" : detail(),
        children: infos(node.children)
      }),
      fail: (cause) => Deferred.doneUnsafe(escalated, Effect.failCause(cause))
    }

    const post = (envelope: Envelope<M>) =>
      Effect.flatMap(
        Effect.suspend(() => Queue.offer(mailbox, envelope)),
        (accepted) => (accepted ? Effect.void : Effect.fail(failure(new ActorStopped({}))))
      )

    const self: ActorRef<M> = {
      path,
      tell: (message) => post({ message, question: undefined }),
      tellUnsafe: (message) =>
        !stopped && !Queue.isFullUnsafe(mailbox) && Queue.offerUnsafe(mailbox, { message, question: undefined }),
      ask: <A, E2>(question: (reply: Deferred.Deferred<A, E2 | ActorError>) => M, timeout: Duration.Input) =>
        Effect.suspend(() => {
          const reply = Deferred.makeUnsafe<A, E2 | ActorError>()
          const fail = (reason: ActorErrorReason) => Deferred.doneUnsafe(reply, Effect.fail(failure(reason)))
          return post({ message: question(reply), question: fail }).pipe(
            Effect.andThen(Deferred.await(reply)),
            Effect.timeoutOrElse({
              duration: timeout,
              orElse: () => Effect.fail(failure(new AskTimeout({ afterMs: Duration.toMillis(timeout) })))
            }),
            Effect.ensuring(Effect.sync(() => openQuestions.delete(fail)))
          )
        }),
      stop: Effect.suspend(() => Fiber.interrupt(fiber)),
      awaitStopped: Effect.suspend(() => Effect.asVoid(Fiber.await(fiber)))
    }

    const loop = Effect.gen(function* () {
      state = "starting"
      const behaviour = yield* options.make(self)
      detail = behaviour.detail
      for (;;) {
        state = "idle"
        const { message, question } = yield* Queue.take(mailbox)
        if (question !== undefined) openQuestions.add(question)
        state = "busy"
        if ((yield* behaviour.receive(message)) === "stop") return
      }
    })

    /**
     * Before the run's children end: one of them may wait for an answer that
     * will not come. When the actor stops, that holds for the mailbox too.
     */
    const ended = Effect.fnUntraced(function* (exit: Exit.Exit<unknown, unknown>) {
      const restarts = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)
      failQuestions(restarts ? new ActorRestarted({}) : new ActorStopped({}))
      if (restarts) return
      stopped = true
      for (const { question } of yield* Effect.orDie(Queue.clear(mailbox))) question?.(new ActorStopped({}))
      yield* Queue.fail(mailbox, failure(new ActorStopped({})))
    })

    const run = Effect.suspend(() => {
      escalated = Deferred.makeUnsafe<never, unknown>()
      return Effect.scoped(Effect.onExit(Effect.raceFirst(loop, Deferred.await(escalated)), ended))
    })

    const supervise: Effect.Effect<void, never, Exclude<R, Scope.Scope>> = Effect.gen(function* () {
      for (;;) {
        const exit = yield* Effect.exit(run)
        if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
        state = "restarting"
        if (restartAllowed(options.restart, failures, Number(yield* Clock.monotonicTimeNanos) / 1e6)) {
          restarts++
          observe({ path, kind: "restarted" })
          yield* Effect.logWarning(`${path} failed and starts again (restart ${restarts})`, exit.cause)
          failQuestions(new ActorRestarted({}))
          continue
        }
        observe({ path, kind: "failed" })
        yield* Effect.logError(
          options.restart === "escalate" ? `${path} failed and takes its parent down` : `${path} failed and stops`,
          exit.cause
        )
        if (options.restart === "escalate") parent?.fail(exit.cause)
        return
      }
    }).pipe(
      Effect.ensuring(
        Effect.gen(function* () {
          stopped = true
          siblings.delete(node)
          observe({ path, kind: "stopped" })
          for (const { question } of yield* Effect.orDie(Queue.clear(mailbox))) question?.(new ActorStopped({}))
          failQuestions(new ActorStopped({}))
          yield* Queue.fail(mailbox, failure(new ActorStopped({})))
        })
      ),
      Effect.provideService(CurrentActor, node)
    )

    siblings.add(node)
    observe({ path, kind: "started" })
    const scope = yield* Effect.scope
    const fiber: Fiber.Fiber<void> = yield* Effect.forkIn(supervise, scope, { startImmediately: true })
    return self
  })

  return Actors.of({ spawn, tree: Effect.sync(() => infos(roots)) })
})

/** The actor runtime; one for a node. */
export const layer: Layer.Layer<Actors> = Layer.effect(Actors, make)
