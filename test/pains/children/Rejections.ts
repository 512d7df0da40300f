/**
 * Nodes on real sockets whose streams are reset, whose handlers fail and die, whose peers vanish, and which are
 * stopped in the middle of it. Run with `--unhandled-rejections=strict`: the first rejection that nobody hears ends
 * the process with another code than 0.
 */
import { Context, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import * as net from "node:net"
import { Libp2p, Multiaddr, Protocols, type ProtocolStream, Swarm } from "../../../src/index.ts"

const handlers: ReadonlyArray<
  readonly [string, (stream: ProtocolStream.ProtocolStream) => Effect.Effect<void, string>]
> = [
  ["/fails", () => Effect.fail("it fails")],
  ["/dies", () => Effect.die(new Error("a bug"))],
  ["/throws", () => Effect.sync(() => JSON.parse("no"))],
  ["/rejects", () => Effect.promise(() => Promise.reject(new Error("rejected")))],
  ["/resets", (stream) => stream.reset("no")],
  ["/floods", (stream) => Effect.orDie(Effect.forever(stream.write(new Uint8Array(65_536))))],
  ["/waits", () => Effect.never]
]

const Node = Layer.effectDiscard(
  Effect.gen(function* () {
    const protocols = yield* Protocols.Protocols
    for (const [protocol, handler] of handlers) yield* protocols.handle(protocol, handler)
  })
).pipe(Layer.provideMerge(Libp2p.layerDefault({ listen: ["/ip4/127.0.0.1/tcp/0"] })))

const start = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(Layer.fresh(Node), scope)
  const swarm = Context.get(context, Swarm.Swarm)
  const [first] = yield* swarm.listenAddresses
  if (first === undefined) return yield* Effect.die("it does not listen")
  return { swarm, address: Multiaddr.withPeer(first, swarm.peerId), stop: Scope.close(scope, Exit.void) }
})

/** Streams of every kind at once, each left in another way. */
const storm = (from: Swarm.Swarm["Service"], to: Multiaddr.Multiaddr) =>
  Effect.forEach(
    handlers.flatMap(([protocol]) => [0, 1, 2, 3].map((way) => [protocol, way] as const)),
    ([protocol, way]) =>
      Effect.gen(function* () {
        const stream = yield* from.openStream(to, protocol)
        yield* stream.write(new Uint8Array(1000))
        if (way === 0) yield* stream.read
        if (way === 1) yield* stream.reset("enough")
        if (way === 2) return yield* Effect.fail("gone")
      }).pipe(Effect.scoped, Effect.timeout(200), Effect.exit),
    { concurrency: "unbounded", discard: true }
  )

const program = Effect.gen(function* () {
  for (const stopped of ["who dials", "who listens", "both"] as const) {
    const [a, b] = [yield* start, yield* start]
    yield* storm(a.swarm, b.address)
    const under = yield* Effect.forkChild(storm(a.swarm, b.address))
    yield* Effect.sleep(20)
    // Peers that vanish in the middle of a handshake, and a dial that nobody waits for any more.
    for (let i = 0; i < 5; i++) {
      const socket = net.connect(Multiaddr.toEndpoint(b.address) ?? { host: "127.0.0.1", port: 1 })
      socket.on("error", () => {})
      socket.write("\x13/multistream/1.0.0\n\x07/noise\n", () => socket.resetAndDestroy())
    }
    yield* Effect.exit(Effect.timeout(a.swarm.dial(Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1")), 1))
    const stops = stopped === "who dials" ? [a.stop] : stopped === "who listens" ? [b.stop] : [a.stop, b.stop]
    yield* Effect.all(stops, { concurrency: "unbounded" })
    yield* Effect.exit(storm(a.swarm, b.address))
    yield* Effect.all([a.stop, b.stop], { concurrency: "unbounded" })
    yield* Fiber.join(under)
  }
})

await Effect.runPromise(Effect.provide(program, Logger.layer([])))
console.log("all done")
