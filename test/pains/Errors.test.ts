/** Errors that cannot be used, limits that cannot be understood, wiring that fails at run time, failures that leave no trace. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Logger, Metric, Result, Schema, Stream, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import {
  type Crypto,
  type ConnectionSecurity,
  type Identity,
  IdentityFromSeed,
  Libp2p,
  MemoryNet,
  MemoryPeerStore,
  Multiaddr,
  Net,
  NodeCrypto,
  type PeerStore,
  Ping,
  Protocols,
  ResourceManager,
  type StreamMuxer,
  Swarm,
  type Transport
} from "../../src/index.ts"
import * as NodeMetricsLayer from "../../src/layers/observability/NodeMetrics.ts"
import { NodeMetrics } from "../../src/services/NodeMetrics.ts"
import { simulate } from "../../src/testing.ts"
import { bytes, dial, handle, nth } from "./kit.ts"

/** A name for each reason of an attempt. It does not compile when a reason is added and not named here. */
const exhaustive = (reason: Swarm.AttemptReason): string => {
  switch (reason._tag) {
    case "NoTransport":
    case "AnotherPeer":
    case "UnresolvedName":
    case "BackingOff":
    case "BlackHoled":
    case "Denied":
    case "SwarmUnavailable":
      return reason._tag
    case "LimitExceeded":
      return `${reason._tag} ${reason.scope}`
    case "DeadlineExceeded":
      return `${reason._tag} ${reason.stage}`
    case "TransportFailed":
      return reason.cause.reason._tag === "NetworkFailure" ? reason.cause.reason.cause.reason._tag : "TransportFailed"
    case "SecurityFailed":
    case "NegotiationFailed":
      return reason.cause.reason._tag
  }
}

describe("8 errors", () => {
  it(
    "8 a failed dial is one value with a typed reason for each address, and a message that a person can use",
    simulate({ nodes: 3 }, ({ faults, nodes }) =>
      Effect.gen(function* () {
        const [a, b, c] = [nth(nodes, 0), nth(nodes, 1), nth(nodes, 2)]
        const parse = Multiaddr.fromStringUnsafe
        yield* faults.addressChange(c, [...c.host.addresses, "10.9.9.1"])
        const error = yield* Effect.flip(
          a.run(
            Effect.flatMap(Swarm.Swarm, (swarm) =>
              swarm.dial({
                peer: b.peerId,
                addresses: [
                  parse("/ip4/10.0.1.1/tcp/9"),
                  parse("/ip4/10.9.9.1/tcp/4001"),
                  parse("/ip4/10.0.1.1/udp/4001/quic-v1"),
                  parse(`/ip4/10.0.2.1/tcp/4001/p2p/${c.peerId.toString()}`)
                ]
              })
            )
          )
        )
        if (error._tag !== "DialError") return assert.fail(error._tag)
        assert.strictEqual(error.peer, b.peerId.toString())
        assert.strictEqual(error.reason._tag, "AllFailed")
        assert.deepStrictEqual(
          Object.fromEntries(
            error.attempts.map(({ address, reason }) => [address.split("/p2p/")[0], exhaustive(reason)])
          ),
          {
            "/ip4/10.0.1.1/tcp/9": "ConnectionRefused",
            "/ip4/10.9.9.1/tcp/4001": "WrongPeer",
            "/ip4/10.0.1.1/udp/4001/quic-v1": "NoTransport",
            "/ip4/10.0.2.1/tcp/4001": "AnotherPeer"
          }
        )
        for (const { address } of error.attempts) assert.include(error.message, address)
        assert.notInclude(error.message, "\n")
        // It is data: it can be stored, sent and read again, and is the same.
        const codec = Schema.toCodecJson(Swarm.DialError)
        const text = JSON.stringify(yield* Schema.encodeEffect(codec)(error))
        const again = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(text))
        assert.instanceOf(again, Swarm.DialError)
        assert.strictEqual(again.message, error.message)
        assert.deepStrictEqual(
          again.attempts.map(({ reason }) => exhaustive(reason)),
          error.attempts.map(({ reason }) => exhaustive(reason))
        )
      })
    )
  )

  it(
    "8 every error of an operation is in its type: when all are caught, none is left",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        yield* b.stop
        const caught: Effect.Effect<string, never, Ping.Ping> = Effect.flatMap(Ping.Ping, ({ ping }) =>
          Stream.runDrain(ping({ peer: b.peerId, addresses: b.addresses() }, { count: 1 })).pipe(
            Effect.as("pong"),
            Effect.catchTags({
              DialError: ({ attempts }) => Effect.succeed(attempts.map(({ reason }) => exhaustive(reason)).join()),
              OpenStreamError: ({ reason }) => Effect.succeed(reason._tag),
              PingError: ({ reason }) => Effect.succeed(reason._tag)
            })
          )
        )
        assert.strictEqual(yield* a.run(caught), "ConnectionRefused")
      })
    )
  )
})

describe("18 limits", () => {
  it(
    "18 a refusal names the limit, its scope and its use, and the table of limits shows it",
    simulate(
      {
        nodes: 2,
        layer: (node) =>
          Libp2p.layer({
            listen: ["/ip4/0.0.0.0/tcp/4001"],
            limits: node.index === 0 ? { protocols: { "/heavy": { streamsOutbound: 2 } } } : {}
          }).pipe(Layer.provide(Libp2p.layerTcp), Layer.provideMerge(MemoryPeerStore.layer()))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
          yield* handle(b, "/heavy", () => Effect.never)
          const connection = yield* dial(a, b)
          yield* a.run(
            Effect.gen(function* () {
              yield* connection.openStream("/heavy")
              yield* connection.openStream("/heavy")
              const { message, reason } = yield* Effect.flip(connection.openStream("/heavy"))
              assert.deepStrictEqual(
                reason,
                new ResourceManager.LimitExceeded({
                  scope: "protocol /heavy",
                  resource: "outbound streams",
                  limit: 2,
                  current: 2
                })
              )
              assert.match(
                message,
                /limit of 2 outbound streams of protocol \/heavy reached \(2 in use\).*docs\/limits\.md/
              )
              const resources = yield* ResourceManager.ResourceManager
              // What was set is what is in force, and the rest has its defaults.
              assert.strictEqual(resources.limits.protocols["/heavy"]?.streamsOutbound, 2)
              assert.isAbove(resources.limits.system.connections, 0)
              const row = (yield* resources.usage).find(
                ({ resource, scope }) => scope === "protocol /heavy" && resource === "outbound streams"
              )
              assert.deepStrictEqual(row, {
                scope: "protocol /heavy",
                resource: "outbound streams",
                limit: 2,
                current: 2,
                peak: 2,
                refused: 1
              })
            }).pipe(Effect.scoped)
          )
        })
    )
  )
})

describe("21 wiring", () => {
  type Same<A, B> = [A, B] extends [B, A] ? true : false
  /** Whether the compiler lets it start: nothing is missing. */
  type Starts<L> = L extends Layer.Layer<infer _A, infer _E> ? true : false
  type Runs<E> = E extends Effect.Effect<infer _A, infer _E> ? true : false
  const withoutNet = Libp2p.layer().pipe(
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32))),
    Layer.provideMerge(Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto))
  )
  const whole = withoutNet.pipe(Layer.provide(MemoryNet.layer()))

  it("21 a service that is missing is an error of the compiler, which names it", () => {
    const starts: [Starts<typeof withoutNet>, Starts<typeof whole>] = [false, true]
    const missing: Same<Layer.Services<typeof withoutNet>, Net.Net> = true
    const all: Same<
      Layer.Services<ReturnType<typeof Libp2p.layer>>,
      | Transport.Transport
      | ConnectionSecurity.ConnectionSecurity
      | StreamMuxer.StreamMuxer
      | PeerStore.PeerStore
      | Identity.Identity
      | Crypto.Crypto
      | Net.Net
      | SecureRandom.SecureRandom
    > = true
    assert.deepStrictEqual([...starts, missing, all], [false, true, true, true])
  })

  it.effect("21 a program that uses what its node does not have does not compile; with the right node it runs", () =>
    Effect.gen(function* () {
      const pings = Effect.flatMap(Ping.Ping, ({ ping }) =>
        Stream.runDrain(ping(Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1"), { count: 1 }))
      )
      const complete = Effect.provide(pings, whole)
      const runs: [Runs<typeof pings>, Runs<typeof complete>] = [false, true]
      assert.deepStrictEqual(runs, [false, true])
      assert.strictEqual((yield* Effect.flip(complete))._tag, "DialError")
    })
  )
})

describe("25 failures that can be seen", () => {
  const node = (seed: number, listen: ReadonlyArray<string> = []) =>
    Libp2p.layer({ listen }).pipe(
      Layer.provide(Libp2p.layerTcp),
      Layer.provideMerge(MemoryPeerStore.layer()),
      Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
      Layer.provide(Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto))
    )

  it.live(
    "25 a dial, a handshake and a handler that fail leave an event, a count, and a span or a log with the cause",
    () => {
      const registry: Metric.MetricRegistry = new Map()
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        logged.push(`${logLevel} ${String(message)} ${Cause.pretty(cause)}`)
      })
      const Watched = NodeMetricsLayer.layer.pipe(
        Layer.provideMerge(
          Protocols.layerHandler("/dies", () => Effect.die(new Error("a bug in the handler"))).pipe(
            Layer.provideMerge(node(1, ["/ip4/0.0.0.0/tcp/4001"]))
          )
        ),
        Layer.provide(NodeMetricsLayer.layerMeter),
        Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, registry)),
        Layer.fresh
      )
      return Effect.gen(function* () {
        const network = yield* MemoryNet.makeNetwork()
        const [here, there] = [network.host(["10.0.0.1"]), network.host(["10.0.1.1"])]
        const context = yield* Layer.build(Layer.provide(Watched, here)).pipe(
          Effect.withTracer(tracer),
          Effect.provide(Logger.layer([logger]))
        )
        const swarm = Context.get(context, Swarm.Swarm)
        const events: Array<Swarm.SwarmEvent> = []
        yield* Effect.forkScoped(
          Stream.runForEach(swarm.events, (event) => Effect.sync(() => void events.push(event))),
          { startImmediately: true }
        )
        const other = yield* Layer.build(Layer.fresh(Layer.merge(Layer.provide(node(2), there), there)))
        // A dial that is refused.
        const refused = yield* Effect.flip(swarm.dial(Multiaddr.fromStringUnsafe("/ip4/10.0.1.1/tcp/9")))
        // A remote that speaks another language.
        yield* Effect.scoped(
          Effect.gen(function* () {
            const socket = yield* Context.get(other, Net.Net).connect({ host: "10.0.0.1", port: 4001 })
            socket.tryWrite(Buffer.from("GET / HTTP/1.1\r\n\r\n"))
            socket.flush()
            yield* Effect.exit(socket.readable)
          })
        )
        // A handler with a bug.
        const answer = yield* Context.get(other, Swarm.Swarm)
          .openStream(Multiaddr.withPeer(Multiaddr.fromStringUnsafe("/ip4/10.0.0.1/tcp/4001"), swarm.peerId), "/dies")
          .pipe(
            Effect.flatMap((stream) => Effect.andThen(stream.write(bytes(1)), stream.read)),
            Effect.scoped,
            Effect.result
          )
        assert.isTrue(Result.isFailure(answer))
        while (!events.some(({ _tag }) => _tag === "HandlerFailed")) yield* Effect.sleep(1)

        const failed = events.find((event) => event._tag === "DialFailed")
        assert.strictEqual(failed?.error, refused)
        const inbound = events.find((event) => event._tag === "InboundFailed")
        assert.strictEqual(inbound === undefined ? undefined : exhaustive(inbound.reason), "MalformedNegotiation")
        const handler = events.find((event) => event._tag === "HandlerFailed")
        assert.deepInclude(handler, { protocol: "/dies", died: true })

        const counters = yield* swarm.counters
        assert.deepStrictEqual([counters.dialsFailed, counters.inboundFailed], [1, 1])
        const page = yield* Context.get(context, NodeMetrics).prometheus
        for (const line of [
          'libp2p_swarm_dials_failed_total{error="AllFailed"} 1',
          'libp2p_swarm_dial_errors_total{transport="tcp",error="ConnectionRefused",ip_version="ip4"} 1',
          'libp2p_swarm_inbound_failed_total{error="MalformedNegotiation"} 1',
          'libp2p_swarm_handlers_failed_total{protocol="/dies",outcome="died"} 1'
        ]) {
          assert.include(page, line)
        }

        const causes = new Map<string, string>()
        for (const { name, status } of spans) {
          if (status._tag === "Ended" && Exit.isFailure(status.exit)) causes.set(name, Cause.pretty(status.exit.cause))
        }
        assert.match(causes.get("libp2p.attempt") ?? "", /connection refused/)
        const dialSpan = spans.find(({ name }) => name === "libp2p.dial")
        assert.strictEqual(dialSpan?.attributes.get("error.type"), "AllFailed")
        assert.match(causes.get("libp2p.upgrade") ?? "", /multistream/)
        assert.match(causes.get("libp2p.handle") ?? "", /a bug in the handler/)
        const log = logged.find((line) => line.includes("the handler of /dies died"))
        assert.match(log ?? "", /^Warn .*a bug in the handler/s)
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
    }
  )
})
