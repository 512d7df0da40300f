/** What makes the writes to a table last. */
import * as Effect from "effect/Effect"

export interface Storage<E> {
  /** Why nothing can be written any more. Asked before the table is changed. */
  readonly refusal: () => E | undefined
  /** Waits until all that the table was told so far is stored. */
  readonly stored: Effect.Effect<void, E>
}

/** Storage for a table that is all there is. */
export const volatile: Storage<never> = { refusal: () => undefined, stored: Effect.void }
