/** Writes that are known by a number alone: who makes them and who looks for them need share nothing else. */
import { Effect } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as ProvidedFile from "../../../../src/layers/kad/ProvidedFile.ts"

/** Some files wait for the disk, some do not: neither may lose anything when their process is killed. */
export const storeAt = (path: string, file: number) =>
  ProvidedFile.make({ path, durability: file % 2 === 0 ? "power" : "process" })

/** Long, so that the log is soon long enough to be written back. */
const keyOf = (number: number): Uint8Array => Bytes.fromUtf8(`${number}.`.repeat(100))

/** A key that is provided, and then announced. */
export const write = (store: ProvidedFile.ProvidedStore, number: number) =>
  Effect.gen(function* () {
    store.set("wan", keyOf(number), undefined)
    yield* store.stored
    store.set("wan", keyOf(number), number)
    yield* store.stored
  })

/** True if write `number` is there. */
export const found = (store: ProvidedFile.ProvidedStore, number: number) =>
  Effect.sync(() =>
    store.of("wan").some(({ announcedAt, key }) => announcedAt === number && Bytes.equals(key, keyOf(number)))
  )
