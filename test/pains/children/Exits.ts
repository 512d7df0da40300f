/**
 * A node that is stopped with everything still open: a dial that nobody answers, a peer that says nothing, streams
 * that wait. Nothing here ends the process: it ends because nothing is left.
 */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as net from "node:net"
import { Libp2p, Multiaddr, Protocols, Swarm } from "../../../src/index.ts"

const Node = Protocols.layerHandler("/waits", () => Effect.never).pipe(
  Layer.provideMerge(Libp2p.layerDefault({ listen: ["/ip4/127.0.0.1/tcp/0"] }))
)

const start = (scope: Scope.Scope) =>
  Effect.gen(function* () {
    const swarm = Context.get(yield* Layer.buildWithScope(Layer.fresh(Node), scope), Swarm.Swarm)
    const [first] = yield* swarm.listenAddresses
    if (first === undefined) return yield* Effect.die("it does not listen")
    return { swarm, address: Multiaddr.withPeer(first, swarm.peerId) }
  })

const program = Effect.gen(function* () {
  const scope = yield* Scope.make("parallel")
  const [a, b] = [yield* start(scope), yield* start(scope)]
  const stream = yield* Scope.provide(a.swarm.openStream(b.address, "/waits"), scope)
  yield* stream.write(new Uint8Array(100_000))
  yield* Effect.forkDetach(Effect.exit(stream.read))
  // One that accepts and says nothing, and one that connects and says nothing; neither keeps the process.
  const silent = net.createServer((socket) =>
    socket
      .unref()
      .resume()
      .on("error", () => {})
  )
  yield* Effect.callback<void>((resume) => {
    silent.listen(0, "127.0.0.1", () => resume(Effect.void)).unref()
  })
  const bound = silent.address()
  const port = bound === null || typeof bound === "string" ? 1 : bound.port
  yield* Effect.forkDetach(Effect.exit(a.swarm.dial(Multiaddr.fromStringUnsafe(`/ip4/127.0.0.1/tcp/${port}`))))
  const mute = net.connect(Multiaddr.toEndpoint(b.address) ?? { host: "127.0.0.1", port: 1 })
  mute.unref().on("error", () => {})
  yield* Effect.sleep(50)
  yield* Effect.timeout(Scope.close(scope, Exit.void), "5 seconds")
})

await Effect.runPromise(program)
console.log("stopped")
// What this file itself made is unref'd; whatever else is listed would keep the process.
setImmediate(() =>
  console.log(
    `left: ${process
      .getActiveResourcesInfo()
      .filter((kind) => /^(TCPServer|Timeout|Immediate|GetAddrInfo|DNS|Query)/.test(kind) && kind !== "Immediate")
      .join(" ")}`
  )
)
