/** Two nodes in memory: what the one that dials counts, and the spans it leaves. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Metric, Option, Stream, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as NodeMetricsLayer from "../../../src/layers/observability/NodeMetrics.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { none, Meter } from "../../../src/services/Meter.ts"
import { NodeMetrics } from "../../../src/services/NodeMetrics.ts"
import { Identify } from "../../../src/services/Identify.ts"
import { Ping } from "../../../src/services/Ping.ts"
import * as Protocols from "../../../src/services/Protocols.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import * as Tracing from "../../../src/services/Tracing.ts"

const node = (seed: number, listen: ReadonlyArray<string> = []) =>
  Libp2p.layer({ listen }).pipe(
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer()),
    Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed))),
    Layer.provide(Layer.mergeAll(NodeCrypto.layer, SecureRandom.layerWebCrypto))
  )

/** The value of a series. */
const value = (page: string, series: string): number => {
  const line = page.split("\n").find((found) => found.startsWith(`${series} `))
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
}

const address = "/ip4/127.0.0.1/tcp/4001"

const Listener = Layer.fresh(
  Protocols.layerHandler("/dies/1.0.0", () => Effect.die("a bug")).pipe(Layer.provideMerge(node(1, [address])))
)

const watched = (registry: Metric.MetricRegistry) =>
  Layer.fresh(
    NodeMetricsLayer.layer.pipe(
      Layer.provideMerge(node(2)),
      Layer.provide(NodeMetricsLayer.layerMeter),
      Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, registry))
    )
  )

describe("NodeMetrics", () => {
  it.live("counts what a dialler does, and takes its series along when it ends", () =>
    Effect.gen(function* () {
      const registry: Metric.MetricRegistry = new Map()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const listener = yield* Layer.build(Listener)
          const dialler = yield* Layer.build(watched(registry))
          const swarm = Context.get(dialler, Swarm)
          const { prometheus } = Context.get(dialler, NodeMetrics)
          const connection = yield* swarm.dial(Multiaddr.fromStringUnsafe(address))
          yield* Context.get(dialler, Identify).identified(connection)
          yield* Context.get(dialler, Ping).ping(connection.remotePeer, { count: 3, interval: 0 }).pipe(Stream.runDrain)
          yield* Effect.flip(swarm.dial(Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1")))
          yield* Effect.flip(Effect.scoped(connection.openStream(["/none/1.0.0", "/none/2.0.0"])))
          const page = yield* prometheus
          const of = (series: string) => value(page, series)
          assert.strictEqual(of('libp2p_swarm_dial_latency_seconds_count{outcome="success",num_dials="1"}'), 1)
          assert.strictEqual(of('libp2p_swarm_dial_latency_seconds_count{outcome="failed",num_dials="1"}'), 1)
          assert.strictEqual(of('libp2p_swarm_dials_failed_total{error="AllFailed"}'), 1)
          assert.strictEqual(
            of('libp2p_swarm_dial_errors_total{transport="tcp",error="ConnectionRefused",ip_version="ip4"}'),
            1
          )
          assert.strictEqual(of('libp2p_swarm_attempt_seconds_count{transport="tcp",outcome="success"}'), 1)
          assert.strictEqual(
            of('libp2p_swarm_secure_seconds_count{security="/noise",dir="outbound",outcome="success"}'),
            1
          )
          assert.strictEqual(
            of('libp2p_swarm_multiplex_seconds_count{muxer="/yamux/1.0.0",dir="outbound",outcome="success"}'),
            1
          )
          assert.strictEqual(of("libp2p_ping_rtt_seconds_count"), 3)
          assert.strictEqual(of('libp2p_swarm_streams_opened_total{dir="outbound",protocol="/ipfs/ping/1.0.0"}'), 1)
          assert.strictEqual(of('libp2p_swarm_streams_failed_total{dir="outbound",error="NoCommonProtocol"}'), 1)
          assert.isAbove(of("libp2p_swarm_sent_bytes_total"), 500)
          assert.isAbove(of("libp2p_swarm_received_bytes_total"), 500)
          assert.strictEqual(of("libp2p_identify_protocols_count"), 3)

          const listening = Context.get(listener, Swarm)
          yield* listening.disconnect(swarm.peerId)
          yield* connection.awaitClosed
          yield* Effect.yieldNow
          const after = yield* prometheus
          assert.strictEqual(value(after, 'libp2p_swarm_connections_ended_total{by="remote"}'), 1)
          assert.strictEqual(
            value(after, 'libp2p_swarm_connection_duration_seconds_count{dir="outbound",transport="tcp"}'),
            1
          )
          assert.notInclude(after, "libp2p_swarm_connections{")
        })
      )
      assert.strictEqual(registry.size, 0)
    }).pipe(Effect.provide(MemoryNet.layer()))
  )
})

describe("spans", () => {
  const run = (tracer: Tracer.Tracer) =>
    Effect.scoped(
      Effect.gen(function* () {
        yield* Layer.build(Listener)
        const dialler = yield* Layer.build(Layer.fresh(node(2))).pipe(Effect.withTracer(tracer))
        const swarm = Context.get(dialler, Swarm)
        yield* Effect.scoped(swarm.openStream(Multiaddr.fromStringUnsafe(address), "/ipfs/ping/1.0.0")).pipe(
          Effect.withSpan("mine"),
          Effect.withTracer(tracer)
        )
        yield* Effect.flip(swarm.dial(Multiaddr.fromStringUnsafe("/ip4/127.0.0.1/tcp/1")))
      })
    ).pipe(Effect.provide(MemoryNet.layer()))

  it.live("a dial is one tree, below the span of who asked", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* run(tracer)
      const parents = (span: Tracer.AnySpan): ReadonlyArray<string> =>
        span._tag === "Span" ? [span.name, ...Option.match(span.parent, { onNone: () => [], onSome: parents })] : []
      const trees = spans.map((span) => parents(span).join(" < "))
      assert.includeMembers(trees, [
        "libp2p.dial < mine",
        "libp2p.attempt < libp2p.dial < mine",
        "libp2p.secure < libp2p.upgrade < libp2p.attempt < libp2p.dial < mine",
        "libp2p.multiplex < libp2p.upgrade < libp2p.attempt < libp2p.dial < mine",
        "libp2p.open_stream < mine",
        "libp2p.identify",
        "libp2p.dial"
      ])
      // Every span has ended, and the failure is in the one that failed.
      assert.deepStrictEqual(
        spans.filter(({ status }) => status._tag !== "Ended").map(({ name }) => name),
        []
      )
      const failed = spans.filter(({ status }) => status._tag === "Ended" && status.exit._tag === "Failure")
      assert.includeMembers(
        failed.map((span) => parents(span).join(" < ")),
        ["libp2p.attempt < libp2p.dial"]
      )
      const secure = spans.find(({ name }) => name === "libp2p.secure")
      assert.strictEqual(secure?.attributes.get("libp2p.security"), "/noise")
    })
  )

  it.effect("without a tracer an effect is left as it is, and nobody is told anything", () =>
    Effect.gen(function* () {
      const trace = yield* Tracing.make
      const effect = Effect.succeed(1)
      assert.strictEqual(
        trace("x", () => assert.fail("nobody asked"), effect),
        effect
      )
      assert.isFalse(Tracing.isTraced(trace))
      assert.strictEqual(yield* Meter, none)
    })
  )
})
