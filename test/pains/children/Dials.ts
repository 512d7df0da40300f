/**
 * 1,000 dials in one process, that are answered, refused, shared, interrupted. Run with `--trace-warnings`: a leak of
 * listeners shows as a MaxListenersExceededWarning on stderr.
 */
import { Context, Effect, Layer, Logger } from "effect"
import { Libp2p, Multiaddr, Swarm } from "../../../src/index.ts"

process.on("warning", (warning) => console.error(`warning: ${warning.name}: ${warning.message}`))

const start = (options: Libp2p.Options) =>
  Effect.map(Layer.build(Layer.fresh(Libp2p.layerDefault(options))), (context) => Context.get(context, Swarm.Swarm))

const program = Effect.gen(function* () {
  const listener = yield* start({ listen: ["/ip4/127.0.0.1/tcp/0"] })
  const dialler = yield* start({})
  const [first] = yield* listener.listenAddresses
  if (first === undefined) return yield* Effect.die("it does not listen")
  const address = Multiaddr.withPeer(first, listener.peerId)
  const nobody = Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1")
  let dials = 0
  const count = <A, E, R>(dial: Effect.Effect<A, E, R>) =>
    Effect.andThen(
      Effect.sync(() => dials++),
      Effect.exit(dial)
    )
  for (let round = 0; round < 50; round++) {
    // One connection, for which ten ask at once, and five of them leave.
    yield* Effect.all(
      Array.from({ length: 10 }, (_, i) =>
        count(i % 2 === 0 ? dialler.dial(address) : Effect.timeout(dialler.dial(address), 1))
      ),
      { concurrency: "unbounded" }
    )
    yield* Effect.all(
      Array.from({ length: 10 }, (_, i) =>
        count(i % 2 === 0 ? dialler.dial(nobody) : Effect.timeout(dialler.dial(nobody), 0))
      ),
      { concurrency: "unbounded" }
    )
    yield* dialler.disconnect(listener.peerId)
  }
  const { outboundOpened } = yield* dialler.counters
  console.log(`${dials} dials, ${outboundOpened >= 50 ? "50 or more" : outboundOpened} connections`)
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Logger.layer([]))))
