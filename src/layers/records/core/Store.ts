/** The service over a table: reads the clock, finds the rules of a key, and waits until writes are safe. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import {
  keyText,
  RecordStore,
  RecordStoreError,
  type RecordStoreErrorReason,
  type StoredRecord
} from "../../../services/RecordStore.ts"
import * as RecordValidators from "../../../services/RecordValidators.ts"
import type { Storage } from "../../internal/Storage.ts"
import type { Table } from "./Table.ts"

/** How long a record is kept unless the caller says otherwise. */
const defaultTtl = Duration.toMillis("48 hours")

/** Records that are listed in one turn: the rules of some take a signature's time. */
const pageSize = 32

/** The service over `table`. All times are of the clock of the fiber that makes it, all rules those that it knows. */
export const make = (
  store: string,
  table: Table,
  storage: Storage<RecordStoreError>
): Effect.Effect<RecordStore["Service"]> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const rulesOf = yield* RecordValidators.known
    const now = () => clock.currentTimeMillisUnsafe()

    const failed = (key: Uint8Array) => (reason: RecordStoreErrorReason) =>
      new RecordStoreError({ store, key: keyText(key), reason })

    const write = (key: Uint8Array, change: () => Result.Result<void, RecordStoreErrorReason>) =>
      Effect.suspend(() => {
        const refusal = storage.refusal()
        if (refusal !== undefined) return Effect.fail(refusal)
        const result = change()
        return Result.isFailure(result) ? Effect.fail(failed(key)(result.failure)) : storage.stored
      })

    const find = (key: Uint8Array): Result.Result<StoredRecord, RecordStoreErrorReason> =>
      Result.flatMap(rulesOf(key), (rules) => table.get(key, rules, now()))

    return RecordStore.of({
      store,
      put: (key, value, options) =>
        write(key, () =>
          Result.flatMap(rulesOf(key), (rules) => {
            const ttl = options?.ttl === undefined ? defaultTtl : Duration.toMillis(options.ttl)
            return table.put(key, value, ttl, rules, now())
          })
        ),
      get: (key) => Effect.suspend(() => Effect.fromResult(Result.mapError(find(key), failed(key)))),
      search: (key) =>
        Stream.suspend(() =>
          Result.match(find(key), {
            onSuccess: (record): Stream.Stream<StoredRecord, RecordStoreError> => Stream.make(record),
            onFailure: (reason) => (reason._tag === "RecordNotFound" ? Stream.empty : Stream.fail(failed(key)(reason)))
          })
        ),
      delete: (key) => write(key, () => Result.succeed(table.delete(key, now()))),
      list: (prefix = new Uint8Array(0)) =>
        Stream.suspend(() => {
          const names = table.namesOf(prefix)
          const rules = (key: Uint8Array) => Result.getOrUndefined(rulesOf(key))
          return Stream.paginate(0, (from) =>
            Effect.sync(() => {
              const page = names.slice(from, from + pageSize).flatMap((name) => table.at(name, rules, now()) ?? [])
              const next = from + pageSize
              return [page, next < names.length ? Option.some(next) : Option.none()] as const
            }).pipe(Effect.tap(Effect.yieldNow))
          )
        })
    })
  })
