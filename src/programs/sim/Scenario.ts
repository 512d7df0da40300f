/**
 * The scenarios: networks of agents under different kinds of trouble. Each is a
 * few numbers; the life of a node is in AgentLife.ts.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { draw, everything, type ScheduledFault, type Weights } from "../../layers/simulation/Faults.ts"
import type { LinkOptions } from "../../layers/simulation/net/SimNetwork.ts"
import { Prng } from "../../layers/simulation/Prng.ts"
import type { NodeInfo, SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { type AgentNode, layer, layerOf, type Parts } from "./Agent.ts"
import type { Habits } from "./AgentActions.ts"
import { type Busy, live, reachAll } from "./AgentLife.ts"
import * as Bounds from "./Bounds.ts"
import * as Checks from "./Checks.ts"
import * as Churn from "./Churn.ts"
import type { Trial } from "./Dht.ts"
import type { Kind } from "./Lan.ts"
import { type Hostility, rage, shareOf } from "./Hostile.ts"
import * as Tight from "./Tight.ts"

export interface Scenario {
  readonly name: string
  /** One line, for people. */
  readonly about: string
  readonly nodes: number
  readonly minutes: number
  readonly habits: Habits
  /** Mean time between two actions of a node. */
  readonly paceMs: number
  /** Peers that a node dials; as many dial it. Default 8. */
  readonly neighbours?: number | undefined
  readonly link: LinkOptions
  readonly faults: Weights
  /** Mean time between two faults of the whole network. */
  readonly faultEveryMs: number
  readonly faultLastsMs: number
  /** What its nodes are made of. Default: a whole node with default limits. */
  readonly parts?: ((node: NodeInfo) => Parts) | undefined
  /** Some of its nodes are hostile. */
  readonly hostile?: Hostility | undefined
  /** Others come and go for good. */
  readonly visits?: Churn.Visits | undefined
  /** Limits and tables are watched too. */
  readonly bounds?: Bounds.Bounds | undefined
  /** Its nodes are those of a DHT, and what they do is in Dht.ts. */
  readonly dht?: Trial | undefined
  /** Its nodes are on one local network, and what they do is in Lan.ts. */
  readonly lan?: Kind | undefined
  /** What many seeds together should have met. */
  readonly expects?: ReadonlyArray<string> | undefined
}

const calm: LinkOptions = { latencyMs: { min: 5, mean: 30, max: 200 } }
const rough: LinkOptions = { latencyMs: { min: 5, mean: 60, max: 1000 }, loss: 0.02 }

/** A wire that loses a tenth of what is sent to each; the scenarios of the local network bring their own trouble. */
const lan = {
  habits: {},
  paceMs: 0,
  link: { latencyMs: { min: 0.2, mean: 1, max: 20 }, loss: 0.1 },
  faults: {},
  faultEveryMs: 0,
  faultLastsMs: 0
}

/** What the scenarios of the DHT have in common: they bring their own trouble. */
const dht = { nodes: 50, habits: {}, paceMs: 0, link: calm, faults: {}, faultEveryMs: 0, faultLastsMs: 0 }

export const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "chat",
    about: "echo and ping, while nodes come and go",
    nodes: 20,
    minutes: 10,
    habits: { ping: 20, echo: 2, burst: 0.2, upload: 0.1, identify: 1, broken: 0.2, disconnect: 0.2 },
    paceMs: 5000,
    neighbours: 4,
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
    habits: { ping: 2, echo: 1, identify: 1, abandon: 2, together: 2, listen: 1, disconnect: 4 },
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
    habits: { ping: 3, echo: 2, upload: 1, burst: 1, together: 1, identify: 1 },
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
    habits: { ping: 3, echo: 2, upload: 2, stuck: 3, broken: 1, abandon: 1 },
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
    habits: {
      ping: 4,
      echo: 3,
      upload: 1,
      burst: 1,
      stuck: 1,
      broken: 1,
      abandon: 1,
      together: 1,
      listen: 1,
      identify: 1,
      disconnect: 1
    },
    paceMs: 3000,
    link: rough,
    faults: everything,
    faultEveryMs: 4000,
    faultLastsMs: 20_000
  },
  {
    name: "swarm-storm",
    about: "hostile nodes among honest ones, faults, and limits near their bounds",
    nodes: 6,
    minutes: 0.5,
    habits: {
      ping: 4,
      echo: 3,
      upload: 1,
      burst: 1,
      stuck: 0.5,
      broken: 0.5,
      abandon: 1,
      together: 1,
      identify: 1,
      disconnect: 1,
      crowd: 2,
      tag: 1,
      protect: 1
    },
    paceMs: 3000,
    neighbours: 4,
    link: rough,
    faults: everything,
    faultEveryMs: 4000,
    faultLastsMs: 12_000,
    parts: Tight.parts,
    hostile: { everyMs: 2000, lastsMs: 12_000, visitEveryMs: 8000 },
    bounds: { peers: Tight.maxPeers, everyMs: 2000 },
    expects: Tight.expects
  },
  {
    name: "churn",
    about: "a few nodes that stay, while others come and go for good",
    nodes: 4,
    minutes: 24 * 60,
    habits: { ping: 4, echo: 2, burst: 1, identify: 1, abandon: 1, together: 1, disconnect: 1, tag: 1, protect: 0.1 },
    paceMs: 60_000,
    link: calm,
    faults: { reset: 2, isolate: 1, clog: 1, pause: 1, clockJump: 1, clockDrift: 1 },
    faultEveryMs: 20 * 60_000,
    faultLastsMs: 30_000,
    parts: Tight.roomy,
    visits: {
      everyMs: 60_000,
      lastsMs: 5 * 60_000,
      habits: { ping: 2, echo: 2, burst: 1, upload: 0.5, abandon: 1, together: 1, listen: 0.5, identify: 1, tag: 1 },
      paceMs: 15_000
    },
    bounds: { peers: Tight.maxPeers, everyMs: 30_000 },
    expects: [
      "a visitor moves",
      "a visitor starts again",
      "a visitor crashes and comes back",
      "a visitor goes without a word",
      "a visitor leaves"
    ]
  },
  { ...dht, name: "dht", about: "a DHT: values, providers and peers are found", minutes: 5, dht: "find" },
  { ...dht, name: "dht-churn", nodes: 30, about: "a DHT whose nodes come and go for good", minutes: 180, dht: "churn" },
  {
    ...dht,
    name: "dht-partition",
    nodes: 20,
    about: "a DHT that is cut in two and heals",
    minutes: 30,
    dht: "partition"
  },
  { ...dht, name: "dht-eclipse", nodes: 100, about: "a DHT of which a fifth lies", minutes: 5, dht: "eclipse" },
  {
    ...dht,
    name: "dht-sybil",
    nodes: 100,
    about: "a DHT in which liars crowd around one place",
    minutes: 5,
    dht: "sybil"
  },
  {
    ...lan,
    name: "lan",
    about: "a local network that loses a tenth of what is sent, on which all find each other",
    nodes: 50,
    minutes: 5,
    lan: "open",
    expects: [
      "an interface comes and goes",
      "many sleep for long",
      "one sleeps for an hour",
      "a clock is set ahead and back",
      "two networks become one",
      "two have one name",
      "one goes and comes back"
    ]
  },
  {
    ...lan,
    name: "lan-private",
    about: "a private network on a local network that others use, too",
    nodes: 14,
    minutes: 15,
    lan: "private",
    expects: [
      "strangers knock in vain",
      "an old key finds nobody",
      "one comes with the new key",
      "who listens hears those without a key, and nobody else"
    ]
  }
]

/** Peers that a node talks to: the next ones on a ring, and as many further away. */
const neighboursOf = <R>(nodes: ReadonlyArray<SimNode<R>>, index: number, count = 8): ReadonlyArray<SimNode<R>> => {
  const steps = [1, 2, 3, 4, 7, 19, 53, 131].slice(0, count)
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

/** How many of so many nodes are hostile. */
export const hostileOf = (scenario: Scenario, seed: number | string, nodes: number): number =>
  scenario.hostile === undefined || nodes < 3
    ? 0
    : shareOf(new Prng(`hostile of ${scenario.name}, seed ${seed}`), nodes)

/** The layer of its honest nodes. */
export const layerFor = (scenario: Scenario): typeof layer =>
  scenario.parts === undefined ? layer : layerOf(scenario.parts)

/** Runs the scenario's agents under a schedule, checks as they go, and lets the network converge at the end. */
export const program = (
  scenario: Scenario,
  durationMs: number,
  schedule: ReadonlyArray<ScheduledFault>,
  hostile = 0,
  report?: (line: string) => void
) => {
  const { bounds, visits } = scenario
  return visits === undefined || bounds === undefined
    ? meeting(scenario, durationMs, schedule, hostile)
    : Churn.program({ ...scenario, layer: layerFor(scenario), visits, bounds, report }, durationMs, schedule)
}

const meeting =
  (scenario: Scenario, durationMs: number, schedule: ReadonlyArray<ScheduledFault>, hostile: number) =>
  (simulation: Simulation<AgentNode>) =>
    Effect.gen(function* () {
      const { always, eventually, faults, nodes, sometimes } = simulation
      let problem: string | undefined
      const wrong = (what: string) => {
        problem ??= what
      }
      const busy = new Set<Busy>()
      yield* Effect.forkChild(Checks.watch(() => simulation.nodes, busy, wrong))
      const { bounds } = scenario
      if (bounds !== undefined) yield* Effect.forkChild(Bounds.watch(simulation, bounds, wrong))
      yield* always("the tables agree", () => problem ?? true, 1000)

      const leastRttMs = 2 * leastLatencyMs(scenario.link) * slowestClock
      const calm = schedule.length === 0 && scenario.link.loss === undefined && scenario.habits.disconnect === undefined
      const agents = yield* Effect.forEach(nodes, (node, index) =>
        Effect.forkChild(
          live(
            simulation,
            node,
            neighboursOf(nodes, index, scenario.neighbours),
            scenario.habits,
            scenario.paceMs,
            leastRttMs,
            calm,
            busy
          )
        )
      )
      const attacks =
        scenario.hostile === undefined || hostile === 0
          ? undefined
          : yield* Effect.forkChild(rage(simulation, hostile, scenario.hostile, busy))
      const trouble = yield* Effect.forkChild(faults.run(schedule))
      yield* Effect.sleep(durationMs)
      // A node that is paused in the middle of its start would not hear that the start is given up.
      for (const node of nodes) node.place.scheduler.resume()
      yield* Fiber.interrupt(trouble)
      yield* Fiber.interruptAll(agents)
      if (attacks !== undefined) yield* Fiber.interrupt(attacks)

      yield* eventually(
        "every node reaches its neighbours again",
        Effect.forEach(nodes, (node, index) => reachAll(node, neighboursOf(nodes, index, scenario.neighbours)), {
          discard: true,
          concurrency: "unbounded"
        }),
        "5 minutes"
      )
      // Nobody asks for anything any more: what was used has been given back.
      yield* Effect.sleep(Checks.restMs)
      yield* Checks.rested(simulation, wrong)
      yield* sometimes("all rest")
      if (bounds !== undefined) yield* Bounds.givenBack(simulation, wrong)
      yield* Effect.sleep(1000)
    })

/** Clocks drift by up to a tenth. */
const slowestClock = 0.9

const leastLatencyMs = ({ latencyMs = 1 }: LinkOptions): number =>
  typeof latencyMs === "number" ? latencyMs : latencyMs.min
