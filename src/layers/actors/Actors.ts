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
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
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
import * as Deadlines from "../internal/Deadlines.ts"

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

const make = Effect.gen(function* () {
  const roots = new Set<Node>()
  const deadlines = yield* Deadlines.make

  const spawn = Effect.fnUntraced(function* <M, E, R>(options: SpawnOptions<M, E, R>) {
    const parent = yield* CurrentActor
    const observe = yield* Observer
    const siblings = parent === undefined ? roots : parent.children
    const capacity = options.mailbox ?? defaultMailbox
    const scope = yield* Effect.scope
    const mailbox = yield* Queue.bounded<Envelope<M>>(capacity)
    // Taken from the mailbox and not yet answered: lost if the run fails.
    const openQuestions = new Set<(reason: ActorErrorReason) => void>()
    const failures: Array<number> = []
    let state: ActorInfo["state"] = "starting"
    let restarts = 0
    let stopped = false
    let mailboxClosed = false
    let detail: (() => string) | undefined
    /** The supervisor, which runs the actor too; another one after a child has taken its run down. */
    let fiber: Fiber.Fiber<void> | undefined
    /** Somebody wants it gone for good. */
    let stopping = false
    let running = false
    /** Why a child has taken the present run down. */
    let escalated: Cause.Cause<unknown> | undefined

    const path = parent === undefined ? options.name : `${parent.path}/${options.name}`
    const failure = (reason: ActorErrorReason) => new ActorError({ actor: path, reason })
    const failQuestions = (why: () => ActorErrorReason) => {
      if (openQuestions.size === 0) return
      const reason = why()
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
      fail: (cause) => {
        if (!running) return
        running = false
        escalated = cause
        fiber?.interruptUnsafe()
      }
    }

    const post = (envelope: Envelope<M>) =>
      Effect.flatMap(
        Effect.suspend(() => Queue.offer(mailbox, envelope)),
        (accepted) => (accepted ? Effect.void : Effect.fail(failure(new ActorStopped({}))))
      )
    const postUnsafe = (envelope: Envelope<M>): boolean =>
      !stopped && !Queue.isFullUnsafe(mailbox) && Queue.offerUnsafe(mailbox, envelope)

    const awaitStopped: Effect.Effect<void> = Effect.suspend(() => {
      const present = fiber
      if (present === undefined) return Effect.void
      return Effect.flatMap(Fiber.await(present), () => (fiber === present ? Effect.void : awaitStopped))
    })

    const self: ActorRef<M> = {
      path,
      tell: (message) => post({ message, question: undefined }),
      tellUnsafe: (message) => postUnsafe({ message, question: undefined }),
      ask: <A, E2>(question: (reply: Deferred.Deferred<A, E2 | ActorError>) => M, timeout: Duration.Input) =>
        Effect.suspend(() => {
          const reply = Deferred.makeUnsafe<A, E2 | ActorError>()
          const fail = (reason: ActorErrorReason) => Deferred.doneUnsafe(reply, Effect.fail(failure(reason)))
          const afterMs = Duration.toMillis(timeout)
          const late = Effect.suspend(() => Effect.fail(failure(new AskTimeout({ afterMs }))))
          const envelope = { message: question(reply), question: fail }
          const answered = Deferred.await(reply)
          if (!postUnsafe(envelope)) {
            return deadlines
              .within(Effect.andThen(post(envelope), answered), afterMs, () => late)
              .pipe(Effect.ensuring(Effect.sync(() => openQuestions.delete(fail))))
          }
          const takeBack = deadlines.after(afterMs, () => Deferred.doneUnsafe(reply, late))
          return Effect.ensuring(
            answered,
            Effect.sync(() => {
              takeBack()
              openQuestions.delete(fail)
            })
          )
        }),
      stop: Effect.suspend(() => {
        stopping = true
        return fiber === undefined ? Effect.void : Effect.andThen(Fiber.interrupt(fiber), awaitStopped)
      }),
      awaitStopped
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

    /** Nobody will take what is in the mailbox, nor what waits to get into it. */
    const closeMailbox = Effect.suspend(() => {
      if (mailboxClosed) return Effect.void
      stopped = true
      return Effect.whileLoop({
        while: () => Queue.sizeUnsafe(mailbox) > 0,
        body: () => Queue.clear(mailbox),
        step: (envelopes) => {
          for (const { question } of envelopes) question?.(new ActorStopped({}))
        }
      }).pipe(
        Effect.andThen(Queue.shutdown(mailbox)),
        Effect.map(() => {
          mailboxClosed = true
        })
      )
    })

    /** A child has taken it down, and it may start again: nobody wants it gone. */
    const mayRestart = () => escalated !== undefined && !stopping && scope.state._tag !== "Closed"

    /**
     * Before the run's children end: one of them may wait for an answer that
     * will not come. When the actor stops, that holds for the mailbox too.
     */
    const ended = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.suspend(() => {
        running = false
        const restarts = mayRestart() || (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause))
        failQuestions(() => (restarts ? new ActorRestarted({}) : new ActorStopped({})))
        return restarts ? Effect.void : closeMailbox
      })

    const run = Effect.suspend(() => {
      running = true
      return Effect.scoped(Effect.onExit(loop, ended))
    })

    /** Whether it starts again after its run has failed. */
    const judge = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
      state = "restarting"
      if (restartAllowed(options.restart, failures, Number(yield* Clock.monotonicTimeNanos) / 1e6)) {
        restarts++
        observe({ path, kind: "restarted" })
        yield* Effect.logWarning(`${path} failed and starts again (restart ${restarts})`, cause)
        failQuestions(() => new ActorRestarted({}))
        return true
      }
      observe({ path, kind: "failed" })
      yield* Effect.logError(
        options.restart === "escalate" ? `${path} failed and takes its parent down` : `${path} failed and stops`,
        cause
      )
      if (options.restart === "escalate") parent?.fail(cause)
      return false
    })

    const runs = Effect.gen(function* () {
      for (;;) {
        const exit = yield* Effect.exit(run)
        if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
        if (!(yield* judge(exit.cause))) return
      }
    })

    const gone = Effect.suspend(() => {
      siblings.delete(node)
      observe({ path, kind: "stopped" })
      failQuestions(() => new ActorStopped({}))
      return options.onStopped === undefined ? closeMailbox : Effect.map(closeMailbox, options.onStopped)
    })

    type Supervision = Effect.Effect<void, never, Exclude<R, Scope.Scope>>

    /** A fiber that a child has interrupted is of no more use: what follows is in another one. */
    const over: Supervision = Effect.suspend(() => {
      const cause = escalated
      if (cause === undefined || !mayRestart()) return gone
      escalated = undefined
      return Effect.flatMap(judge(cause), (again) => (again ? begin(Effect.andThen(Effect.yieldNow, runs)) : gone))
    })

    const begin = (what: Supervision): Supervision =>
      Effect.flatMap(
        Effect.forkIn(Effect.provideService(Effect.ensuring(what, over), CurrentActor, node), scope, {
          startImmediately: true
        }),
        (begun) => {
          fiber = begun
          // It was ended, or a child has taken it down, before it was known here.
          if (stopping || escalated !== undefined) begun.interruptUnsafe()
          // In a scope that is closed it never began.
          const never = fiber === begun && siblings.has(node) && begun.pollUnsafe() !== undefined
          return never ? gone : Effect.void
        }
      )

    siblings.add(node)
    observe({ path, kind: "started" })
    yield* begin(runs)
    return self
  })

  return Actors.of({ spawn, tree: Effect.sync(() => infos(roots)) })
})

/** The actor runtime; one for a node. */
export const layer: Layer.Layer<Actors> = Layer.effect(Actors, make)
