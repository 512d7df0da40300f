/**
 * The three roles of the kad-dht test of libp2p, on whatever board they find
 * each other by: a bootstrap says where it is and waits, a provider provides
 * content and puts a record, a querier finds both.
 *
 * https://github.com/libp2p/unified-testing, kad-dht/README.md
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as KadRecordStore from "../../layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../layers/kad/KadRouting.ts"
import * as MemoryRecordStore from "../../layers/records/MemoryRecordStore.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { Kad } from "../../services/Kad.ts"
import { RecordStore } from "../../services/RecordStore.ts"
import * as RecordValidators from "../../services/RecordValidators.ts"
import { Swarm } from "../../services/Swarm.ts"

export const roles = ["bootstrap", "provider", "querier"] as const
export type Role = (typeof roles)[number]

/** Where the roles leave word for each other: values under keys. */
export interface Board<E = never> {
  readonly set: (key: string, value: string) => Effect.Effect<void, E>
  readonly get: (key: string) => Effect.Effect<string | undefined, E>
}

/** A role could not be played to its end. */
export class RoleFailed extends Schema.TaggedError<RoleFailed>()("RoleFailed", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

/** Values of the test say hello; any of them is as good as another. */
const example: RecordValidators.RecordValidator = {
  validate: (_key, value) => (Bytes.toUtf8(value).includes("hello from") ? undefined : "it does not say hello"),
  select: () => 0
}

/** A part in the DHT with the protocol of the public one, in a network whose addresses are private. */
export const layer = (role: Role) =>
  KadRecordStore.layer().pipe(
    Layer.provideMerge(
      KadRouting.layer({
        mode: role === "querier" ? "client" : "server",
        lan: false,
        addresses: "any",
        records: MemoryRecordStore.make()
      })
    ),
    Layer.provide(RecordValidators.layer({ example }))
  )

const lookEvery = "500 millis"

/** What is under the key, once it is there. */
const awaited = <E>(board: Board<E>, key: string): Effect.Effect<string, E> =>
  Effect.flatMap(board.get(key), (value) =>
    value === undefined || value === ""
      ? Effect.andThen(Effect.sleep(lookEvery), awaited(board, key))
      : Effect.succeed(value)
  )

/** Enters the DHT by the bootstrap. */
const enter = Effect.fnUntraced(function* (text: string) {
  const swarm = yield* Swarm
  yield* swarm.dial(yield* Effect.fromResult(Multiaddr.fromString(text)))
  yield* (yield* Kad).entered
})

/** The keys of a run: of the content and of the record. */
const keysOf = (testKey: string) => {
  const digest = sha256(Bytes.fromUtf8(`interop-test-key-${testKey}`))
  return {
    // A DHT knows content by its multihash.
    content: Bytes.concat([Uint8Array.of(0x12, digest.length), digest]),
    record: Bytes.fromUtf8(`/example/data/${testKey}`)
  }
}

/** Provides, puts, and says so. */
const provider = Effect.fnUntraced(function* <E>(board: Board<E>, testKey: string) {
  const { content, record } = keysOf(testKey)
  const { peerId } = yield* Swarm
  yield* enter(yield* awaited(board, `${testKey}_bootstrap_addr`))
  yield* (yield* ContentRouting).provide(content)
  yield* (yield* RecordStore).put(record, Bytes.fromUtf8(`hello from ${peerId.toString()}`))
  yield* board.set(`${testKey}_provider_done`, "done")
})

/** Finds the content and the record of the provider. */
const querier = Effect.fnUntraced(function* <E>(board: Board<E>, testKey: string) {
  const { content, record } = keysOf(testKey)
  const bootstrap = yield* awaited(board, `${testKey}_bootstrap_addr`)
  yield* awaited(board, `${testKey}_provider_done`)
  yield* enter(bootstrap)
  const found = yield* Stream.runHead((yield* ContentRouting).findProviders(content))
  if (found._tag === "None") return yield* new RoleFailed({ detail: "nobody provides the content" })
  const { value } = yield* (yield* RecordStore).get(record)
  yield* Effect.logInfo(`${found.value.peer.toString()} provides, and the record is "${Bytes.toUtf8(value)}"`)
})

/**
 * Plays a role, to the end of what it has to do: a bootstrap and a provider must
 * stay after that. `address` is that of this node, with its peer id.
 */
export const play = Effect.fnUntraced(function* <E>(role: Role, board: Board<E>, testKey: string, address: string) {
  switch (role) {
    case "bootstrap":
      return yield* board.set(`${testKey}_bootstrap_addr`, address)
    case "provider":
      return yield* provider(board, testKey)
    case "querier":
      return yield* querier(board, testKey)
  }
})
