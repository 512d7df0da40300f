// A service that answers, and a client that asks: two nodes in one process.
import { Effect, Layer, Stream } from "effect"
import { Libp2p, Protocols, Swarm } from "effect-libp2p"

const Echo = Protocols.layerHandler("/echo/1.0.0", (stream) => Stream.run(stream.readable, stream.writable))

const Server = Echo.pipe(Layer.provideMerge(Libp2p.layerDefault({ listen: ["/ip4/127.0.0.1/tcp/0"] })))

export const program = Effect.gen(function* () {
  const server = yield* Swarm.Swarm
  const addresses = yield* server.listenAddresses

  return yield* Effect.gen(function* () {
    const client = yield* Swarm.Swarm
    const stream = yield* client.openStream({ peer: server.peerId, addresses }, "/echo/1.0.0")
    yield* stream.write(new TextEncoder().encode("hello"))
    yield* stream.closeWrite
    return yield* stream.readable.pipe(Stream.decodeText(), Stream.mkString)
  }).pipe(Effect.scoped, Effect.provide(Libp2p.layerDefault(), { local: true }))
}).pipe(Effect.provide(Server, { local: true }))
