/**
 * The scenarios: networks of agents under different kinds of trouble. Each is a
 * few numbers; the life of a node is in Agent.ts.
 */
import { Effect, Fiber } from "effect"
import { draw, everything, type ScheduledFault, type Weights } from "../../layers/simulation/Faults.ts"
import type { LinkOptions } from "../../layers/simulation/net/SimNetwork.ts"
import { Prng } from "../../layers/simulation/Prng.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type AgentNode, type Habits, live, reachAll } from "./Agent.ts"

export interface Scenario {
  readonly name: string
  /** One line, for people. */
  readonly about: string
  readonly nodes: number
  readonly minutes: number
  readonly habits: Habits
  /** Mean time between two actions of a node. */
  readonly paceMs: number
  readonly link: LinkOptions
  readonly faults: Weights
  /** Mean time between two faults of the whole network. */
  readonly faultEveryMs: number
  readonly faultLastsMs: number
}

const calm: LinkOptions = { latencyMs: { min: 5, mean: 30, max: 200 } }
const rough: LinkOptions = { latencyMs: { min: 5, mean: 60, max: 1000 }, loss: 0.02 }

export const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "chat",
    about: "echo and ping, while nodes come and go",
    nodes: 20,
    minutes: 10,
    habits: { ping: 6, echo: 3, disconnect: 0.2 },
    paceMs: 5000,
    link: calm,
    faults: { crash: 1, reset: 1 },
    faultEveryMs: 60_000,
    faultLastsMs: 20_000
  },
  {
    name: "upgrade",
    about: "handshakes on lossy, cut and corrupting links",
    nodes: 12,
    minutes: 10,
    habits: { ping: 2, echo: 1, disconnect: 4 },
    paceMs: 2000,
    link: { ...rough, loss: 0.05 },
    faults: { corrupt: 5, reset: 5, partition: 1, hold: 3, clog: 3 },
    faultEveryMs: 4000,
    faultLastsMs: 10_000
  },
  {
    name: "restart",
    about: "nodes crash, pause and return",
    nodes: 15,
    minutes: 20,
    habits: { ping: 3, echo: 3 },
    paceMs: 3000,
    link: calm,
    faults: { crash: 8, pause: 4, clockJump: 1, clockDrift: 1 },
    faultEveryMs: 8000,
    faultLastsMs: 20_000
  },
  {
    name: "slow",
    about: "readers that stop reading, and links that carry little",
    nodes: 10,
    minutes: 10,
    habits: { ping: 3, echo: 2, stuck: 3 },
    paceMs: 4000,
    link: { ...calm, bitsPerSecond: 20_000_000 },
    faults: { slowReader: 5, clog: 2, hold: 2 },
    faultEveryMs: 8000,
    faultLastsMs: 30_000
  },
  {
    name: "storm",
    about: "everything at once",
    nodes: 20,
    minutes: 10,
    habits: { ping: 4, echo: 4, stuck: 1, disconnect: 1 },
    paceMs: 3000,
    link: rough,
    faults: everything,
    faultEveryMs: 4000,
    faultLastsMs: 20_000
  }
]

/** Peers that a node talks to: the next ones on a ring, and as many further away. */
const degree = 8

const neighboursOf = <R>(nodes: ReadonlyArray<SimNode<R>>, index: number): ReadonlyArray<SimNode<R>> => {
  const steps = [1, 2, 3, 4, 7, 19, 53, 131].slice(0, degree)
  const found = new Set(steps.map((step) => (index + step) % nodes.length).filter((other) => other !== index))
  return [...found].flatMap((other) => nodes[other] ?? [])
}

/** The faults of a run, as data; they follow from the seed alone. */
export const scheduleOf = (
  scenario: Scenario,
  seed: number | string,
  nodes: number,
  durationMs: number
): ReadonlyArray<ScheduledFault> =>
  draw(new Prng(`faults of ${scenario.name}, seed ${seed}`), {
    weights: scenario.faults,
    nodes,
    durationMs,
    everyMs: scenario.faultEveryMs,
    lastsMs: scenario.faultLastsMs
  })

/** Runs the scenario's agents under a schedule, checks as they go, and lets the network converge at the end. */
export const program = (
  scenario: Scenario,
  durationMs: number,
  schedule: ReadonlyArray<ScheduledFault>
) =>
(simulation: Simulation<AgentNode>) =>
  Effect.gen(function*() {
    const { always, eventually, faults, nodes } = simulation
    // Tables are a function of who is connected: nothing may pile up behind the peers of a node.
    let overdue: string | undefined
    const inspect = Effect.forEach(nodes, (node) =>
      Effect.gen(function*() {
        if (!node.running) return
        const swarm = yield* node.get(Swarm)
        const connections = yield* swarm.connections()
        const perPeer = new Map<string, number>()
        for (const connection of connections) {
          const peer = connection.remotePeer.toString()
          perPeer.set(peer, (perPeer.get(peer) ?? 0) + 1)
          if (connection.streamCount() > maxStreams) {
            overdue = `${node.name} has ${connection.streamCount()} streams on one connection`
          }
        }
        for (const count of perPeer.values()) {
          if (count > maxConnectionsPerPeer) overdue = `${node.name} has ${count} connections with one peer`
        }
      }).pipe(Effect.ignore), { discard: true })
    yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), inspect)))
    yield* always("tables stay small", () => overdue ?? true, 1000)

    const agents = yield* Effect.forEach(nodes, (node, index) =>
      Effect.forkChild(live(simulation, node, neighboursOf(nodes, index), scenario.habits, scenario.paceMs)))
    const trouble = yield* Effect.forkChild(faults.run(schedule))
    yield* Effect.sleep(durationMs)
    yield* Fiber.interrupt(trouble)
    yield* Fiber.interruptAll(agents)

    yield* eventually(
      "every node reaches its neighbours again",
      Effect.forEach(nodes, (node, index) => reachAll(node, neighboursOf(nodes, index)), { discard: true, concurrency: "unbounded" }),
      "5 minutes"
    )
  })

/** An agent does one thing at a time, and its neighbours do as much with it; identify and stale streams add a few. */
const maxStreams = 64
/** Both ends may dial at once, and a dead connection is noticed only by its keep-alive. */
const maxConnectionsPerPeer = 12
