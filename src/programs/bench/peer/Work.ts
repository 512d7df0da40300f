/** What the peer is asked to do: one function a command of bench/README.md. */
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import type { ProtocolStream } from "../../../services/ProtocolStream.ts"
import type { Connection, Swarm } from "../../../services/Swarm.ts"
import type * as Dht from "./Dht.ts"
import type * as Lan from "./Lan.ts"
import * as Node from "./Node.ts"

const option = (otherwise: number) => Schema.Finite.pipe(Schema.withDecodingDefault(Effect.succeed(otherwise)))

/** What a command does not use is left out. */
export const Command = Schema.fromJsonString(
  Schema.Struct({
    id: Schema.Finite,
    run: Schema.String,
    address: Schema.String.pipe(Schema.withDecodingDefault(Effect.succeed(""))),
    seconds: option(1),
    size: option(32),
    concurrency: option(1),
    count: option(1),
    connections: option(1),
    streams: option(1)
  })
)
export type Command = typeof Command.Type

type Service = Swarm["Service"]

const since = (started: number) => (performance.now() - started) / 1000
const range = (length: number) => Array.from({ length }, (_, index) => index)
const atOnce = { concurrency: "unbounded" } as const
const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

const dial = (from: Service, address: string) =>
  Effect.flatMap(Effect.fromResult(Multiaddr.fromString(address)), from.dial)

/** As often as the time allows, with that many at once. */
const repeat = <E, R>(seconds: number, concurrency: number, once: (worker: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const started = performance.now()
    const until = started + seconds * 1000
    let count = 0
    const worker = Effect.fnUntraced(function* (index: number) {
      while (performance.now() < until) {
        yield* once(index)
        count++
      }
    })
    yield* Effect.forEach(range(concurrency), worker, { ...atOnce, discard: true })
    return { count, seconds: since(started) }
  })

/** Sends until then, and gives how much, once the listener has told that it has all. */
const uploadOne = Effect.fnUntraced(function* (stream: ProtocolStream, size: number, until: number) {
  const sent = yield* Node.fill(stream.bytes, new Uint8Array(size), () => performance.now() < until)
  yield* stream.closeWrite
  const answer = yield* Node.take(stream, 8)
  const received = Number(new DataView(answer.buffer, answer.byteOffset).getBigUint64(0))
  if (received !== sent) {
    return yield* new Node.PeerFailure({ detail: `sent ${sent} bytes, the listener has ${received}` })
  }
  return sent
})

const upload = Effect.fnUntraced(function* (nodes: ReadonlyArray<Service>, command: Command) {
  const { address, seconds, size } = command
  const connections = yield* Effect.forEach(nodes.slice(0, command.connections), (node) => dial(node, address))
  const streams = yield* Effect.forEach(
    connections.flatMap((connection) => range(command.streams).map(() => connection)),
    (connection) => connection.openStream(Node.sinkProtocol)
  )
  const started = performance.now()
  const sent = yield* Effect.forEach(streams, (stream) => uploadOne(stream, size, started + seconds * 1000), atOnce)
  return { count: sum(sent), seconds: since(started) }
})

/** Asks the listener for as much as can be read, `size` bytes a send. */
const openSource = Effect.fnUntraced(function* (connection: Connection, size: number) {
  const stream = yield* connection.openStream(Node.sourceProtocol)
  const wanted = new Uint8Array(4)
  new DataView(wanted.buffer).setUint32(0, size)
  yield* stream.write(wanted)
  return stream
})

const download = Effect.fnUntraced(function* (node: Service, { address, seconds, size }: Command) {
  const connection = yield* dial(node, address)
  const started = performance.now()
  const until = started + seconds * 1000
  const stream = yield* openSource(connection, size)
  const count = yield* Node.drain(stream.bytes, () => performance.now() >= until)
  const took = since(started)
  yield* stream.reset("enough")
  return { count, seconds: took }
})

/** Takes one batch of bytes ten times a second. */
const readSlowly = (stream: ProtocolStream) => Effect.forever(Effect.andThen(stream.read, Effect.sleep("100 millis")))

/** Bytes a second of seven streams, without and with a slow reader beside them on their connection. */
const slowReader = Effect.fnUntraced(function* (node: Service, { address, seconds, size }: Command) {
  const connection = yield* dial(node, address)
  const seven = Effect.gen(function* () {
    const started = performance.now()
    const until = started + seconds * 1000
    const streams = yield* Effect.forEach(range(7), () => openSource(connection, size))
    let count = 0
    const take = (stream: ProtocolStream) =>
      Node.drain(stream.bytes, (bytes) => {
        count += bytes
        return performance.now() >= until
      })
    // Not until the next bytes: there may be none.
    yield* Effect.timeoutOption(Effect.forEach(streams, take, atOnce), seconds * 1000)
    const rate = count / since(started)
    for (const stream of streams) yield* stream.reset("enough")
    return rate
  })
  const alone = yield* Effect.scoped(seven)
  const slow = yield* openSource(connection, size)
  yield* Effect.forkScoped(Effect.ignore(readSlowly(slow)))
  const beside = yield* Effect.scoped(seven)
  yield* slow.reset("enough")
  return { alone, beside }
})

const firstByte = Effect.fnUntraced(function* (node: Service, address: string) {
  const started = performance.now()
  const connection = yield* dial(node, address)
  yield* Node.echoOnce(connection, 1)
  const seconds = since(started)
  yield* connection.close
  return { seconds }
})

const memory = Effect.gen(function* () {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    yield* Effect.sleep("100 millis")
  }
  return { bytes: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }
})

/** What a command opens ends with the command; nodes, and what is held, with `lasting`. */
export const make = (choice: Node.Choice, first: Service, lasting: Scope.Scope) => {
  const nodes = [first]
  const newNode = Scope.provide(Node.start(choice), lasting)
  const have = Effect.fnUntraced(function* (count: number) {
    while (nodes.length < count) nodes.push(yield* newNode)
  })

  /** Loaded when it is asked for only: a minimal node has none. */
  let network: Dht.Network | undefined
  const dht = (run: keyof Dht.Network, command: Command) =>
    Effect.gen(function* () {
      network ??= (yield* Effect.promise(() => import("./Dht.ts"))).make(lasting)
      return yield* network[run](command)
    })

  let neighbours: Lan.Network | undefined
  const lan = (run: keyof Lan.Network, command: Command) =>
    Effect.gen(function* () {
      neighbours ??= (yield* Effect.promise(() => import("./Lan.ts"))).make(lasting)
      return yield* neighbours[run](command)
    })

  return (command: Command): Effect.Effect<unknown, unknown, Scope.Scope> => {
    const { address, concurrency, count, run, seconds, size } = command
    switch (run) {
      case "upload":
        return Effect.andThen(have(command.connections), upload(nodes, command))
      case "download":
        return download(first, command)
      case "slow-reader":
        return slowReader(first, command)
      case "first-byte":
        return firstByte(first, address)
      case "connections":
        return Effect.andThen(
          have(concurrency),
          repeat(seconds, concurrency, (worker) =>
            Effect.gen(function* () {
              const connection = yield* dial(nodes[worker] ?? first, address)
              yield* Node.echoOnce(connection, 1)
              yield* connection.close
            })
          )
        )
      case "streams":
        return Effect.flatMap(dial(first, address), (connection) =>
          repeat(seconds, concurrency, () => Node.echoOnce(connection, size))
        )
      case "ping":
        return Effect.gen(function* () {
          const stream = yield* (yield* dial(first, address)).openStream(Node.echoProtocol)
          const message = new Uint8Array(size)
          return yield* repeat(seconds, 1, () => Node.exchange(stream, message))
        })
      case "hold":
        return Effect.gen(function* () {
          for (let held = 0; held < count; held++) {
            yield* Node.echoOnce(yield* dial(yield* newNode, address), 1)
          }
          return {}
        })
      case "hold-streams":
        return Effect.gen(function* () {
          const connection = yield* dial(first, address)
          for (let held = 0; held < count; held++) {
            const stream = yield* Scope.provide(connection.openStream(Node.echoProtocol), lasting)
            yield* Node.exchange(stream, new Uint8Array(1))
          }
          return {}
        })
      case "memory":
        return memory
      case "dht-join":
      case "dht-put":
      case "dht-get":
      case "dht-lookup":
        return dht(run, command)
      case "lan-discover":
      case "lan-packets":
        return lan(run, command)
      default:
        return Effect.fail(new Node.PeerFailure({ detail: `no such command: ${run}` }))
    }
  }
}
