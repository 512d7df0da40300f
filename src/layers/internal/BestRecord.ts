/** What the stores have in common that ask others: the best of the records that are found, and to get it is to search to the end. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import {
  type GetOptions,
  RecordNotFound,
  type RecordStore,
  type RecordStoreError,
  type RecordStoreErrorReason,
  type StoredRecord
} from "../../services/RecordStore.ts"
import type { RecordValidator } from "../../services/RecordValidators.ts"

/** The best record so far under a key. */
export class BestRecord {
  /** Records that were valid. */
  valid = 0
  best: StoredRecord | undefined
  private readonly key: Uint8Array
  private readonly rules: RecordValidator
  private readonly now: () => number

  constructor(key: Uint8Array, rules: RecordValidator, now: () => number) {
    this.key = key
    this.rules = rules
    this.now = now
  }

  /** Takes a record; gives it if it is better than those before. */
  take(record: StoredRecord): ReadonlyArray<StoredRecord> {
    const { best, key, rules } = this
    const now = this.now()
    if (rules.validate(key, record.value, now) !== undefined) return []
    this.valid++
    if (best !== undefined) {
      const isBetter =
        !Bytes.equals(best.value, record.value) && rules.select(key, [best.value, record.value], now) === 1
      if (!isBetter) return []
    }
    this.best = record
    // The user's own: what is passed on may not change.
    return [{ ...record, key: key.slice(), value: record.value.slice() }]
  }
}

/** `get` of a store, by its `search`. */
export const getBy =
  (
    search: RecordStore["Service"]["search"],
    failed: (key: Uint8Array) => (reason: RecordStoreErrorReason) => RecordStoreError
  ): RecordStore["Service"]["get"] =>
  (key, question) => {
    let asked = 0
    const counting: GetOptions = {
      ...question,
      onProgress: (progress) => {
        asked = progress.answered
        question?.onProgress?.(progress)
      }
    }
    return Effect.flatMap(Stream.runLast(search(key, counting)), (last) =>
      last._tag === "Some" ? Effect.succeed(last.value) : Effect.fail(failed(key)(new RecordNotFound({ asked })))
    )
  }
