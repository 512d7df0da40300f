/** One question put to one of several routings, for no longer than its share of the time. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { RoutingError, type RoutingOptions, RoutingTimeout } from "../../../services/PeerRouting.ts"
import type { Routing } from "../../../services/Routing.ts"
import { combine } from "../core/Combine.ts"

/** What may wait for a slow reader. */
const buffer = 16

export interface Question<A> {
  /** For errors. */
  readonly what: string
  readonly options: RoutingOptions | undefined
  readonly routerOf: (routing: Routing) => string
  readonly ask: (routing: Routing, options: RoutingOptions) => A
}

/** A question with one answer. */
export type One<A> = Question<Effect.Effect<A, RoutingError>>
/** A question whose answers come one by one. */
export type Many<A> = Question<Stream.Stream<A, RoutingError>>

export const monotonicMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

export const deadlineOf = (options: RoutingOptions | undefined): number =>
  Duration.toMillis(options?.deadline ?? Duration.minutes(1))

/** The options for one routing, and the error for when it does not keep its deadline. */
const within = <A>({ options, routerOf, what }: Question<A>, routing: Routing, ms: number) => {
  let answered = 0
  const given: RoutingOptions = {
    deadline: ms,
    onProgress: (progress) => {
      answered = progress.answered
      options?.onProgress?.(progress)
    }
  }
  const router = routerOf(routing)
  const late = () => new RoutingError({ router, what, reason: new RoutingTimeout({ afterMs: ms, asked: answered }) })
  return { given, late }
}

export const askOne = <A>(question: One<A>, routing: Routing, ms: number): Effect.Effect<A, RoutingError> =>
  Effect.suspend(() => {
    const { given, late } = within(question, routing, ms)
    return Effect.timeoutOrElse(question.ask(routing, given), { duration: ms, orElse: () => Effect.fail(late()) })
  })

/**
 * Takes all that one routing tells, and says whether it has found anything. It
 * must have within `share`, and be done within `ms`. What was found before it
 * failed is an answer.
 */
export const drainOne = <A>(
  question: Many<A>,
  routing: Routing,
  time: { readonly ms: number; readonly share: number },
  isFound: (element: A) => boolean,
  emit: (element: A) => Effect.Effect<unknown>
): Effect.Effect<boolean, RoutingError> =>
  Effect.suspend(() => {
    const { given, late } = within(question, routing, time.ms)
    let found = false
    const drain = Stream.runForEach(question.ask(routing, given), (element) => {
      if (isFound(element)) found = true
      return emit(element)
    })
    const patience = Effect.andThen(
      Effect.sleep(time.share),
      Effect.suspend(() => (found ? Effect.never : Effect.fail(late())))
    )
    return Effect.raceFirst(drain, patience).pipe(
      Effect.timeoutOrElse({ duration: time.ms, orElse: () => Effect.fail(late()) }),
      Effect.catch((error) => (found ? Effect.void : Effect.fail(error))),
      Effect.map(() => found)
    )
  })

/** A stream of what `body` emits, which runs while the stream is read. */
export const emitting = <A>(
  body: (emit: (element: A) => Effect.Effect<unknown>) => Effect.Effect<unknown, RoutingError>
): Stream.Stream<A, RoutingError> =>
  Stream.callback<A, RoutingError>(
    (queue) =>
      Effect.andThen(
        body((element) => Queue.offer(queue, element)),
        Queue.end(queue)
      ),
    { bufferSize: buffer }
  )

/** None of them had an answer. */
export const failAll = <A>(
  router: string,
  { options, what }: Question<A>,
  errors: ReadonlyArray<RoutingError>
): RoutingError => new RoutingError({ router, what, reason: combine(errors, deadlineOf(options)) })
