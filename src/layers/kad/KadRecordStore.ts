/**
 * KadRecordStore: records held by the peers of a DHT that are closest to their
 * keys.
 *
 * ```
 * const Records = KadRecordStore.layer().pipe(Layer.provide(KadRouting.layer({ records: MemoryRecordStore.make() })))
 * ```
 *
 * A record is put to the closest peers, and to what this node holds itself; own
 * ones are put again in time. What peers answer is validated before it counts,
 * the best of it is the answer, and those that hold another or none are given
 * the best afterwards.
 *
 * ```
 * scope of the layer
 *  ├─ a fiber that puts own records again
 *  └─ one fiber a correction, few at once
 * ```
 *
 * Specification: kad-dht/README.md, "Value storage and retrieval".
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import { Kad, type KadAnswer } from "../../services/Kad.ts"
import type { RoutedPeer, RoutingError } from "../../services/PeerRouting.ts"
import {
  type GetOptions,
  keyText,
  QuorumNotReached,
  RecordInvalid,
  RecordNotFound,
  RecordRoutingFailed,
  RecordStore,
  RecordStoreError,
  type RecordStoreErrorReason,
  RecordStoreUnsupported,
  type StoredRecord
} from "../../services/RecordStore.ts"
import * as RecordValidators from "../../services/RecordValidators.ts"
import { BestRecord, getBy } from "../internal/BestRecord.ts"
import { monotonicMs } from "../internal/Monotonic.ts"

export interface Options {
  /** How often own records are put again. Default 22 hours. */
  readonly republishEvery?: Duration.Input | undefined
  /** Own records that are put again; of more, the one put longest ago is not. Default 10,000. */
  readonly maxOwn?: number | undefined
}

/** How long a record is kept unless its user says otherwise. */
const defaultTtl = "48 hours"
/** How often it looks for own records that are to be put again. */
const lookEvery = "10 minutes"
/** After nobody took one again, until it is tried anew. */
const retryMs = 3_600_000
/** Corrections at once; beyond that they are left to the next who gets the record. */
const maxCorrections = 8

/** A record that this node has put. Times are of a clock that only goes forward. */
interface Own {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly expiresMs: number
  dueMs: number
}

const make = Effect.fnUntraced(function* (options?: Options) {
  const kad = yield* Kad
  const rulesOf = yield* RecordValidators.known
  const scope = yield* Effect.scope
  const everyMs = Duration.toMillis(options?.republishEvery ?? "22 hours")
  const maxOwn = options?.maxOwn ?? 10_000
  /** By the hexadecimal of the key, the one put longest ago first. */
  const own = new Map<string, Own>()
  let correcting = 0

  const failed = (key: Uint8Array) => (reason: RecordStoreErrorReason) =>
    new RecordStoreError({ store: "kad", key: keyText(key), reason })
  const routing = (error: RoutingError): RecordStoreErrorReason =>
    error.reason._tag === "NotFound"
      ? new RecordNotFound({ asked: error.reason.asked })
      : new RecordRoutingFailed({ reason: error.reason, detail: error.message })

  // ---- putting

  const put: RecordStore["Service"]["put"] = (key, value, question) =>
    Effect.gen(function* () {
      const rules = yield* Effect.fromResult(rulesOf(key))
      const wrong = rules.validate(key, value, yield* Clock.currentTimeMillis)
      if (wrong !== undefined) return yield* Effect.fail(new RecordInvalid({ detail: wrong }))
      const ttl = Duration.toMillis(question?.ttl ?? defaultTtl)
      // A better one that is held here is better everywhere. Without room for it here, others hold it.
      if (kad.records !== undefined) {
        yield* Effect.matchEffect(kad.records.put(key, value, { ttl }), {
          onSuccess: () => Effect.void,
          onFailure: ({ reason }) => (reason._tag === "RecordOutdated" ? Effect.fail(reason) : Effect.void)
        })
      }
      const holders = yield* Effect.mapError(kad.putValue(key, value, question), routing)
      const wanted = question?.quorum ?? 1
      if (holders < wanted) return yield* Effect.fail(new QuorumNotReached({ got: holders, wanted }))
      const now = yield* monotonicMs
      const id = Bytes.toHex(key)
      own.delete(id)
      own.set(id, { key: key.slice(), value: value.slice(), expiresMs: now + ttl, dueMs: now + everyMs })
      const [oldest] = own.keys()
      if (own.size > maxOwn && oldest !== undefined) own.delete(oldest)
    }).pipe(Effect.mapError(failed(key)))

  /** What is to be put again now: the best that is held, since somebody may have put a better one. */
  const current = ({ key, value }: Own) =>
    Effect.gen(function* () {
      const held = kad.records === undefined ? undefined : yield* Effect.option(kad.records.get(key))
      if (held?._tag === "Some") return held.value.value
      const rules = Result.getOrUndefined(rulesOf(key))
      // What does not hold any more is refused by all.
      return rules?.validate(key, value, yield* Clock.currentTimeMillis) === undefined ? value : undefined
    })

  /** True when somebody took it. */
  const putAgain = (key: Uint8Array, value: Uint8Array) =>
    kad.putValue(key, value).pipe(
      Effect.map((holders) => holders > 0),
      Effect.catch((error) => Effect.as(Effect.logDebug(`${keyText(key)} was not put again`, error), false))
    )

  const republish = Effect.gen(function* () {
    for (const [id, record] of own) {
      // Of many, the last comes long after the first.
      const now = yield* monotonicMs
      if (record.expiresMs <= now) own.delete(id)
      if (record.expiresMs <= now || record.dueMs > now) continue
      record.dueMs = now + everyMs
      const value = yield* current(record)
      if (value === undefined) continue
      // Others forget it in time: a network that was away just then must not cost the whole interval.
      if (!(yield* putAgain(record.key, value))) record.dueMs = now + Math.min(everyMs, retryMs)
    }
  })
  yield* Effect.andThen(Effect.sleep(lookEvery), republish).pipe(
    Effect.catchDefect((defect) => Effect.logError("putting records again fails", defect)),
    Effect.forever,
    Effect.forkScoped
  )

  // ---- getting

  /** Gives the best to those of the closest that hold another, or none. */
  const correct = (key: Uint8Array, value: Uint8Array, answers: ReadonlyArray<KadAnswer>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (correcting >= maxCorrections) return Effect.void
      const closest = new Map<string, Set<string>>()
      for (const answer of answers) {
        closest.set(answer.realm, new Set(answer.closest.map(({ peer }) => peer.toString())))
      }
      const stale = new Map<string, Array<RoutedPeer>>()
      for (const { from, realm, value: held } of answers) {
        if (held !== undefined && Bytes.equals(held, value)) continue
        if (closest.get(realm)?.has(from.peer.toString()) !== true) continue
        const peers = stale.get(realm) ?? []
        peers.push(from)
        stale.set(realm, peers)
      }
      if (stale.size === 0) return Effect.void
      correcting++
      return Effect.forEach(stale, ([realm, peers]) => kad.putValueAt(key, value, { realm, peers }), {
        discard: true
      }).pipe(Effect.ensuring(Effect.sync(() => void correcting--)), Effect.forkIn(scope), Effect.asVoid)
    })

  const search = (key: Uint8Array, question?: GetOptions): Stream.Stream<StoredRecord, RecordStoreError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const rules = yield* Effect.fromResult(rulesOf(key))
        const clock = yield* Clock.Clock
        const quorum = question?.quorum ?? Number.POSITIVE_INFINITY
        const answers: Array<KadAnswer> = []
        const found = new BestRecord(key, rules, () => clock.currentTimeMillisUnsafe())

        const held = kad.records === undefined ? undefined : yield* Effect.option(kad.records.get(key))
        const local = held?._tag === "Some" ? found.take(held.value) : []
        const remote = kad.values(key, question).pipe(
          Stream.map((answer) => {
            const { value } = answer
            const before = found.valid
            const better = value === undefined ? [] : found.take({ key, value, expiresAt: undefined })
            // What is not valid is not kept: who holds it is to be given the best like who holds none.
            answers.push(found.valid > before ? answer : { ...answer, value: undefined })
            return better
          }),
          Stream.takeUntil(() => found.valid >= quorum),
          Stream.flatMap(Stream.fromIterable),
          Stream.catch((error) => (found.best === undefined ? Stream.fail(failed(key)(routing(error))) : Stream.empty))
        )
        const all =
          found.valid >= quorum ? Stream.fromIterable(local) : Stream.concat(Stream.fromIterable(local), remote)
        return Stream.ensuring(
          all,
          Effect.suspend(() => (found.best === undefined ? Effect.void : correct(key, found.best.value, answers)))
        )
      }).pipe(Effect.mapError(failed(key)))
    )

  return RecordStore.of({
    store: "kad",
    put,
    get: getBy(search, failed),
    search,
    delete: (key) =>
      Effect.fail(
        failed(key)(new RecordStoreUnsupported({ detail: "a DHT forgets nothing on demand; records expire" }))
      ),
    list: (prefix) => kad.records?.list(prefix) ?? Stream.empty
  })
})

/** Records are held by the peers of the node's DHTs. */
export const layer = (options?: Options): Layer.Layer<RecordStore, never, Kad> =>
  Layer.effect(RecordStore, make(options))
