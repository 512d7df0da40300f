/**
 * Metrics of a node. Two layers, one below and one above it: what happens is
 * counted as it happens, and what is held is read when somebody asks.
 *
 * ```
 * NodeMetrics.layer             reads: connections, limits and their use, mailboxes, peers, …
 *      └─ the node              tells its Meter what it does
 *           └─ layerMeter       counts
 * ```
 *
 * Both write to the metric registry of their context. Provide another
 * `Metric.MetricRegistry`, or `Metric.CurrentMetricAttributes` such as
 * `{ node: "a" }`, when several nodes live in one process.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { version } from "../../data/Version.ts"
import { type ActorInfo, Actors, Observer } from "../../services/Actors.ts"
import { ConnectionManager } from "../../services/ConnectionManager.ts"
import { Identify } from "../../services/Identify.ts"
import { Meter } from "../../services/Meter.ts"
import { NodeMetrics } from "../../services/NodeMetrics.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { Protocols } from "../../services/Protocols.ts"
import { type Limits, ResourceManager, type Usage } from "../../services/ResourceManager.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import * as Catalogue from "./Catalogue.ts"
import * as CountingMeter from "./CountingMeter.ts"
import { Instruments } from "./Instruments.ts"
import * as Scopes from "./Scopes.ts"

/** What the two layers share. */
class Shared extends Context.Service<Shared, Instruments>()("effect-libp2p/observability/Instruments") {}

/** Metrics with no label show from the start; the others once there is something to tell. */
const showZeros = (instruments: Instruments): void => {
  for (const definition of Catalogue.ofNode) {
    if (definition.type === "counter" && definition.labels.length === 0) instruments.add(definition, 0)
  }
}

export { NodeMetrics } from "../../services/NodeMetrics.ts"

/** Counts what the node above it does. */
export const layerMeter: Layer.Layer<Shared> = Layer.effectContext(
  Effect.gen(function* () {
    const context = yield* Effect.context()
    const clock = yield* Clock.Clock
    const instruments = new Instruments(context)
    yield* Effect.addFinalizer(() => Effect.sync(() => instruments.removeAll()))
    showZeros(instruments)
    const others = yield* Observer
    const onActor = CountingMeter.onActor(instruments)
    return Context.make(Shared, instruments).pipe(
      Context.add(
        Meter,
        CountingMeter.make(instruments, () => clock.currentTimeMillisUnsafe())
      ),
      Context.add(Observer, (event) => {
        others(event)
        onActor(event)
      })
    )
  })
)

const countBy = <A>(items: Iterable<A>, labels: (item: A) => ReadonlyArray<string>) => {
  const counts = new Map<string, readonly [ReadonlyArray<string>, number]>()
  for (const item of items) {
    const key = labels(item)
    counts.set(key.join("\n"), [key, (counts.get(key.join("\n"))?.[1] ?? 0) + 1])
  }
  return counts.values()
}

const readConnections = (instruments: Instruments, connections: ReadonlyArray<Connection>): void =>
  instruments.replace(
    Catalogue.connections,
    countBy(connections, ({ direction, muxer, remoteAddress, security }) => [
      direction,
      CountingMeter.transportOf(remoteAddress),
      security,
      muxer
    ])
  )

const readLimits = (instruments: Instruments, limits: Limits): void =>
  instruments.replace(
    Catalogue.limit,
    Scopes.bounds(limits).map(({ kind, limit, resource }) => [[kind, resource], limit])
  )

const readUsage = (instruments: Instruments, usage: ReadonlyArray<Usage>): void => {
  const use = new Map<string, readonly [ReadonlyArray<string>, number]>()
  const peak = new Map<string, readonly [ReadonlyArray<string>, number]>()
  const most = (of: typeof use, labels: ReadonlyArray<string>, value: number) => {
    const key = labels.join("\n")
    of.set(key, [labels, Math.max(value, of.get(key)?.[1] ?? 0)])
  }
  const refused = new Map<string, readonly [ReadonlyArray<string>, number]>()
  const streams: Array<readonly [ReadonlyArray<string>, number]> = []
  for (const row of usage) {
    const { kind, name } = Scopes.parse(row.scope)
    most(use, [kind, row.resource], row.current)
    if (!Scopes.isEnded(row.scope)) most(peak, [kind, row.resource], row.peak)
    const key = `${kind}\n${row.resource}`
    refused.set(key, [[kind, row.resource], row.refused + (refused.get(key)?.[1] ?? 0)])
    const direction = Scopes.directionOfStreams(row.resource)
    if (kind === "protocol" && direction !== undefined) streams.push([[direction, kind, name], row.current])
  }
  instruments.replace(Catalogue.use, use.values())
  instruments.replace(Catalogue.peak, peak.values())
  instruments.replace(Catalogue.streamsOfProtocol, streams)
  for (const [labels, count] of refused.values()) instruments.raise(Catalogue.refused, count, labels)
}

const readActors = (instruments: Instruments, tree: ReadonlyArray<ActorInfo>): void => {
  const all: Array<ActorInfo> = []
  const visit = (nodes: ReadonlyArray<ActorInfo>) => {
    for (const node of nodes) {
      all.push(node)
      visit(node.children)
    }
  }
  visit(tree)
  const depths = new Map<string, number>()
  for (const { mailbox, name } of all) {
    const kind = CountingMeter.kindOfActor(name)
    depths.set(kind, Math.max(mailbox.depth, depths.get(kind) ?? 0))
  }
  instruments.replace(
    Catalogue.actors,
    countBy(all, ({ name }) => [CountingMeter.kindOfActor(name)])
  )
  instruments.replace(
    Catalogue.mailbox,
    Array.from(depths, ([kind, depth]) => [[kind], depth])
  )
}

const make = Effect.gen(function* () {
  const instruments = yield* Shared
  const { traffic } = yield* Meter
  const actors = yield* Actors
  const peerStore = yield* PeerStore
  const protocols = yield* Protocols
  const resources = yield* ResourceManager
  const swarm = yield* Swarm
  const identify = yield* Effect.serviceOption(Identify)
  const manager = yield* Effect.serviceOption(ConnectionManager)

  readLimits(instruments, resources.limits)
  instruments.set(Catalogue.info, 1, [version, swarm.peerId.toString()])
  instruments.add(Catalogue.pushes, 0, ["inbound"])
  if (Option.isSome(identify)) {
    yield* identify.value.events.pipe(
      Stream.runForEach(({ pushed }) =>
        Effect.sync(() => {
          if (pushed) instruments.add(Catalogue.pushes, 1, ["inbound"])
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )
  }

  const collect = Effect.gen(function* () {
    readConnections(instruments, yield* swarm.connections())
    readUsage(instruments, yield* resources.usage)
    readActors(instruments, yield* actors.tree)
    instruments.set(Catalogue.scopes, resources.scopeCount())
    instruments.set(Catalogue.streamsRefused, (yield* swarm.counters).streamsRefused)
    instruments.set(Catalogue.listenAddresses, (yield* swarm.listenAddresses).length)
    instruments.set(Catalogue.received, traffic.received)
    instruments.set(Catalogue.sent, traffic.sent)
    instruments.set(Catalogue.protocols, protocols.list().length)
    // A store that fails tells so to those who use it; here the last known number stays.
    const size = yield* Effect.exit(peerStore.size)
    if (Exit.isSuccess(size)) instruments.set(Catalogue.peers, size.value)
    if (Option.isSome(identify)) {
      const seen = yield* identify.value.observed
      instruments.set(Catalogue.announced, (yield* identify.value.announced).length)
      for (const confirmed of [true, false]) {
        const count = seen.filter((address) => address.confirmed === confirmed).length
        instruments.set(Catalogue.observed, count, [String(confirmed)])
      }
    }
    if (Option.isSome(manager)) {
      const status = yield* manager.value.status
      instruments.set(Catalogue.watermark, status.lowWater, ["low"])
      instruments.set(Catalogue.watermark, status.highWater, ["high"])
      instruments.set(Catalogue.trimmed, status.trimmed)
      instruments.set(Catalogue.protectedPeers, status.protected.length)
    }
  })

  const context = yield* Effect.context()
  return NodeMetrics.of({
    collect,
    prometheus: Effect.map(collect, () => PrometheusMetrics.formatUnsafe(context))
  })
})

/**
 * The metrics of the node that it is provided with, which was built on
 * `layerMeter`.
 *
 * ```
 * const Node = NodeMetrics.layer.pipe(
 *   Layer.provideMerge(Libp2p.layerDefault({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
 *   Layer.provideMerge(NodeMetrics.layerMeter)
 * )
 * ```
 */
export const layer: Layer.Layer<NodeMetrics, never, Shared | Actors | PeerStore | Protocols | ResourceManager | Swarm> =
  Layer.effect(NodeMetrics, make)
