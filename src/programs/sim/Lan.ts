/**
 * The scenarios of the local network: machines on one wire that loses a part of
 * what is sent, and find each other by multicast DNS.
 *
 * - `open`: they start at once; then it is quiet; then interfaces change, most
 *   machines sleep, clocks are set, the wire is cut in two and mended, and two
 *   have one name. After each all must know all in a time that is given, and
 *   what is said must stay little.
 * - `private`: members of a private network, who speak sealed, beside others:
 *   see LanPrivate.ts.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MdnsNetwork from "../../layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import type { NodeInfo } from "../../layers/simulation/SimNode.ts"
import { type Simulation, start as simulate, type SimulateOptions } from "../../layers/simulation/Simulate.ts"
import type { Figures } from "./DhtFigures.ts"
import * as Kit from "./LanKit.ts"
import { Dice } from "./LanNames.ts"
import * as LanPrivate from "./LanPrivate.ts"
import * as Trouble from "./LanTrouble.ts"

export { maxNodes } from "./LanKit.ts"

export type Kind = "open" | "private"

/** Fewer are no network of which most can sleep, or in which there are outsiders. */
export const minNodes = { open: 6, private: 8 } satisfies Record<Kind, number>

/** Between the start and what is counted as quiet: who starts says more. */
const settleMs = 30_000

const layerOf = (dice: Dice) => (node: NodeInfo) =>
  MdnsNetwork.layer().pipe(
    Layer.orDie,
    Layer.provide(Layer.effect(Random.Random, dice.of(node.index))),
    Layer.provideMerge(Libp2p.layer({ listen: Kit.listen })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer())
  )

type Services = Layer.Success<ReturnType<ReturnType<typeof layerOf>>>

const open = (durationMs: number, dice: Dice) => (simulation: Simulation<Services>) =>
  Effect.gen(function* () {
    const { network, nodes } = simulation
    const kit = Kit.make(simulation)
    const stage = { simulation, kit }
    yield* kit.phase("all start")
    yield* kit.whole("at the start", Kit.quickMs)
    yield* Effect.sleep(settleMs)
    yield* kit.phase("quiet")
    yield* kit.traffic("in quiet", 1, kit.quiet(durationMs))

    const [first, second = first, third = first, fourth = first] = nodes
    yield* Trouble.interfaces(stage, first, second)
    yield* Trouble.night(stage, second)
    yield* Trouble.clocks(stage, third)
    yield* Trouble.merge(stage)
    yield* Trouble.names(stage, third, fourth, dice)
    yield* Trouble.goodbye(stage, third)
    kit.figures["datagrams in all, per receiver"] = network.stats.datagrams
    return kit.figures
  })

type Options = Omit<SimulateOptions<never, never>, "layer" | "arrange">

/** Runs a scenario, and tells what it measured. */
export const start = (kind: Kind, options: Options, durationMs: number, measured?: (figures: Figures) => void) => {
  if (kind === "private") return LanPrivate.start(options, durationMs, measured)
  const dice = new Dice()
  return simulate(
    { ...options, layer: layerOf(dice), cheapCrypto: true, arrange: (_, nodes) => Kit.onOneWire(nodes) },
    (simulation) => Effect.map(open(durationMs, dice)(simulation), (figures) => measured?.(figures))
  )
}
