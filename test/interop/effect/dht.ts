/**
 * This library as a node of the DHT that does what it is told on its standard
 * input: the contract of ../README.md, and two commands more, with which one
 * peer is told and asked something as no node of good faith would.
 */
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { Effect, Layer, Logger, Option, Schema, Stream } from "effect"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import {
  ContentKey,
  ContentRouting,
  Kad,
  KadRecordStore,
  KadRouting,
  Libp2p,
  MemoryRecordStore,
  Multiaddr,
  PeerId,
  PeerRouting,
  ProtocolStream,
  RecordStore,
  RecordValidators,
  Swarm
} from "../../../src/index.ts"
import * as Message from "../../../src/data/messages/Kad.ts"

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    listen: { type: "string", default: "/ip4/127.0.0.1/tcp/0" },
    mode: { type: "string", default: "server" }
  }
})

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array) => new TextDecoder().decode(value)

/** Knows values that begin with "hello"; the best is the last in the order of their bytes. */
const example: RecordValidators.RecordValidator = {
  validate: (_key, value) => (text(value).startsWith("hello") ? undefined : "it does not begin with hello"),
  select: (_key, values) =>
    values.reduce((best, value, index) => (Buffer.compare(value, values[best] ?? value) > 0 ? index : best), 0)
}

const Node = KadRecordStore.layer().pipe(
  Layer.provideMerge(
    KadRouting.layer({
      mode: values.mode === "client" ? "client" : "server",
      wan: false,
      records: MemoryRecordStore.make()
    })
  ),
  Layer.provideMerge(Libp2p.layerDefault({ listen: [values.listen] })),
  Layer.provide(RecordValidators.layer({ example }))
)

const Command = Schema.fromJsonString(
  Schema.Struct({
    id: Schema.Finite,
    run: Schema.String,
    address: Schema.optional(Schema.String),
    peer: Schema.optional(Schema.String),
    key: Schema.optional(Schema.String),
    value: Schema.optional(Schema.String),
    cid: Schema.optional(Schema.String),
    count: Schema.optional(Schema.Finite)
  })
)
type Command = typeof Command.Type

const protocol = "/ipfs/lan/kad/1.0.0"

/** One message to one peer, and its answer. */
const tell = Effect.fnUntraced(function* (peer: string, message: Uint8Array) {
  const swarm = yield* Swarm.Swarm
  const stream = yield* swarm.openStream(yield* Effect.fromResult(PeerId.fromString(peer)), protocol)
  const messages = ProtocolStream.byteMessages(stream)
  yield* messages.write(message)
  return yield* messages.read
}, Effect.scoped)

const run = Effect.fnUntraced(function* (command: Command) {
  const { address = "", cid = "", count = 1, key = "", peer = "", value = "" } = command
  switch (command.run) {
    case "connect": {
      const swarm = yield* Swarm.Swarm
      yield* swarm.dial(yield* Effect.fromResult(Multiaddr.fromString(address)))
      return {}
    }
    case "table": {
      const [lan] = yield* (yield* Kad.Kad).status
      return { peers: lan?.peers ?? 0 }
    }
    case "refresh":
      yield* (yield* Kad.Kad).refresh
      return {}
    case "find": {
      const routing = yield* PeerRouting.PeerRouting
      const found = yield* routing.findPeer(yield* Effect.fromResult(PeerId.fromString(peer)))
      return { addresses: found.addresses.map(String) }
    }
    case "closest": {
      const routing = yield* PeerRouting.PeerRouting
      const last = yield* Stream.runLast(routing.closestPeers(bytes(key)))
      return {
        peers: Option.match(last, {
          onNone: () => [],
          onSome: ({ closest }) => closest.map(({ peer }) => peer.toString())
        })
      }
    }
    case "put":
      yield* (yield* RecordStore.RecordStore).put(bytes(key), bytes(value))
      return {}
    case "get":
      return { value: text((yield* (yield* RecordStore.RecordStore).get(bytes(key))).value) }
    case "provide":
      yield* (yield* ContentRouting.ContentRouting).provide(yield* Effect.fromResult(ContentKey.fromString(cid)))
      return {}
    case "providers": {
      const routing = yield* ContentRouting.ContentRouting
      const found = routing.findProviders(yield* Effect.fromResult(ContentKey.fromString(cid)))
      return { peers: (yield* Stream.runCollect(Stream.take(found, count))).map(({ peer }) => peer.toString()) }
    }
    case "tell-value": {
      const record = { key: bytes(key), value: bytes(value), timeReceived: "" }
      const answer = yield* Effect.exit(
        tell(peer, Message.encode(Message.make("PutValue", { key: record.key, record })))
      )
      return { answered: answer._tag === "Success" && answer.value !== null }
    }
    case "ask-value": {
      const answer = yield* tell(peer, Message.encode(Message.make("GetValue", { key: bytes(key) })))
      const message = answer === null ? undefined : yield* Effect.fromResult(Message.decode(answer))
      return { value: message?.record === undefined ? null : text(message.record.value ?? new Uint8Array(0)) }
    }
    default:
      return yield* Effect.die(`unknown command ${command.run}`)
  }
})

const print = (line: unknown) => Effect.sync(() => console.log(JSON.stringify(line)))

const program = Effect.gen(function* () {
  const swarm = yield* Swarm.Swarm
  const addresses = (yield* swarm.listenAddresses).map((address) =>
    Multiaddr.withPeer(address, swarm.peerId).toString()
  )
  yield* print({ event: "listening", peer: swarm.peerId.toString(), addresses })
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.flatMap(Schema.decodeEffect(Command)(line), (command) =>
      run(command).pipe(
        Effect.timeout("30 seconds"),
        Effect.matchEffect({
          onSuccess: (ok) => print({ id: command.id, ok }),
          onFailure: (error) => print({ id: command.id, error: error instanceof Error ? error.message : String(error) })
        }),
        Effect.forkScoped
      )
    )
  )
})

/** Standard output is for answers. */
const Log = Logger.layer([
  Logger.make(({ cause, message }) => {
    console.error(message, ...(cause.reasons.length === 0 ? [] : [cause]))
  })
])

NodeRuntime.runMain(Effect.scoped(Effect.provide(program, Node)).pipe(Effect.provide(Log)))
