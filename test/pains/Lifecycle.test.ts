/** What other stacks do to their host: crash it, keep it from ending, leak listeners, wait for ever; and nodes that start only once. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import {
  Actors,
  ConnectionGater,
  Identify,
  Net,
  PeerStore,
  Ping,
  Protocols,
  ResourceManager,
  Swarm
} from "../../src/index.ts"
import { type NodeInfo, type SimNode, simulate, type Simulation, wholeNode } from "../../src/testing.ts"
import { bytes, dial, handle, nth, timed } from "./kit.ts"

/** Runs one of the programs beside this file until it ends by itself. */
const child = (program: string, flags: ReadonlyArray<string> = []) =>
  new Promise<{ readonly code: number | string | null; readonly stdout: string; readonly stderr: string }>(
    (resolve) => {
      const file = Path.join(import.meta.dirname, "children", program)
      execFile(process.execPath, [...flags, file], { timeout: 25_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (error.code ?? null), stdout, stderr })
      )
    }
  )

describe("2, 3, 5 the process of a node", () => {
  it("2 no rejection is left unhandled: resets, failing handlers, vanishing peers and stops end with code 0", async () => {
    assert.deepStrictEqual(await child("Rejections.ts", ["--unhandled-rejections=strict"]), {
      code: 0,
      stdout: "all done\n",
      stderr: ""
    })
  })

  it("3 the process ends by itself after stop(), whatever was open: nothing is left that keeps it", async () => {
    assert.deepStrictEqual(await child("Exits.ts"), { code: 0, stdout: "stopped\nleft: \n", stderr: "" })
  })

  it("5 a thousand dials leave no listener behind and provoke no warning", async () => {
    assert.deepStrictEqual(await child("Dials.ts", ["--trace-warnings"]), {
      code: 0,
      stdout: "1000 dials, 50 or more connections\n",
      stderr: ""
    })
  })
})

describe("4 starting again", () => {
  it(
    "4 a node that was stopped starts again, many times, from the same layer: nothing of its last life is left",
    simulate(
      {
        nodes: 2,
        layer: (node) =>
          Protocols.layerHandler("/echo", (stream) => Stream.run(stream.readable, stream.writable)).pipe(
            Layer.provideMerge(wholeNode(node))
          )
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
          const facts = a.run(
            Effect.gen(function* () {
              const swarm = yield* Swarm.Swarm
              return {
                connections: (yield* swarm.connections()).length,
                counters: yield* swarm.counters,
                listening: (yield* swarm.listenAddresses).map(String),
                protocols: yield* (yield* Protocols.Protocols).registered,
                peers: yield* (yield* PeerStore.PeerStore).size,
                observed: yield* (yield* Identify.Identify).observed,
                scopes: (yield* ResourceManager.ResourceManager).scopeCount(),
                usage: (yield* (yield* ResourceManager.ResourceManager).usage).filter(({ peak }) => peak > 0),
                actors: (yield* (yield* Actors.Actors).tree).map(({ name, restarts, state }) => [name, restarts, state])
              }
            })
          )
          yield* Effect.sleep(1)
          const fresh = yield* facts
          assert.deepStrictEqual([fresh.connections, fresh.peers, fresh.counters.outboundOpened], [0, 0, 0])
          for (let life = 0; life < 5; life++) {
            const connection = yield* dial(a, b)
            yield* a.run(Effect.flatMap(Identify.Identify, ({ identified }) => identified(connection)))
            const answer = yield* a.run(
              Effect.scoped(
                Effect.flatMap(connection.openStream("/echo"), (stream) =>
                  stream.write(bytes(5)).pipe(Effect.andThen(stream.read))
                )
              )
            )
            assert.deepStrictEqual(answer, bytes(5))
            assert.notDeepEqual(yield* facts, fresh)
            yield* a.stop
            yield* a.start
            yield* Effect.sleep(1)
            assert.deepStrictEqual(yield* facts, fresh, `life ${life}`)
          }
          // The other end has noticed each time.
          const left = yield* b.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.connections()))
          yield* Effect.sleep("10 seconds")
          assert.isAtMost(left.length, 1)
        })
    )
  )
})

/** A whole node, with the network beneath it for a peer that keeps no rules. */
const withNet = (node: NodeInfo) => Layer.mergeAll(wholeNode(node), Layer.effect(Net.Net, Net.Net))
type Services = Layer.Success<ReturnType<typeof withNet>>
type Node = SimNode<Services>

interface Wait {
  readonly name: string
  /** The tags of the failure, or `done`. */
  readonly ends: string
  readonly withinMs: number
  /** Arranges for what never answers, and gives the effect that would wait for it. */
  readonly of: (
    a: Node,
    b: Node,
    simulation: Simulation<Services>
  ) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown>
}

/** A connection whose wire is cut without a word a moment later. */
const cut = (
  a: Node,
  b: Node,
  { faults }: Simulation<Services>,
  use: (connection: Swarm.Connection) => Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function* () {
    const connection = yield* dial(a, b)
    yield* a.run(Effect.flatMap(Identify.Identify, ({ identified }) => identified(connection)))
    yield* Effect.sleep("1 second")
    yield* faults.partition([a], [b])
    return a.run(use(connection))
  })

const tagOf = (error: unknown): string => {
  if (error instanceof Swarm.DialError) {
    const tags = new Set(
      error.attempts.map(({ reason }) =>
        reason._tag === "DeadlineExceeded" ? `${reason._tag} ${reason.stage}` : reason._tag
      )
    )
    return [error.reason._tag, ...tags].join(" ")
  }
  if (typeof error === "object" && error !== null && "reason" in error) {
    const { reason } = error
    if (typeof reason === "object" && reason !== null && "_tag" in reason) return String(reason._tag)
  }
  return String(error)
}

const waits: ReadonlyArray<Wait> = [
  {
    name: "a dial to a host that swallows everything",
    ends: "AllFailed DeadlineExceeded dialing",
    withinMs: 10_000,
    of: (a, b, { faults }) => Effect.as(faults.partition([a], [b]), dial(a, b))
  },
  {
    name: "a dial to a host that accepts and says nothing",
    ends: "AllFailed DeadlineExceeded securing",
    withinMs: 10_010,
    of: (a, b) =>
      Effect.map(
        Effect.forkChild(
          b.run(
            Effect.scoped(
              Effect.flatMap(Net.Net, (net) =>
                Effect.andThen(net.listen({ host: "0.0.0.0", port: 4002 }), Effect.never)
              )
            )
          )
        ),
        () =>
          Effect.andThen(
            Effect.sleep(1),
            a.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.dial({ peer: b.peerId, addresses: b.addresses(4002) })))
          )
      )
  },
  {
    name: "a dial of a peer with a hundred addresses that swallow everything",
    ends: "AllFailed DeadlineExceeded dialing",
    withinMs: 60_000,
    of: (a, b, { faults }) =>
      Effect.as(
        Effect.andThen(
          faults.addressChange(
            b,
            Array.from({ length: 100 }, (_, i) => `10.1.${i}.1`)
          ),
          faults.partition([a], [b])
        ),
        dial(a, b)
      )
  },
  {
    name: "an inbound connection that says nothing",
    ends: "done",
    withinMs: 10_100,
    of: (a, b) =>
      Effect.map(
        Effect.forkChild(
          b.run(
            Effect.scoped(
              Effect.flatMap(Net.Net, (net) =>
                Effect.andThen(net.connect({ host: nth(a.host.addresses, 0), port: 4001 }), Effect.never)
              )
            )
          )
        ),
        () =>
          a.run(
            Effect.flatMap(Swarm.Swarm, ({ events }) =>
              Stream.runHead(
                Stream.filter(
                  events,
                  (event) => event._tag === "InboundFailed" && event.reason._tag === "DeadlineExceeded"
                )
              )
            )
          )
      )
  },
  {
    name: "agreeing on a protocol",
    ends: "NegotiationTimeout",
    withinMs: 10_000,
    of: (a, b, simulation) =>
      cut(a, b, simulation, (connection) => Effect.scoped(connection.openStream(["/one", "/two"])))
  },
  {
    name: "identify",
    ends: "IdentifyTimeout",
    withinMs: 10_000,
    of: (a, b, { faults }) =>
      Effect.gen(function* () {
        const connection = yield* dial(a, b)
        yield* faults.partition([a], [b])
        return a.run(Effect.flatMap(Identify.Identify, ({ identified }) => identified(connection)))
      })
  },
  {
    name: "a ping",
    ends: "PingTimeout",
    withinMs: 10_000,
    of: (a, b, simulation) =>
      Effect.as(
        cut(a, b, simulation, () => Effect.void),
        a.run(Effect.flatMap(Ping.Ping, ({ ping }) => Stream.runDrain(ping(b.peerId, { count: 1 }))))
      )
  },
  {
    name: "a round trip of the muxer",
    ends: "KeepAliveTimeout",
    withinMs: 60_000,
    of: (a, b, simulation) => cut(a, b, simulation, (connection) => connection.ping)
  },
  {
    name: "a read from a peer that vanished",
    ends: "ConnectionLost",
    withinMs: 60_000,
    of: (a, b, simulation) =>
      Effect.andThen(
        handle(b, "/waits", () => Effect.never),
        cut(a, b, simulation, (connection) =>
          Effect.scoped(Effect.flatMap(connection.openStream("/waits"), (stream) => stream.read))
        )
      )
  },
  {
    name: "a write to a peer that vanished",
    ends: "ConnectionLost",
    withinMs: 60_000,
    of: (a, b, simulation) =>
      Effect.andThen(
        handle(b, "/waits", () => Effect.never),
        cut(a, b, simulation, (connection) =>
          Effect.scoped(
            Effect.flatMap(connection.openStream("/waits"), (stream) =>
              Effect.forever(stream.write(new Uint8Array(65_536)))
            )
          )
        )
      )
  },
  {
    name: "the end of a connection whose peer vanished",
    ends: "done",
    withinMs: 60_000,
    of: (a, b, simulation) => cut(a, b, simulation, (connection) => connection.awaitClosed)
  },
  {
    name: "closing a connection whose peer vanished",
    ends: "done",
    withinMs: 5000,
    of: (a, b, simulation) => cut(a, b, simulation, (connection) => connection.close)
  },
  {
    name: "stopping a node whose peer vanished",
    ends: "done",
    withinMs: 10_000,
    of: (a, b, simulation) =>
      Effect.as(
        cut(a, b, simulation, () => Effect.void),
        a.stop
      )
  }
]

describe("7 waits", () => {
  for (const { ends, name, of, withinMs } of waits) {
    it(
      `7 ${name} ends by its deadline, and says so`,
      simulate({ nodes: 2, layer: withNet }, (simulation) =>
        Effect.gen(function* () {
          const [a, b] = [nth(simulation.nodes, 0), nth(simulation.nodes, 1)]
          const waiting = yield* of(a, b, simulation)
          const { ms, result } = yield* timed(Effect.timeout(waiting, "1 hour"))
          assert.strictEqual(result._tag === "Failure" ? tagOf(result.failure) : "done", ends)
          assert.isAtMost(ms, withinMs)
          assert.isAbove(ms, name.startsWith("stopping") || name.startsWith("closing") ? -1 : 100)
        })
      )
    )
  }

  for (const [stage, ends] of [
    ["dialPeer", "DialTimeout"],
    ["dialAddress", "AllFailed DeadlineExceeded dialing"],
    ["secured", "AllFailed DeadlineExceeded securing"],
    ["upgraded", "AllFailed DeadlineExceeded multiplexing"]
  ] as const) {
    it(
      `7 a gater that never answers at ${stage} ends by the deadline of the dial`,
      simulate(
        {
          nodes: 2,
          layer: (node) =>
            node.index === 1
              ? wholeNode(node)
              : wholeNode(node).pipe(
                  Layer.provide(Layer.succeed(ConnectionGater.ConnectionGater, { [stage]: () => Effect.never }))
                )
        },
        ({ nodes }) =>
          Effect.gen(function* () {
            const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
            const { ms, result } = yield* timed(dial(a, b))
            assert.strictEqual(result._tag === "Failure" ? tagOf(result.failure) : "connected", ends)
            assert.isAtMost(ms, 60_000)
          })
      )
    )
  }
})
