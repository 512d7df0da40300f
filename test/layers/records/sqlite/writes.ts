/** Writes that are known by a number alone: who makes them and who looks for them need share nothing else. */
import { Effect, type Layer } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as SqliteRecordStore from "../../../../src/layers/records/SqliteRecordStore.ts"
import type { RecordStore } from "../../../../src/services/RecordStore.ts"
import * as RecordValidators from "../../../../src/services/RecordValidators.ts"
import { validators } from "../../../../src/conformance/RecordStore.ts"

const rules: Layer.Layer<never> = RecordValidators.layer(validators)

/** Some files wait for the disk, some do not: neither may lose anything when their process is killed. */
export const storeAt = (path: string, file: number) =>
  SqliteRecordStore.make({ path, durability: file % 2 === 0 ? "power" : "process", quota: { records: 1e6 } }).pipe(
    Effect.provide(rules)
  )

const keyOf = (number: number): Uint8Array => Bytes.fromUtf8(`/test/${number}`)

/** 500 bytes, so that the log is soon long enough to be written back. */
const valueOf = (number: number): Uint8Array => Bytes.fromUtf8(`2:${`${number}.`.repeat(100)}`).subarray(0, 500)

/** A record, and a better one in its place. */
export const write = (store: RecordStore["Service"], number: number) =>
  Effect.andThen(
    store.put(keyOf(number), Bytes.fromUtf8("1:first")),
    store.put(keyOf(number), valueOf(number), { ttl: number % 2 === 0 ? "Infinity" : "1 hour" })
  )

/** True if write `number` is there. */
export const found = (store: RecordStore["Service"], number: number) =>
  Effect.match(store.get(keyOf(number)), {
    onFailure: () => false,
    onSuccess: ({ value }) => Bytes.equals(value, valueOf(number))
  })
