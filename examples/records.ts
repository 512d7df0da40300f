// A namespace of one's own: the greater number is the better record.
import { Effect, Layer } from "effect"
import { MemoryRecordStore, RecordStore, RecordValidators } from "effect-libp2p"

const bytes = (text: string) => new TextEncoder().encode(text)
const numberOf = (value: Uint8Array) => Number(new TextDecoder().decode(value))

const Rules = RecordValidators.layer({
  counter: {
    validate: (_key, value) => (Number.isSafeInteger(numberOf(value)) ? undefined : "it is not a number"),
    select: (_key, values) => {
      const numbers = values.map(numberOf)
      return numbers.indexOf(Math.max(...numbers))
    }
  }
})

// In a file instead: SqliteRecordStore.layer({ path: "records.db" })
const Records = MemoryRecordStore.layer({ quota: { records: 1000 } }).pipe(Layer.provide(Rules))

export const program = Effect.gen(function* () {
  const store = yield* RecordStore.RecordStore
  const key = bytes("/counter/visits")
  yield* store.put(key, bytes("1"))
  yield* store.put(key, bytes("2"), { ttl: "1 hour" })
  const refused = yield* Effect.flip(store.put(key, bytes("1")))
  const { value } = yield* store.get(key)
  return { best: numberOf(value), because: refused.reason._tag }
}).pipe(Effect.provide(Records))
