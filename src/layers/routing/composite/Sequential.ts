/** One routing after the other, each within its share of the time that is left. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { RoutingError } from "../../../services/PeerRouting.ts"
import type { Routing } from "../../../services/Routing.ts"
import type { Plan } from "./Plan.ts"
import { askOne, deadlineOf, drainOne, emitting, failAll, monotonicMs, type One } from "./Question.ts"

export const make = (routings: ReadonlyArray<Routing>): Plan => {
  const router = `sequential(${routings.map(({ peers }) => peers.router).join(", ")})`

  /** Those that follow share alike; the last has all that is left. */
  const shareOf = (left: number, index: number): number => left / (routings.length - index)

  const first = Effect.fnUntraced(function* <A>(question: One<A>, isGood: (answer: A) => boolean) {
    const end = (yield* monotonicMs) + deadlineOf(question.options)
    const errors: Array<RoutingError> = []
    const rest: Array<A> = []
    for (const [index, routing] of routings.entries()) {
      const left = end - (yield* monotonicMs)
      if (index > 0 && left <= 0) break
      const answer = yield* Effect.result(askOne(question, routing, shareOf(left, index)))
      if (Result.isFailure(answer)) errors.push(answer.failure)
      else if (isGood(answer.success)) return answer.success
      else rest.push(answer.success)
    }
    for (const answer of rest) return answer
    return yield* failAll(router, question, errors)
  })

  return {
    router,
    first,
    every: (question, isFound) =>
      emitting((emit) =>
        Effect.gen(function* () {
          const end = (yield* monotonicMs) + deadlineOf(question.options)
          const errors: Array<RoutingError> = []
          for (const [index, routing] of routings.entries()) {
            const left = end - (yield* monotonicMs)
            if (index > 0 && left <= 0) break
            const time = { ms: left, share: shareOf(left, index) }
            const found = yield* Effect.result(
              drainOne(question, routing, time, isFound, (element) => emit({ index, element }))
            )
            if (Result.isFailure(found)) errors.push(found.failure)
            else if (found.success) return
          }
          if (errors.length > 0 && errors.length === routings.length) return yield* failAll(router, question, errors)
        })
      ),
    provide: (question) => first(question, () => true),
    steps: () => (_, step) => step
  }
}
