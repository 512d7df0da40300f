/**
 * Actors: who owns what state. An actor is one supervised fiber with a bounded
 * mailbox that alone changes its state; others tell it things or ask it
 * questions. Actors form a tree that can be listed while they run.
 *
 * ```
 * parent scope ── owns ──> actor fiber ── owns ──> one scope a run
 *                                                  └─ children, timers, sockets
 * ```
 *
 * Closing the parent's scope ends the actor and all below it. An actor that
 * fails is restarted with fresh state, stops, or takes its parent down, as its
 * policy says; either way it is logged with its cause.
 */
import * as Context from "effect/Context"
import type * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** The actor has ended; nobody will answer. */
export class ActorStopped extends Schema.TaggedClass<ActorStopped>()("ActorStopped", {}) {}
/** The actor failed while the question was open and has lost it. */
export class ActorRestarted extends Schema.TaggedClass<ActorRestarted>()("ActorRestarted", {}) {}
/** No answer by the deadline. */
export class AskTimeout extends Schema.TaggedClass<AskTimeout>()("AskTimeout", { afterMs: Schema.Finite }) {}

export const ActorErrorReason = Schema.Union([ActorStopped, ActorRestarted, AskTimeout])
export type ActorErrorReason = typeof ActorErrorReason.Type

/** A message or question did not reach an actor, or got no answer. */
export class ActorError extends Schema.TaggedError<ActorError>()("ActorError", {
  actor: Schema.String,
  reason: ActorErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "ActorStopped":
        return `${this.actor} has stopped`
      case "ActorRestarted":
        return `${this.actor} failed and was restarted before it answered`
      case "AskTimeout":
        return `${this.actor} did not answer within ${reason.afterMs} ms`
    }
  }
}

/** Where to send the answer of a question. */
export type Reply<A, E = never> = Deferred.Deferred<A, E | ActorError>

/** The outside of an actor. */
export interface ActorRef<in M> {
  /** Its path in the tree, such as `swarm/connection 3`. */
  readonly path: string
  /** Puts a message in the mailbox, waiting while it is full. */
  readonly tell: (message: M) => Effect.Effect<void, ActorError>
  /** The same from plain code; false, and nothing sent, when the mailbox is full or the actor has stopped. */
  readonly tellUnsafe: (message: M) => boolean
  /** Tells and waits for the answer, at most for `timeout`, which is never optional. */
  readonly ask: <A, E = never>(
    question: (reply: Reply<A, E>) => M,
    timeout: Duration.Input
  ) => Effect.Effect<A, E | ActorError>
  /** Ends it and all its children; returns when they have ended. */
  readonly stop: Effect.Effect<void>
  /** Waits until it has ended for good. */
  readonly awaitStopped: Effect.Effect<void>
}

/** What an actor does with a message. Returning `"stop"` ends it in order. */
export interface Behaviour<in M, out E> {
  readonly receive: (message: M) => Effect.Effect<void | "stop", E>
  /** A short word on its state for the tree, read from outside at any time: keep it cheap and pure. */
  readonly detail?: (() => string) | undefined
}

/**
 * What happens when `make` or `receive` fails: the actor stops, its parent
 * fails too, or it starts again with fresh state, at most `times` within
 * `within`, after which it stops.
 */
export type RestartPolicy = "stop" | "escalate" | { readonly times: number; readonly within: Duration.Input }

export interface SpawnOptions<M, E, R> {
  /** Unique among its siblings. */
  readonly name: string
  /** Messages that may wait; default 64. */
  readonly mailbox?: number | undefined
  readonly restart: RestartPolicy
  /** Makes the state and the behaviour; runs at the start and at each restart. Its scope lasts for the run. */
  readonly make: (self: ActorRef<M>) => Effect.Effect<Behaviour<M, E>, E, R>
  /** Told that it has ended for good, once nothing of it is left. Plain code, called in its last turn. */
  readonly onStopped?: (() => void) | undefined
}

/** A node of the tree, as data. */
export interface ActorInfo {
  readonly name: string
  readonly state: "starting" | "idle" | "busy" | "restarting"
  readonly mailbox: { readonly depth: number; readonly capacity: number }
  readonly restarts: number
  readonly detail: string
  readonly children: ReadonlyArray<ActorInfo>
}

export class Actors extends Context.Service<
  Actors,
  {
    /**
     * Starts an actor as a child of the actor that this is called from, in the
     * scope that this is called in. Returns once `make` has been entered, not
     * when it is done: messages wait in the mailbox until then.
     */
    readonly spawn: <M, E, R>(
      options: SpawnOptions<M, E, R>
    ) => Effect.Effect<ActorRef<M>, never, Exclude<R, Scope.Scope> | Scope.Scope>
    /** The living actors, now. */
    readonly tree: Effect.Effect<ReadonlyArray<ActorInfo>>
  }
>()("effect-libp2p/Actors") {}

/** What became of an actor. */
export interface ActorEvent {
  readonly path: string
  readonly kind: "started" | "restarted" | "stopped" | "failed"
}

/** Told of every actor as it starts, fails, restarts and stops: for traces and metrics. Plain code, called in the actor's turn. */
export const Observer: Context.Reference<(event: ActorEvent) => void> = Context.Reference<(event: ActorEvent) => void>(
  "effect-libp2p/ActorObserver",
  { defaultValue: () => () => {} }
)

/** Draws a tree for people, one line an actor. */
export const formatTree = (tree: ReadonlyArray<ActorInfo>): string => {
  const lines: Array<string> = []
  const visit = (nodes: ReadonlyArray<ActorInfo>, indent: string) => {
    nodes.forEach((node, index) => {
      const last = index === nodes.length - 1
      const facts = [
        node.state,
        `mailbox ${node.mailbox.depth}/${node.mailbox.capacity}`,
        ...(node.restarts > 0 ? [`restarts ${node.restarts}`] : []),
        ...(node.detail === "" ? [] : [node.detail])
      ]
      lines.push(`${indent}${last ? "└─ " : "├─ "}${node.name}  ${facts.join(", ")}`)
      visit(node.children, indent + (last ? "   " : "│  "))
    })
  }
  visit(tree, "")
  return lines.join("\n")
}
