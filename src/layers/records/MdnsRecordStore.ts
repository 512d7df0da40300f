/**
 * MdnsRecordStore: records of the local network. A node holds what is put to
 * it, and whoever asks for a key is told by all who hold one.
 *
 * ```
 * const Records = MdnsRecordStore.layer({ records: MemoryRecordStore.make() }).pipe(Layer.provide(MdnsNetwork.layer()))
 * ```
 *
 * A record that fits into a packet is in the answer; of a larger one the answer
 * says only who holds it, and it is read from there over a connection. It is kept
 * in one place, and read from there whenever somebody asks for it. What is
 * answered is validated before it counts, and the best of it is the answer. A
 * put reaches nobody else: others find it for as long as this node is there.
 *
 * ```
 * scope of the layer
 *  ├─ handler: gives records to those who ask by a stream
 *  └─ a fiber that tells no more of what has expired
 * ```
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import { type LocalAnswer, LocalNetwork } from "../../services/LocalNetwork.ts"
import { Protocols, type ProtocolTaken } from "../../services/Protocols.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import {
  type GetOptions,
  keyText,
  QuorumNotReached,
  RecordStore,
  RecordStoreError,
  type RecordStoreErrorReason,
  type StoredRecord
} from "../../services/RecordStore.ts"
import * as RecordValidators from "../../services/RecordValidators.ts"
import { Swarm } from "../../services/Swarm.ts"
import { BestRecord, getBy } from "../internal/BestRecord.ts"

export interface Options {
  /** Where this node holds what is put to it, such as `MemoryRecordStore.make()`. */
  readonly records: Effect.Effect<RecordStore["Service"], never, Scope.Scope>
  /** How long a question waits for answers, unless its deadline comes first. Default 2 seconds. */
  readonly wait?: Duration.Input | undefined
}

const store = "mdns"
/** By which larger records are read. */
const protocol = "/effect-libp2p/record/1.0.0"
const maxKey = 1024
const maxValue = 64 * 1024
/** Records that are read over connections at once, for one question, and how long one may take; all of them end with what the last answer may take. */
const atOnce = 4
const patience = Duration.seconds(5)
/** Streams of a connection on which records are given at once. */
const maxStreams = 8
/** What has expired is not told of, and forgotten within this time. */
const sweepEvery = Duration.minutes(1)

const make = Effect.fnUntraced(function* (options: Options) {
  const network = yield* LocalNetwork
  const protocols = yield* Protocols
  const swarm = yield* Swarm
  const rulesOf = yield* RecordValidators.known
  const local = yield* options.records
  const waitMs = Duration.toMillis(options.wait ?? "2 seconds")
  /** What is told of, by the hexadecimal of the key. */
  const told = new Map<string, Uint8Array>()

  const failed = (key: Uint8Array) => (reason: RecordStoreErrorReason) =>
    new RecordStoreError({ store, key: keyText(key), reason })
  const asOwn = (key: Uint8Array) => Effect.mapError(({ reason }: RecordStoreError) => failed(key)(reason))

  const tell = ({ key }: { readonly key: Uint8Array }) => {
    told.set(Bytes.toHex(key), key)
    const value = local.get(key).pipe(
      Effect.map((held) => held.value),
      Effect.catch(() => Effect.succeed(undefined))
    )
    return network.hold({ _tag: "Record", key }, value)
  }
  const untell = (key: Uint8Array) => {
    told.delete(Bytes.toHex(key))
    return network.release({ _tag: "Record", key })
  }

  yield* Effect.addFinalizer(() => Effect.forEach(told.values(), untell, { discard: true }))
  // What was put in an earlier run is told of again.
  yield* Effect.ignore(Stream.runForEach(local.list(), tell))

  const sweep = Effect.forEach([...told.values()], (key) => local.get(key).pipe(Effect.catch(() => untell(key))), {
    discard: true
  })
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(sweepEvery),
        Effect.suspend(() => sweep)
      )
    )
  )

  yield* protocols.handle(
    protocol,
    (stream) =>
      Effect.gen(function* () {
        const messages = ProtocolStream.byteMessages(stream, { maxSize: maxKey })
        const key = yield* messages.read
        if (key === null) return
        const found = yield* Effect.option(local.get(Bytes.copy(key)))
        if (found._tag === "Some") yield* messages.write(found.value.value)
        yield* stream.closeWrite
      }).pipe(
        Effect.timeoutOrElse({ duration: patience, orElse: () => stream.reset("it has not asked, or read, in time") })
      ),
    { maxStreamsPerConnection: maxStreams }
  )

  /** Reads a record from who holds it; undefined if that comes to nothing. */
  const fetch = ({ addresses, peer }: LocalAnswer, key: Uint8Array) =>
    Effect.gen(function* () {
      const stream = yield* swarm.openStream({ peer, addresses }, protocol)
      const messages = ProtocolStream.byteMessages(stream, { maxSize: maxValue })
      yield* messages.write(Bytes.copy(key))
      yield* stream.closeWrite
      const value = yield* messages.read
      return value === null ? undefined : Bytes.copy(value)
    }).pipe(
      Effect.scoped,
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed(undefined) }),
      Effect.catch((error) => Effect.as(Effect.logDebug(`record of ${peer.toString()}: ${error.message}`), undefined))
    )

  /** What others hold, as they say it. */
  const answers = (key: Uint8Array, question: GetOptions | undefined): Stream.Stream<Uint8Array> =>
    Stream.unwrap(
      Effect.map(network.peers, ({ length }) => {
        // Nobody answers where nobody is.
        if (length === 0) return Stream.empty
        const deadlineMs = Duration.toMillis(question?.deadline ?? Duration.minutes(1))
        const latestMs = Math.min(deadlineMs, waitMs + Duration.toMillis(patience))
        let answered = 0
        return network.ask({ _tag: "Record", key }, Math.min(waitMs, deadlineMs)).pipe(
          Stream.mapEffect(
            (answer) => (answer.content === undefined ? fetch(answer, key) : Effect.succeed(answer.content)),
            {
              concurrency: atOnce,
              unordered: true
            }
          ),
          Stream.flatMap((value) => {
            answered++
            question?.onProgress?.({
              router: store,
              learnt: [],
              asked: Math.max(length, answered),
              answered,
              failed: 0,
              hops: 1,
              closest: []
            })
            return value === undefined ? Stream.empty : Stream.make(value)
          }),
          // Anybody can say that a thousand hold it, none of whom gives it.
          Stream.interruptWhen(Effect.sleep(latestMs))
        )
      })
    )

  const search = (key: Uint8Array, question?: GetOptions): Stream.Stream<StoredRecord, RecordStoreError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const rules = yield* Effect.fromResult(rulesOf(key))
        const clock = yield* Clock.Clock
        const quorum = question?.quorum ?? Number.POSITIVE_INFINITY
        const own = Bytes.copy(key)
        const found = new BestRecord(own, rules, () => clock.currentTimeMillisUnsafe())
        const held = yield* Effect.option(local.get(own))
        const mine = held._tag === "Some" ? found.take(held.value) : []
        const others = answers(own, question).pipe(
          Stream.map((value) => found.take({ key: own, value, expiresAt: undefined })),
          Stream.takeUntil(() => found.valid >= quorum),
          Stream.flatMap(Stream.fromIterable)
        )
        return found.valid >= quorum ? Stream.fromIterable(mine) : Stream.concat(Stream.fromIterable(mine), others)
      }).pipe(Effect.mapError(failed(key)))
    )

  return RecordStore.of({
    store,
    put: (key, value, question) =>
      Effect.gen(function* () {
        yield* asOwn(key)(local.put(key, value, question))
        // One that is over already is not told of.
        const held = yield* Effect.option(local.get(key))
        if (held._tag === "Some") yield* tell(held.value)
        const wanted = question?.quorum ?? 1
        if (wanted > 1) return yield* Effect.fail(failed(key)(new QuorumNotReached({ got: 1, wanted })))
      }),
    get: getBy(search, failed),
    search,
    delete: (key) => Effect.andThen(asOwn(key)(local.delete(key)), untell(Bytes.copy(key))),
    list: local.list
  })
})

/** Records of the local network. */
export const layer = (options: Options): Layer.Layer<RecordStore, ProtocolTaken, LocalNetwork | Protocols | Swarm> =>
  Layer.effect(RecordStore, make(options))
