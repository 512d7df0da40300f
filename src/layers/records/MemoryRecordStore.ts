/** A RecordStore in memory, within a quota; it ends with the node. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Quota, RecordStore } from "../../services/RecordStore.ts"
import { volatile } from "../internal/Storage.ts"
import * as Store from "./core/Store.ts"
import { limitsOf, Table } from "./core/Table.ts"

export interface Options {
  readonly quota?: Quota | undefined
}

/** A new store, in which nothing is held. It knows the validators that it is made with. */
export const make = (options?: Options): Effect.Effect<RecordStore["Service"]> =>
  Effect.suspend(() => Store.make("memory", new Table(limitsOf(options?.quota), false), volatile))

/**
 * Records are kept in memory.
 *
 * ```
 * const Records = MemoryRecordStore.layer({ quota: { records: 1000 } })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<RecordStore> => Layer.effect(RecordStore, make(options))
