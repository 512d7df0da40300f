/** The commands of the simulator and their flags. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { load, under } from "./Under.ts"
import { DurationText } from "./Values.ts"

const loadSim = load(() => import("../sim/Command.ts"))

const simShow = Command.make(
  "show",
  {
    file: Argument.String("trace").pipe(Argument.withDescription("A trace file that a run left")),
    node: Flag.String("node").pipe(
      Flag.withDescription("Only what happened at this node, and the faults"),
      Flag.optional
    ),
    peer: Flag.String("peer").pipe(Flag.withDescription("Only what names this node, peer or address"), Flag.optional),
    protocol: Flag.String("protocol").pipe(
      Flag.withDescription("Only events of this kind or protocol, such as fault, net or echo"),
      Flag.optional
    ),
    from: Flag.String("from").pipe(
      Flag.withSchema(DurationText),
      Flag.withMetavar("TIME"),
      Flag.withDescription("From this virtual time, such as 90s"),
      Flag.optional
    ),
    to: Flag.String("to").pipe(
      Flag.withSchema(DurationText),
      Flag.withMetavar("TIME"),
      Flag.withDescription("Up to this virtual time"),
      Flag.optional
    )
  },
  ({ file, from, node, peer, protocol, to }) =>
    under({}, () =>
      Effect.flatMap(loadSim, (sim) =>
        sim.show(file, {
          node: Option.getOrUndefined(node),
          peer: Option.getOrUndefined(peer),
          protocol: Option.getOrUndefined(protocol),
          fromMs: Option.match(from, { onNone: () => 0, onSome: Duration.toMillis }),
          toMs: Option.match(to, { onNone: () => Number.POSITIVE_INFINITY, onSome: Duration.toMillis })
        })
      )
    )
).pipe(Command.withDescription("Print the trace of a run for people"))

const simDiff = Command.make(
  "diff",
  {
    left: Argument.String("trace").pipe(Argument.withDescription("A trace file")),
    right: Argument.String("other").pipe(Argument.withDescription("Another"))
  },
  ({ left, right }) => under({}, () => Effect.flatMap(loadSim, (sim) => sim.diff(left, right)))
).pipe(Command.withDescription("Say where two traces part; exit code 1 if they do"))

const simScale = Command.make(
  "scale",
  {
    sizes: Flag.String("sizes").pipe(
      Flag.withDescription("How many nodes; 100,300,1000,3000,10000 without it"),
      Flag.withMetavar("N,N"),
      Flag.withDefault("100,300,1000,3000,10000")
    ),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Everything random follows from it; 1 without it"),
      Flag.withMetavar("N"),
      Flag.withDefault(1)
    ),
    results: Flag.String("results").pipe(
      Flag.withDescription("Keep what was measured in this file, and do not measure again what it has"),
      Flag.withMetavar("FILE"),
      Flag.optional
    ),
    svg: Flag.String("svg").pipe(
      Flag.withDescription("Draw hops, messages and memory against the nodes into this file"),
      Flag.withMetavar("FILE"),
      Flag.optional
    ),
    page: Flag.String("page").pipe(
      Flag.withDescription("Put the table into this page, in place of the one that it has"),
      Flag.withMetavar("FILE"),
      Flag.optional
    )
  },
  ({ page, results, seed, sizes, svg }) =>
    under({}, () =>
      Effect.flatMap(loadSim, (sim) =>
        sim.scale({
          sizes,
          seed,
          results: Option.getOrUndefined(results),
          svg: Option.getOrUndefined(svg),
          page: Option.getOrUndefined(page)
        })
      )
    )
).pipe(
  Command.withDescription(
    "Measure what a lookup and a node cost in a DHT of more and more nodes, each size in a process of its own"
  )
)

export const sim = Command.make(
  "sim",
  {
    scenario: Flag.String("scenario").pipe(
      Flag.withDescription(
        "chat, upgrade, restart, slow, storm, swarm-storm, churn, dht, dht-churn, dht-partition, dht-eclipse, dht-sybil, lan or lan-private (chat without it)"
      ),
      Flag.withMetavar("NAME"),
      Flag.withDefault("chat")
    ),
    nodes: Flag.Int("nodes").pipe(
      Flag.withDescription("How many nodes; each scenario has its own default"),
      Flag.withMetavar("N"),
      Flag.optional
    ),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Everything random follows from it; 1 without it"),
      Flag.withMetavar("N"),
      Flag.withDefault(1)
    ),
    seeds: Flag.String("seeds").pipe(
      Flag.withDescription("Run these seeds on all cores, such as 1..500"),
      Flag.withMetavar("A..B"),
      Flag.optional
    ),
    for: Flag.String("for").pipe(
      Flag.withSchema(DurationText),
      Flag.withDescription(
        "Virtual time, such as 1h; in lan and lan-private it is that of the quiet, and what comes before and after takes as long as it does"
      ),
      Flag.withMetavar("TIME"),
      Flag.optional
    ),
    shuffle: Flag.Boolean("shuffle").pipe(
      Flag.withDescription("Explore interleavings: run what can run in an order drawn from the seed"),
      Flag.withDefault(false)
    ),
    checkDeterminism: Flag.Boolean("check-determinism").pipe(
      Flag.withDescription("Run each seed twice and compare the traces"),
      Flag.withDefault(false)
    ),
    faults: Flag.String("faults").pipe(
      Flag.withDescription("Only these faults of the schedule, by number, or none"),
      Flag.withMetavar("I,J"),
      Flag.optional
    ),
    trace: Flag.Boolean("trace").pipe(
      Flag.withDescription("Write the trace even if the run succeeds"),
      Flag.withDefault(false)
    ),
    traces: Flag.String("traces").pipe(
      Flag.withDescription("The folder for traces; reports/traces without it"),
      Flag.withMetavar("DIR"),
      Flag.withDefault("reports/traces")
    )
  },
  (flags) =>
    under({}, (settings) =>
      Effect.flatMap(loadSim, (sim) =>
        sim.run({
          ...flags,
          json: settings.json,
          nodes: Option.getOrUndefined(flags.nodes),
          seeds: Option.getOrUndefined(flags.seeds),
          durationMs: Option.getOrUndefined(Option.map(flags.for, Duration.toMillis)),
          faults: Option.getOrUndefined(flags.faults)
        })
      )
    )
).pipe(
  Command.withDescription(
    "Run a network of nodes in virtual time, under faults, from a seed. A failing run leaves a trace, and the line that repeats it."
  ),
  Command.withShortDescription("Run whole networks in virtual time"),
  Command.withExamples([
    { command: "effect-libp2p sim --scenario storm --nodes 50 --seed 7 --for 1h", description: "One run" },
    { command: "effect-libp2p sim --scenario storm --seeds 1..500", description: "Many, on all cores" }
  ]),
  Command.withSubcommands([simShow, simDiff, simScale])
)
