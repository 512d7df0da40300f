/** All routings at once. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Provided } from "../../../services/ContentRouting.ts"
import type { RoutingError } from "../../../services/PeerRouting.ts"
import type { Routing } from "../../../services/Routing.ts"
import { MergedProgress } from "../core/Combine.ts"
import type { Plan } from "./Plan.ts"
import { askOne, deadlineOf, drainOne, emitting, failAll, type One } from "./Question.ts"

const failuresOf = <A>(results: ReadonlyArray<Result.Result<A, RoutingError>>): ReadonlyArray<RoutingError> =>
  results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))

export const make = (routings: ReadonlyArray<Routing>): Plan => {
  const router = `parallel(${routings.map(({ peers }) => peers.router).join(", ")})`

  const askAll = <A>(question: One<A>) =>
    Effect.forEach(routings, (routing) => Effect.result(askOne(question, routing, deadlineOf(question.options))), {
      concurrency: "unbounded"
    })

  return {
    router,
    first: <A>(question: One<A>, isGood: (answer: A) => boolean) => {
      // A good answer leaves at once, as a failure does; the others are interrupted.
      const attempt = (routing: Routing) =>
        Effect.flatMap(Effect.result(askOne(question, routing, deadlineOf(question.options))), (result) =>
          Result.isSuccess(result) && isGood(result.success) ? Effect.fail(result) : Effect.succeed(result)
        )
      return Effect.forEach(routings, attempt, { concurrency: "unbounded" }).pipe(
        Effect.flip,
        Effect.map(({ success }) => success),
        Effect.catch((results) => {
          for (const result of results) if (Result.isSuccess(result)) return Effect.succeed(result.success)
          return Effect.fail(failAll(router, question, failuresOf(results)))
        })
      )
    },
    every: (question, isFound) =>
      emitting((emit) => {
        const ms = deadlineOf(question.options)
        const drains = routings.map((routing, index) =>
          Effect.result(drainOne(question, routing, { ms, share: ms }, isFound, (element) => emit({ index, element })))
        )
        return Effect.flatMap(Effect.all(drains, { concurrency: "unbounded" }), (results) => {
          const errors = failuresOf(results)
          return errors.length > 0 && errors.length === routings.length
            ? Effect.fail(failAll(router, question, errors))
            : Effect.void
        })
      }),
    provide: (question) =>
      Effect.flatMap(askAll<Provided>(question), (results) => {
        const errors = failuresOf(results)
        if (errors.length === results.length) return Effect.fail(failAll(router, question, errors))
        const provided = results.filter(Result.isSuccess).map(({ success }) => success)
        return Effect.succeed({
          holders: provided.reduce((sum, { holders }) => sum + holders, 0),
          pending: provided.reduce((sum, { pending = 0 }) => sum + pending, 0)
        })
      }),
    steps: (key) => {
      const merged = new MergedProgress(key)
      return (index, step) => merged.add(index, step)
    }
  }
}
