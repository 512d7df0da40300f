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
  type ActorEvent,
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

/** A living actor, as its parent, its children and the tree see it. */
interface Node {
  readonly path: string
  readonly children: Set<Node>
  readonly info: () => ActorInfo
  /** Makes its present run fail, for a child that escalates. */
  readonly fail: (cause: Cause.Cause<unknown>) => void
}

type FailQuestion = (reason: ActorErrorReason) => void

/** What waits in a mailbox. */
interface Envelope<M> {
  readonly message: M
  /** Fails the question that the message carries, if it is one. */
  readonly question: FailQuestion | undefined
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

/** What an actor is born into. */
interface Birth {
  readonly parent: Node | undefined
  readonly siblings: Set<Node>
  readonly scope: Scope.Scope
  readonly deadlines: Deadlines.Deadlines
  readonly observe: (event: ActorEvent) => void
}

type Supervision<R> = Effect.Effect<void, never, Exclude<R, Scope.Scope>>

/** Each connection is one: what it may never need is made when it is needed. */
class Actor<M, E, R> implements ActorRef<M>, Node {
  readonly path: string
  private readonly options: SpawnOptions<M, E, R>
  private readonly birth: Birth
  private readonly mailbox: Queue.Queue<Envelope<M>>
  private offspring: Set<Node> | undefined
  /** Taken from the mailbox and not yet answered: lost if the run fails. */
  private openQuestions: Set<FailQuestion> | undefined
  private failures: Array<number> | undefined
  private state: ActorInfo["state"] = "starting"
  private restarts = 0
  private stopped = false
  private mailboxClosed = false
  private detail: (() => string) | undefined
  /** The supervisor, which runs the actor too; another one after a child has taken its run down. */
  private fiber: Fiber.Fiber<void> | undefined
  /** Somebody wants it gone for good. */
  private stopping = false
  private running = false
  /** Why a child has taken the present run down. */
  private escalated: Cause.Cause<unknown> | undefined

  constructor(options: SpawnOptions<M, E, R>, birth: Birth, mailbox: Queue.Queue<Envelope<M>>) {
    this.options = options
    this.birth = birth
    this.mailbox = mailbox
    this.path = birth.parent === undefined ? options.name : `${birth.parent.path}/${options.name}`
  }

  // ---- as a node of the tree

  get children(): Set<Node> {
    return (this.offspring ??= new Set())
  }

  info(): ActorInfo {
    return {
      name: this.options.name,
      state: this.state,
      mailbox: { depth: Queue.sizeUnsafe(this.mailbox), capacity: this.options.mailbox ?? defaultMailbox },
      restarts: this.restarts,
      detail: this.detail === undefined ? "" : this.detail(),
      children: infos(this.offspring ?? [])
    }
  }

  fail(cause: Cause.Cause<unknown>): void {
    if (!this.running) return
    this.running = false
    this.escalated = cause
    this.fiber?.interruptUnsafe()
  }

  // ---- as others see it

  tell(message: M): Effect.Effect<void, ActorError> {
    return this.post({ message, question: undefined })
  }

  tellUnsafe(message: M): boolean {
    return this.postUnsafe({ message, question: undefined })
  }

  ask<A, E2 = never>(
    question: (reply: Deferred.Deferred<A, E2 | ActorError>) => M,
    timeout: Duration.Input
  ): Effect.Effect<A, E2 | ActorError> {
    return Effect.suspend(() => {
      const reply = Deferred.makeUnsafe<A, E2 | ActorError>()
      const fail: FailQuestion = (reason) => Deferred.doneUnsafe(reply, Effect.fail(this.failure(reason)))
      const afterMs = Duration.toMillis(timeout)
      const late = Effect.suspend(() => Effect.fail(this.failure(new AskTimeout({ afterMs }))))
      const envelope = { message: question(reply), question: fail }
      const answered = Deferred.await(reply)
      const { deadlines } = this.birth
      if (!this.postUnsafe(envelope)) {
        return deadlines
          .within(Effect.andThen(this.post(envelope), answered), afterMs, () => late)
          .pipe(Effect.ensuring(Effect.sync(() => this.openQuestions?.delete(fail))))
      }
      const takeBack = deadlines.after(afterMs, () => Deferred.doneUnsafe(reply, late))
      return Effect.ensuring(
        answered,
        Effect.sync(() => {
          takeBack()
          this.openQuestions?.delete(fail)
        })
      )
    })
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.stopping = true
      return this.fiber === undefined ? Effect.void : Effect.andThen(Fiber.interrupt(this.fiber), this.awaitStopped)
    })
  }

  get awaitStopped(): Effect.Effect<void> {
    return Effect.suspend(() => this.untilStopped())
  }

  private untilStopped(): Effect.Effect<void> {
    const { fiber } = this
    if (fiber === undefined) return Effect.void
    return Effect.flatMap(Fiber.await(fiber), () => (this.fiber === fiber ? Effect.void : this.untilStopped()))
  }

  // ---- its life

  /** Begins it, in the scope that it is born into. */
  get start(): Supervision<R> {
    return Effect.suspend(() => {
      this.birth.siblings.add(this)
      this.told("started")
      return this.begin(this.runs())
    })
  }

  private begin(what: Supervision<R>): Supervision<R> {
    const supervisor = Effect.provideService(Effect.ensuring(what, this.over), CurrentActor, this)
    return Effect.flatMap(Effect.forkIn(supervisor, this.birth.scope, { startImmediately: true }), (begun) => {
      this.fiber = begun
      // It was ended, or a child has taken it down, before it was known here.
      if (this.stopping || this.escalated !== undefined) begun.interruptUnsafe()
      // In a scope that is closed it never began.
      const never = this.fiber === begun && this.birth.siblings.has(this) && begun.pollUnsafe() !== undefined
      return never ? this.gone : Effect.void
    })
  }

  private runs(): Supervision<R> {
    return Effect.flatMap(Effect.exit(this.run), (exit) => {
      if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return Effect.void
      return Effect.flatMap(this.judge(exit.cause), (again) => (again ? this.runs() : Effect.void))
    })
  }

  private get run(): Effect.Effect<void, E, Exclude<R, Scope.Scope>> {
    return Effect.suspend(() => {
      this.running = true
      return Effect.scoped(Effect.onExit(Actor.loop(this), (exit) => this.ended(exit)))
    })
  }

  private static readonly loop = Effect.fnUntraced(function* <M, E, R>(actor: Actor<M, E, R>) {
    const { mailbox, options } = actor
    actor.state = "starting"
    const behaviour = yield* options.make(actor)
    actor.detail = behaviour.detail
    for (;;) {
      actor.state = "idle"
      const { message, question } = yield* Queue.take(mailbox)
      if (question !== undefined) (actor.openQuestions ??= new Set()).add(question)
      actor.state = "busy"
      if ((yield* behaviour.receive(message)) === "stop") return
    }
  })

  /** A child has taken it down, and it may start again: nobody wants it gone. */
  private get mayRestart(): boolean {
    return this.escalated !== undefined && !this.stopping && this.birth.scope.state._tag !== "Closed"
  }

  /**
   * Before the run's children end: one of them may wait for an answer that
   * will not come. When the actor stops, that holds for the mailbox too.
   */
  private ended(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    this.running = false
    const restarts = this.mayRestart || (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause))
    this.failQuestions(() => (restarts ? new ActorRestarted({}) : new ActorStopped({})))
    return restarts ? Effect.void : this.closeMailbox
  }

  /** Whether it starts again after its run has failed. */
  private judge(cause: Cause.Cause<unknown>): Effect.Effect<boolean> {
    const { options, path } = this
    return Effect.flatMap(Clock.monotonicTimeNanos, (nanos) => {
      this.state = "restarting"
      if (restartAllowed(options.restart, (this.failures ??= []), Number(nanos) / 1e6)) {
        this.restarts++
        this.told("restarted")
        return Effect.map(
          Effect.logWarning(`${path} failed and starts again (restart ${this.restarts})`, cause),
          () => {
            this.failQuestions(() => new ActorRestarted({}))
            return true
          }
        )
      }
      this.told("failed")
      const escalates = options.restart === "escalate"
      return Effect.map(
        Effect.logError(`${path} failed and ${escalates ? "takes its parent down" : "stops"}`, cause),
        () => {
          if (escalates) this.birth.parent?.fail(cause)
          return false
        }
      )
    })
  }

  /** A fiber that a child has interrupted is of no more use: what follows is in another one. */
  private get over(): Supervision<R> {
    return Effect.suspend(() => {
      const cause = this.escalated
      if (cause === undefined || !this.mayRestart) return this.gone
      this.escalated = undefined
      return Effect.flatMap(this.judge(cause), (again) =>
        again ? this.begin(Effect.andThen(Effect.yieldNow, this.runs())) : this.gone
      )
    })
  }

  private get gone(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.birth.siblings.delete(this)
      this.told("stopped")
      this.failQuestions(() => new ActorStopped({}))
      const { onStopped } = this.options
      return onStopped === undefined ? this.closeMailbox : Effect.map(this.closeMailbox, onStopped)
    })
  }

  private told(kind: ActorEvent["kind"]): void {
    this.birth.observe({ path: this.path, kind })
  }

  // ---- its mailbox

  private failure(reason: ActorErrorReason): ActorError {
    return new ActorError({ actor: this.path, reason })
  }

  private failQuestions(why: () => ActorErrorReason): void {
    if (this.openQuestions === undefined || this.openQuestions.size === 0) return
    const reason = why()
    for (const fail of this.openQuestions) fail(reason)
  }

  private post(envelope: Envelope<M>): Effect.Effect<void, ActorError> {
    return Effect.flatMap(
      Effect.suspend(() => Queue.offer(this.mailbox, envelope)),
      (accepted) => (accepted ? Effect.void : Effect.fail(this.failure(new ActorStopped({}))))
    )
  }

  private postUnsafe(envelope: Envelope<M>): boolean {
    return !this.stopped && !Queue.isFullUnsafe(this.mailbox) && Queue.offerUnsafe(this.mailbox, envelope)
  }

  /** Nobody will take what is in the mailbox, nor what waits to get into it. */
  private get closeMailbox(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.mailboxClosed) return Effect.void
      this.stopped = true
      return Effect.whileLoop({
        while: () => Queue.sizeUnsafe(this.mailbox) > 0,
        body: () => Queue.clear(this.mailbox),
        step: (envelopes) => {
          for (const { question } of envelopes) question?.(new ActorStopped({}))
        }
      }).pipe(
        Effect.andThen(Queue.shutdown(this.mailbox)),
        Effect.map(() => {
          this.mailboxClosed = true
        })
      )
    })
  }
}

const make = Effect.gen(function* () {
  const roots = new Set<Node>()
  const deadlines = yield* Deadlines.make

  const spawn = Effect.fnUntraced(function* <M, E, R>(options: SpawnOptions<M, E, R>) {
    const parent = yield* CurrentActor
    const mailbox = yield* Queue.bounded<Envelope<M>>(options.mailbox ?? defaultMailbox)
    const birth: Birth = {
      parent,
      siblings: parent === undefined ? roots : parent.children,
      scope: yield* Effect.scope,
      deadlines,
      observe: yield* Observer
    }
    const actor = new Actor(options, birth, mailbox)
    yield* actor.start
    return actor
  })

  return Actors.of({ spawn, tree: Effect.sync(() => infos(roots)) })
})

/** The actor runtime; one for a node. */
export const layer: Layer.Layer<Actors> = Layer.effect(Actors, make)
