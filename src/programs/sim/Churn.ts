/**
 * `churn`: a few nodes that stay, and visitors who come and go for good, each
 * with a peer id and an address of its own. What the nodes that stay hold must
 * follow from who is there, however many were.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { ScheduledFault } from "../../layers/simulation/Faults.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { NodeInfo, NodeServices, SimNode } from "../../layers/simulation/SimNode.ts"
import { makeNode, type Simulation } from "../../layers/simulation/Simulate.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { ResourceManager } from "../../services/ResourceManager.ts"
import { Swarm } from "../../services/Swarm.ts"
import type { AgentNode, layer } from "./Agent.ts"
import type { Habits } from "./AgentActions.ts"
import { type Busy, live, reachAll } from "./AgentLife.ts"
import * as Bounds from "./Bounds.ts"
import * as Checks from "./Checks.ts"

export interface Visits {
  /** Mean time between two who come. */
  readonly everyMs: number
  /** Mean time that one stays. */
  readonly lastsMs: number
  readonly habits: Habits
  readonly paceMs: number
}

export interface Options {
  readonly layer: typeof layer
  readonly habits: Habits
  readonly paceMs: number
  readonly visits: Visits
  readonly bounds: Bounds.Bounds
  /** Is told how it stands, once in a virtual hour. */
  readonly report?: ((line: string) => void) | undefined
}

/** How often the tables of all are compared; a node at rest has nothing that is faster. */
const lookMs = 20_000
/** What the heap may grow by, from the end of the second hour on. */
const growthMiB = 24

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")
/** Bytes in use once what nobody refers to is gone. */
export const heapBytes = (): number => {
  if (typeof collect === "function") collect()
  return process.memoryUsage().heapUsed
}

/** Exponentially distributed with this mean. */
const exponential = (random: Prng, mean: number): number => -Math.log(1 - random.nextDoubleUnsafe()) * mean

/** A node that was not there before. */
export const arrive = <R>(
  simulation: Simulation<R>,
  number: number,
  { layer }: { readonly layer: (node: NodeInfo) => Layer.Layer<R, unknown, NodeServices> }
): SimNode<R> =>
  makeNode(
    simulation,
    { index: 1000 + number, name: `v${number}`, address: `10.${100 + ((number >> 8) & 127)}.${number & 255}.1` },
    layer
  )

/** One visitor from its coming to its going. */
const visit = (
  simulation: Simulation<AgentNode>,
  number: number,
  present: Array<SimNode<AgentNode>>,
  options: Options,
  busy: Set<Busy>
) =>
  Effect.gen(function* () {
    const { network, nodes, sometimes, world } = simulation
    const { visits } = options
    const random = world.random.fork(`visit ${number}`)
    const node = arrive(simulation, number, options)
    present.push(node)
    const gone = Effect.suspend(() => {
      present.splice(present.indexOf(node), 1)
      node.place.scheduler.resume()
      return Effect.andThen(
        node.stop,
        Effect.sync(() => network.removeHost(node.host))
      )
    })
    yield* Effect.gen(function* () {
      yield* node.start
      const life = yield* Effect.forkChild(live(simulation, node, nodes, visits.habits, visits.paceMs, 0, false, busy))
      const until = world.timeline.now + exponential(random, visits.lastsMs)
      for (;;) {
        const next = exponential(random, 60_000)
        if (world.timeline.now + next > until) break
        yield* Effect.sleep(next)
        const what = random.below(4)
        if (what < 2) {
          node.host.setAddresses([node.host.addresses[0]?.replace(/\d+$/, String(2 + random.below(200))) ?? ""])
          yield* sometimes("a visitor moves")
        } else if (what === 2) {
          yield* node.stop
          yield* node.start
          yield* sometimes("a visitor starts again")
        } else {
          node.crash("kept")
          yield* Effect.sleep(exponential(random, 30_000))
          yield* node.start
          yield* sometimes("a visitor crashes and comes back")
        }
      }
      yield* Fiber.interrupt(life)
      if (random.chance(0.5)) {
        node.crash("lost")
        yield* sometimes("a visitor goes without a word")
      } else {
        yield* node.stop
        yield* sometimes("a visitor leaves")
      }
    }).pipe(Effect.ensuring(gone))
  })

/** Looks at memory once an hour; after two hours it must not grow any more. */
const sample = (
  { nodes, world }: Simulation<AgentNode>,
  present: ReadonlyArray<unknown>,
  visitors: () => number,
  report: (line: string) => void,
  wrong: (what: string) => void
) =>
  Effect.gen(function* () {
    let settled: number | undefined
    for (let hour = 1; ; hour++) {
      yield* Effect.sleep("1 hour")
      const heap = heapBytes() / 1024 / 1024
      const each = yield* Effect.forEach(nodes, (node) =>
        Effect.gen(function* () {
          const connections = yield* Effect.flatMap(node.get(Swarm), (swarm) => swarm.connections())
          const known = yield* Effect.flatMap(node.get(PeerStore), (store) => store.size)
          return { connections: connections.length, known, scopes: (yield* node.get(ResourceManager)).scopeCount() }
        }).pipe(Effect.catchTag("NodeDown", () => Effect.succeed({ connections: 0, known: 0, scopes: 0 })))
      )
      const most = (key: "connections" | "known" | "scopes") => Math.max(...each.map((one) => one[key]))
      report(
        `hour ${hour}: heap ${heap.toFixed(1)} MiB, ${visitors()} visitors so far, ${present.length - nodes.length} there; a node has at most ` +
          `${most("connections")} connections, ${most("known")} known peers, ${most("scopes")} scopes; ${world.timeline.pending} timers`
      )
      if (hour === 2) settled = heap
      if (settled !== undefined && heap > settled + growthMiB)
        wrong(`the heap has grown from ${settled.toFixed(1)} MiB after 2 hours to ${heap.toFixed(1)} MiB after ${hour}`)
    }
  })

export const program =
  (options: Options, durationMs: number, schedule: ReadonlyArray<ScheduledFault>) =>
  (simulation: Simulation<AgentNode>) =>
    Effect.gen(function* () {
      const { always, eventually, faults, nodes, sometimes, world } = simulation
      let problem: string | undefined
      const wrong = (what: string) => {
        problem ??= what
      }
      const busy = new Set<Busy>()
      const present = [...nodes]
      let visitors = 0
      yield* Effect.forkChild(Checks.watch(() => present, busy, wrong, lookMs))
      yield* Effect.forkChild(Bounds.watch(simulation, options.bounds, wrong))
      yield* always("the tables agree", () => problem ?? true, 1000)
      const samples = yield* Effect.forkChild(
        sample(simulation, present, () => visitors, options.report ?? (() => {}), wrong)
      )
      const agents = yield* Effect.forEach(nodes, (node) =>
        Effect.forkChild(
          live(
            simulation,
            node,
            nodes.filter((other) => other !== node),
            options.habits,
            options.paceMs,
            0,
            false,
            busy
          )
        )
      )
      const trouble = yield* Effect.forkChild(faults.run(schedule))
      const coming = yield* Effect.forkChild(
        Effect.scoped(
          Effect.gen(function* () {
            const random = world.random.fork("visits")
            for (;;) {
              yield* Effect.sleep(exponential(random, options.visits.everyMs))
              yield* Effect.forkScoped(visit(simulation, visitors++, present, options, busy))
            }
          })
        )
      )
      yield* Effect.sleep(durationMs)
      for (const node of nodes) node.place.scheduler.resume()
      yield* Fiber.interruptAll([trouble, coming, samples, ...agents])
      yield* eventually(
        "those who stayed reach each other",
        Effect.forEach(
          nodes,
          (node) =>
            reachAll(
              node,
              nodes.filter((other) => other !== node)
            ),
          { discard: true, concurrency: "unbounded" }
        ),
        "5 minutes"
      )
      yield* Effect.sleep(Checks.restMs)
      yield* Checks.rested(simulation, wrong)
      yield* Bounds.givenBack(simulation, wrong)
      yield* sometimes("all rest")
      yield* Effect.sleep(1000)
    })
