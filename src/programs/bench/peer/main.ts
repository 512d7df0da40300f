/**
 * This library's side of the benchmarks: takes commands on stdin and answers on
 * stdout. The contract is described in bench/README.md.
 */
import process from "node:process"
import { createInterface } from "node:readline"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Effect, Schema, Scope, Stream } from "effect"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import type { Swarm } from "../../../services/Swarm.ts"
import * as Node from "./Node.ts"

/** What a command does not use is left out. */
const Command = Schema.fromJsonString(
  Schema.Struct({
    id: Schema.Finite,
    run: Schema.String,
    address: Schema.String.pipe(Schema.withDecodingDefault(Effect.succeed(""))),
    seconds: Schema.Finite.pipe(Schema.withDecodingDefault(Effect.succeed(1))),
    size: Schema.Finite.pipe(Schema.withDecodingDefault(Effect.succeed(32))),
    concurrency: Schema.Finite.pipe(Schema.withDecodingDefault(Effect.succeed(1))),
    count: Schema.Finite.pipe(Schema.withDecodingDefault(Effect.succeed(1)))
  })
)
type Command = typeof Command.Type

const print = (line: unknown) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(line)}\n`))
const since = (started: number) => (performance.now() - started) / 1000

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
    yield* Effect.forEach(
      Array.from({ length: concurrency }, (_, index) => index),
      worker,
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    return { count, seconds: since(started) }
  })

const upload = Effect.fnUntraced(function* (swarm: Swarm["Service"], { address, seconds, size }: Command) {
  const connection = yield* swarm.dial(yield* Effect.fromResult(Multiaddr.fromString(address)))
  const stream = yield* connection.openStream(Node.sinkProtocol)
  const started = performance.now()
  const until = started + seconds * 1000
  const sent = yield* Node.fill(stream.bytes, new Uint8Array(size), () => performance.now() < until)
  yield* stream.closeWrite
  const answer = yield* Node.take(stream, 8)
  const received = Number(new DataView(answer.buffer, answer.byteOffset).getBigUint64(0))
  if (received !== sent)
    return yield* new Node.PeerFailure({ detail: `sent ${sent} bytes, the listener has ${received}` })
  return { count: sent, seconds: since(started) }
})

const download = Effect.fnUntraced(function* (swarm: Swarm["Service"], { address, seconds, size }: Command) {
  const connection = yield* swarm.dial(yield* Effect.fromResult(Multiaddr.fromString(address)))
  const stream = yield* connection.openStream(Node.sourceProtocol)
  const wanted = new Uint8Array(4)
  new DataView(wanted.buffer).setUint32(0, size)
  const started = performance.now()
  const until = started + seconds * 1000
  yield* stream.write(wanted)
  const count = yield* Node.drain(stream.bytes, () => performance.now() >= until)
  const took = since(started)
  yield* stream.reset("enough")
  return { count, seconds: took }
})

const memory = Effect.gen(function* () {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    yield* Effect.sleep("100 millis")
  }
  return { bytes: process.memoryUsage.rss() }
})

/** `nodeScope` ends with the program; what a command opens ends with the command, unless it is held. */
const makeWork = (first: Swarm["Service"], nodeScope: Scope.Scope) => {
  const nodes = [first]
  const newNode = Scope.provide(Node.start, nodeScope)
  const dial = (from: Swarm["Service"], address: string) =>
    Effect.flatMap(Effect.fromResult(Multiaddr.fromString(address)), from.dial)

  return (command: Command): Effect.Effect<unknown, unknown, Scope.Scope> => {
    const { address, concurrency, count, run, seconds, size } = command
    switch (run) {
      case "upload":
        return upload(first, command)
      case "download":
        return download(first, command)
      case "connections":
        return Effect.gen(function* () {
          while (nodes.length < concurrency) nodes.push(yield* newNode)
          return yield* repeat(seconds, concurrency, (worker) =>
            Effect.gen(function* () {
              const connection = yield* dial(nodes[worker] ?? first, address)
              yield* Node.echoOnce(connection, 1)
              yield* connection.close
            })
          )
        })
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
      case "memory":
        return memory
      default:
        return Effect.fail(new Node.PeerFailure({ detail: `no such command: ${run}` }))
    }
  }
}

const program = Effect.gen(function* () {
  const swarm = yield* Node.start
  const ready = process.argv[2] === "listen" ? { address: yield* Node.listen(swarm) } : {}
  const work = makeWork(swarm, yield* Effect.scope)
  yield* print({ event: "ready", ...ready })
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.flatMap(Schema.decodeEffect(Command)(line), (command) =>
      Effect.scoped(work(command)).pipe(
        Effect.matchCauseEffect({
          onSuccess: (ok) => print({ id: command.id, ok }),
          onFailure: (cause) => print({ id: command.id, error: Cause.pretty(cause) })
        })
      )
    )
  )
  // What is still open is not worth an orderly end.
  return yield* Effect.sync(() => process.exit(0))
})

NodeRuntime.runMain(Effect.scoped(program))
