/**
 * The record store of a node, as the DHT uses it: what others put is within
 * their shares, see the core; what this node puts is its own.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  keyText,
  RecordInvalid,
  RecordShareFull,
  RecordStore,
  RecordStoreError,
  type RecordStoreErrorReason
} from "../../services/RecordStore.ts"
import * as RecordValidators from "../../services/RecordValidators.ts"
import { type Bringer, type Counts, Holdings, type Limits } from "./core/Holdings.ts"
import type { Key } from "./core/Key.ts"

/** What is held for others. */
export interface Holding {
  /** The store, for this node's own records. */
  readonly records: RecordStore["Service"]
  /** Holds a record for a peer, if it is valid and there is room in its share. */
  readonly hold: (key: Uint8Array, value: Uint8Array, from: Bringer) => Effect.Effect<void, RecordStoreError>
  readonly counts: () => Counts
}

/** How long a record is held unless who puts it says otherwise. */
const ttl = "48 hours"
/** Records that are dropped for one that the store has no room for: a large one may take the place of several. */
const maxDropped = 64

export const make = Effect.fnUntraced(function* (store: RecordStore["Service"], self: Key, limits?: Limits) {
  const rulesOf = yield* RecordValidators.known
  const holdings = new Holdings(self, limits)
  const failed = (key: Uint8Array) => (reason: RecordStoreErrorReason) =>
    new RecordStoreError({ store: store.store, key: keyText(key), reason })

  const drop = (key: Uint8Array) =>
    store.delete(key).pipe(Effect.catch((error) => Effect.logDebug("a record of others could not be dropped", error)))

  /** Puts it, dropping others' records as long as the store is full and they have more. */
  const put = (
    key: Uint8Array,
    value: Uint8Array,
    from: Bringer,
    left: number
  ): Effect.Effect<void, RecordStoreError> =>
    store.put(key, value, { ttl }).pipe(
      Effect.catch((error) => {
        const { reason } = error
        const isFull =
          reason._tag === "RecordStoreLimit" && (reason.resource === "records" || reason.resource === "bytes")
        if (!isFull || left === 0) return Effect.fail(error)
        const victim = holdings.makeRoom(key, key.length + value.length, from)
        if (victim === undefined) return Effect.fail(error)
        return Effect.andThen(
          drop(victim),
          Effect.suspend(() => put(key, value, from, left - 1))
        )
      })
    )

  const hold: Holding["hold"] = (key, value, from) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      // Nothing is dropped for what is not valid, or worse than what is held.
      const rules = yield* Effect.mapError(Effect.fromResult(rulesOf(key)), failed(key))
      const wrong = rules.validate(key, value, now)
      if (wrong !== undefined) return yield* failed(key)(new RecordInvalid({ detail: wrong }))
      // What was in the store when the node started is in no share, and nobody takes it into one.
      const isOld = !holdings.knows(key) && (yield* Effect.isSuccess(store.get(key)))
      if (isOld) return yield* store.put(key, value, { ttl })
      const expiresAt = now + Duration.toMillis(ttl)
      const { dropped, refused, undo } = holdings.offer(key, key.length + value.length, from, now, expiresAt)
      yield* Effect.forEach(dropped, drop, { discard: true })
      if (refused !== undefined) return yield* failed(key)(new RecordShareFull({ share: refused }))
      yield* put(key, value, from, maxDropped).pipe(
        Effect.tapError(({ reason }) =>
          // A better one is held, and stays where it is.
          Effect.sync(() => (reason._tag === "RecordOutdated" ? undo() : holdings.forget(key)))
        )
      )
    })

  const records = RecordStore.of({
    ...store,
    put: (key, value, options) =>
      Effect.tap(store.put(key, value, options), () =>
        Effect.map(Clock.currentTimeMillis, (now) => holdings.own(key, now + Duration.toMillis(options?.ttl ?? ttl)))
      ),
    delete: (key) => Effect.tap(store.delete(key), () => Effect.sync(() => holdings.forget(key)))
  })

  const made: Holding = { records, hold, counts: () => holdings.counts }
  return made
})
