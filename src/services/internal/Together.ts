/** For layers that combine several implementations of one service. */
import * as Effect from "effect/Effect"

/** All that are made, in their order, with the errors and needs of each: inference alone would take those of the first. */
export function together<A, M extends Effect.Effect<A, unknown, unknown>>(
  makes: ReadonlyArray<M>
): Effect.Effect<ReadonlyArray<A>, Effect.Error<M>, Effect.Services<M>>
export function together<A, E, R>(makes: ReadonlyArray<Effect.Effect<A, E, R>>): Effect.Effect<ReadonlyArray<A>, E, R> {
  return Effect.all(makes)
}
