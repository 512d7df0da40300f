/** Watching a node from outside: its metrics, limits and health over HTTP, and what it sends by OTLP. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as OtlpMetrics from "effect/observability/OtlpMetrics"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as OtlpTracer from "effect/observability/OtlpTracer"
import { name, version } from "../../data/Version.ts"
import * as NodeMetricsLayer from "../../layers/observability/NodeMetrics.ts"
import { Actors } from "../../services/Actors.ts"
import type { Identify } from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import { NodeMetrics } from "../../services/NodeMetrics.ts"
import { ResourceManager } from "../../services/ResourceManager.ts"
import { Swarm } from "../../services/Swarm.ts"
import type { UsageError } from "./Failure.ts"
import { type Answer, json, type Route, serve } from "./HttpEndpoint.ts"
import type { Output } from "./Output.ts"
import * as Peer from "./Peer.ts"
import * as Routed from "./Routed.ts"
import * as RoutingEndpoint from "./RoutingEndpoint.ts"
import * as ProcessMetrics from "./ProcessMetrics.ts"
import type { Settings } from "./Settings.ts"

/** The metrics of the node, and of the process that it runs in. */
const layerNodeMetrics = Layer.effect(
  NodeMetrics,
  Effect.gen(function* () {
    const ofNode = yield* NodeMetrics
    const readProcess = yield* ProcessMetrics.make
    return NodeMetrics.of({
      collect: Effect.andThen(readProcess, ofNode.collect),
      prometheus: Effect.andThen(readProcess, ofNode.prometheus)
    })
  })
).pipe(Layer.provide(NodeMetricsLayer.layer))

// ---- over HTTP

const prometheusType = "text/plain; version=0.0.4; charset=utf-8"

/** What `/limits` answers, and `effect-libp2p limits --of` reads. */
const limits = Effect.gen(function* () {
  const resources = yield* ResourceManager
  const { peerId } = yield* Swarm
  return json({ peer: peerId.toString(), limits: resources.limits, usage: yield* resources.usage })
})

/** Healthy: it listens, if it was told to, and the swarm's actor is there to answer. */
const health = (settings: Settings) =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const swarm = yield* Swarm
    const listening = (yield* swarm.listenAddresses).map(String)
    const connections = (yield* swarm.connections()).length
    const actor = (yield* actors.tree).find((found) => found.name === "swarm")
    const problem =
      actor === undefined
        ? "the swarm has stopped"
        : actor.state === "restarting" || actor.state === "starting"
          ? "the swarm is starting, or failed and is starting again"
          : listening.length === 0 && settings.listen.length > 0
            ? "it does not listen yet, or no longer"
            : undefined
    return json(
      {
        status: problem === undefined ? "ok" : "failing",
        ...(problem === undefined ? {} : { problem }),
        version,
        peer: swarm.peerId.toString(),
        listening,
        connections
      },
      problem === undefined ? 200 : 503
    )
  })

/** Where it is served; undefined when nobody asked for it. */
export class Endpoint extends Context.Service<Endpoint, { readonly url: string | undefined }>()(
  "effect-libp2p/cli/Endpoint"
) {}

const layerEndpoint = <R>(
  settings: Settings,
  at: NonNullable<Settings["metrics"]>,
  more: Readonly<Record<string, Route<R>>>
) =>
  Layer.effect(
    Endpoint,
    Effect.gen(function* () {
      const metrics = yield* NodeMetrics
      const url = yield* serve<Actors | ResourceManager | Swarm | R>(at, {
        ...more,
        "/metrics": Effect.map(metrics.prometheus, (body): Answer => ({ status: 200, type: prometheusType, body })),
        "/limits": limits,
        "/health": health(settings)
      })
      return { url }
    })
  )

// ---- by OTLP

const exportEvery = "10 seconds"
/** The node does not stay for a collector that is gone. */
const shutdownTimeout = "1 second"

const url = (base: string, path: string): string => new URL(path, base.endsWith("/") ? base : `${base}/`).href

const resource = Effect.map(Identity, ({ peerId }) => ({
  serviceName: name,
  serviceVersion: version,
  attributes: { "service.instance.id": peerId.toString() }
}))

const exporter = Layer.mergeAll(OtlpSerialization.layerJson, FetchHttpClient.layer)

/** Sends spans, for as long as somebody wants them. */
const layerTracer = (base: string) =>
  Layer.unwrap(
    Effect.map(resource, (of) => OtlpTracer.layer({ url: url(base, "v1/traces"), resource: of, shutdownTimeout }))
  ).pipe(Layer.provide(exporter))

const layerSend = (base: string) => {
  const sent = Layer.unwrap(
    Effect.map(resource, (of) =>
      OtlpMetrics.layer({
        url: url(base, "v1/metrics"),
        resource: of,
        exportInterval: exportEvery,
        shutdownTimeout
      })
    )
  ).pipe(Layer.provide(exporter))
  return Layer.effectDiscard(
    Effect.gen(function* () {
      const { collect } = yield* NodeMetrics
      // In time for each export, and for the one at the end.
      yield* Effect.addFinalizer(() => collect)
      yield* Effect.forkScoped(Effect.repeat(collect, Schedule.spaced("5 seconds")))
    })
  ).pipe(Layer.provideMerge(sent))
}

const nowhere = Layer.succeed(Endpoint, { url: undefined })

/**
 * A node that is watched as the settings ask. Beneath it goes what it tells as it
 * happens: the meter, and the tracer, which it looks for when it is built. Above
 * it goes what reads it, and sends the last metrics before it ends.
 */
const watched = <A, E, R, N extends A>(
  { otlp, ...settings }: Settings,
  node: Layer.Layer<A, E, R>,
  routes: Readonly<Record<string, Route<N>>>
) => {
  const { metrics } = settings
  if (metrics === undefined && otlp === undefined) return Layer.merge(node, nowhere)
  const endpoint = metrics === undefined ? nowhere : layerEndpoint({ otlp, ...settings }, metrics, routes)
  const send = otlp === undefined ? Layer.empty : layerSend(otlp)
  return Layer.merge(endpoint, send).pipe(
    Layer.provide(layerNodeMetrics),
    Layer.provideMerge(node),
    Layer.provide(NodeMetricsLayer.layerMeter),
    Layer.provide(otlp === undefined ? Layer.empty : layerTracer(otlp))
  )
}

/** Stands on the swarm, and is there before anything that dials. */
export type Listener = Layer.Layer<never, UsageError, Identify | Output | Swarm>

const layerHeard = (settings: Settings, listener: Listener) => Layer.provideMerge(listener, Peer.layerNode(settings))
const layerPlain = (settings: Settings, listener: Listener) => watched(settings, layerHeard(settings, listener), {})
const layerRouted = (settings: Settings, listener: Listener) =>
  watched(
    settings,
    Layer.provideMerge(
      Routed.layerDht(settings, settings.dht === "off" ? "client" : settings.dht),
      layerHeard(settings, listener)
    ),
    RoutingEndpoint.routes
  )

type Plain = ReturnType<typeof layerPlain>
type Routed = ReturnType<typeof layerRouted>

/** The node of the settings, with its part in the DHTs unless it is off, watched as they ask. */
export const layerNode = (
  settings: Settings,
  listener: Listener
): Layer.Layer<Layer.Success<Plain>, Layer.Error<Routed>, Layer.Services<Plain | Routed>> =>
  settings.dht === "off" ? layerPlain(settings, listener) : layerRouted(settings, listener)
