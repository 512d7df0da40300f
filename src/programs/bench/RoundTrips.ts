/**
 * How many times a message crosses a long link before an application has its
 * first byte. On real sockets through a proxy that holds each piece back; for
 * this library also in the simulator, where nothing but the link takes time.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../layers/security/Noise.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as Simulate from "../../layers/simulation/Simulate.ts"
import * as Tcp from "../../layers/transport/Tcp.ts"
import * as Protocols from "../../services/Protocols.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type Benchmark, pair } from "./Benchmark.ts"
import type { Security } from "./Peers.ts"

/** There and back. */
const linkMs = 63

/** Sends on what `from` says, half a round trip later. */
const relay = (from: net.Socket, to: net.Socket) => {
  const later = (work: () => void) => void setTimeout(work, linkMs / 2)
  from.on("data", (bytes) => later(() => void (to.destroyed || to.write(bytes))))
  from.on("end", () => later(() => to.end()))
  from.on("error", () => to.destroy())
  from.on("close", () => later(() => to.destroy()))
}

/** A port of loopback that leads to another one over a long link, until the scope closes. */
const proxy = (port: number): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: net.Server; readonly sockets: Set<net.Socket> }>((resume) => {
      const sockets = new Set<net.Socket>()
      const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
        const far = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true })
        for (const socket of [near, far]) {
          sockets.add(socket)
          socket.on("close", () => sockets.delete(socket))
        }
        relay(near, far)
        relay(far, near)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(
    Effect.map(({ server }) => {
      const address = server.address()
      return typeof address === "object" && address !== null ? address.port : 0
    })
  )

const protocol = "/bench/echo/1.0.0"

/** In virtual time, with Noise: the round trips, to the millisecond. TLS is OpenSSL's, which knows no virtual time. */
const simulated = (): number => {
  let ms = Number.NaN
  const running = Simulate.start(
    {
      nodes: 2,
      link: { latencyMs: linkMs / 2 },
      layer: () =>
        Protocols.layerHandler(protocol, (stream) =>
          Effect.gen(function* () {
            const bytes = yield* stream.read
            if (bytes !== null) yield* stream.write(bytes)
          })
        ).pipe(
          Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
          Layer.provide(Layer.mergeAll(Tcp.layer, Noise.layer, Yamux.layer())),
          Layer.provideMerge(MemoryPeerStore.layer())
        )
    },
    ({ nodes, world }) =>
      Effect.gen(function* () {
        const [dialer, listener] = nodes
        if (listener === undefined) return
        const target = {
          peer: listener.peerId,
          addresses: [Multiaddr.fromStringUnsafe(`/ip4/10.0.1.1/tcp/4001`)]
        }
        const started = world.timeline.now
        yield* dialer.run(
          Effect.gen(function* () {
            const swarm = yield* Swarm
            const stream = yield* swarm.openStream(target, protocol)
            yield* stream.write(new Uint8Array(1))
            yield* stream.read
            ms = world.timeline.now - started
          }).pipe(Effect.scoped)
        )
      })
  )
  while (running.next().done !== true) {
    // Nothing to show.
  }
  return ms / linkMs
}

const Took = Schema.Struct({ seconds: Schema.Finite })

const benchmark = (name: string, security: Security): Benchmark => ({
  name,
  unit: "trips",
  better: "lower",
  about: `round trips from the dial to the application's first byte over a link of ${linkMs} ms; ${security === "tls" ? "TLS" : "Noise"}`,
  cost: () => ({ start: 2.5, round: 0.5 }),
  ...(security === "noise" && { known: Effect.sync(() => ({ "ours, simulated": simulated() })) }),
  prepare: (stack) =>
    Effect.gen(function* () {
      const [{ address }, dialer] = yield* pair(stack, security)
      const port = yield* proxy(Number(/\/tcp\/(\d+)/.exec(address)?.[1]))
      const far = address.replace(/\/tcp\/\d+/, `/tcp/${port}`)
      // So that compilers have seen the code. No node may learn of the way without the proxy.
      for (let warm = 0; warm < 3; warm++) yield* dialer.ask({ run: "first-byte", address: far }, Took)
      // A proxy cannot hold back TCP's own first round trip.
      const round = dialer.ask({ run: "first-byte", address: far }, Took)
      return { round: Effect.map(round, ({ seconds }) => 1 + (seconds * 1000) / linkMs) }
    })
})

export const roundTrips = [benchmark("round-trips", "noise"), benchmark("round-trips-tls", "tls")]
