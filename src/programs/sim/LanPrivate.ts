/**
 * The scenario of a private network on a local network that others use, too.
 * Members have a key, seal what they say, and connect over it; beside them are
 * nodes without a key, and nodes with another. Each knows its own, is connected
 * with them, and with nobody else; who listens on the wire learns of a member or
 * one with another key neither its id nor its address, service or protocols.
 *
 * Clocks differ, and an hour ends while it is quiet: names change. Then all
 * members but one are given a new key: who has the old one finds nobody, until
 * it is given the new one, too.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetworkKey from "../../data/NetworkKey.ts"
import * as LocalConnections from "../../layers/connections/LocalConnections.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MdnsNetwork from "../../layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as PrivateNetwork from "../../layers/pnet/PrivateNetwork.ts"
import type { NodeInfo, SimNode } from "../../layers/simulation/SimNode.ts"
import { type Simulation, start as simulate, type SimulateOptions } from "../../layers/simulation/Simulate.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type Figures, rounded } from "./DhtFigures.ts"
import * as Kit from "./LanKit.ts"
import { Wiretap } from "./Wiretap.ts"

/** Of whom the nodes are: the last four are two without a key, and two with a key of their own. */
const outsiders = 4
const service = "office"
/** For connections with all that were found: a dial that is lost on the way is tried again after some seconds. */
const connectMs = 30_000
const stepMs = 100
/** How long a dial that must fail may take. */
const dialMs = 60_000

const keyOf = (fill: number) => new NetworkKey.NetworkKey(new Uint8Array(NetworkKey.size).fill(fill))
const keys = { old: keyOf(1), other: keyOf(2), fresh: keyOf(3) }
type Key = keyof typeof keys

/** A node as the command line makes it; the key is the one that it has when it starts. */
const layerOf =
  (given: ReadonlyArray<Key | undefined>) =>
  ({ index }: NodeInfo) =>
    Layer.unwrap(
      Effect.sync(() => {
        const name = given[index]
        const key = name === undefined ? undefined : keys[name]
        const ways =
          key === undefined ? Libp2p.layerTcp : Layer.provideMerge(PrivateNetwork.layer(key), Libp2p.layerTcp)
        return LocalConnections.layer({ most: Kit.maxNodes }).pipe(
          Layer.provideMerge(
            key === undefined ? MdnsNetwork.layer({ service }) : MdnsNetwork.layerSealed({ key, service })
          ),
          Layer.provideMerge(Libp2p.layer({ listen: Kit.listen })),
          Layer.provide(ways),
          Layer.provideMerge(MemoryPeerStore.layer()),
          Layer.orDie
        )
      })
    )

type Services = Layer.Success<ReturnType<ReturnType<typeof layerOf>>>
type Node = SimNode<Services>

const connectedTo = (node: Node) =>
  node.run(
    Effect.flatMap(Swarm, (swarm) =>
      Effect.map(swarm.connections(), (open) => new Set(open.map(({ remotePeer }) => remotePeer.toString())))
    )
  )

const program = (durationMs: number, given: Array<Key | undefined>) => (simulation: Simulation<Services>) =>
  Effect.gen(function* () {
    const { faults, network, nodes, sometimes, world } = simulation
    const kit = Kit.make(simulation)
    const members = nodes.slice(0, -outsiders)
    const plain = nodes.slice(-outsiders, -2)
    const others = nodes.slice(-2)

    const names = new Map(nodes.map(({ name, peerId }) => [peerId.toString(), name]))
    const called = (ids: Iterable<string>) => [...ids].map((id) => names.get(id) ?? id).toSorted()
    const namesOf = (group: ReadonlyArray<Node>, but: Node) =>
      group.flatMap((node) => (node === but ? [] : [node.name])).toSorted()

    /** Each of a group becomes connected with all others of it. */
    const connect = (what: string, group: ReadonlyArray<Node>) =>
      Effect.gen(function* () {
        const began = world.timeline.now
        for (const node of group) {
          while ((yield* connectedTo(node)).size < group.length - 1) {
            if (world.timeline.now - began > connectMs) {
              const connected = called(yield* connectedTo(node))
              return world.fail(`${what}: ${node.name} is connected with ${connected.join(" ")} only`)
            }
            yield* Effect.sleep(stepMs)
          }
        }
        kit.figures[`${what}: all are connected after, s`] = rounded((world.timeline.now - began) / 1000)
      })

    /** Each of a group knows, and is connected with, the others of it and nobody else. */
    const apart = (what: string, groups: ReadonlyArray<ReadonlyArray<Node>>) =>
      Effect.gen(function* () {
        for (const group of groups) {
          for (const node of group) {
            const own = namesOf(group, node).join(" ")
            const known = called(yield* Kit.knownTo(node)).join(" ")
            const connected = called(yield* connectedTo(node)).join(" ")
            if (known !== own) world.fail(`${what}: ${node.name} knows ${known}, not ${own}`)
            if (connected !== own) world.fail(`${what}: ${node.name} is connected with ${connected}, not ${own}`)
          }
        }
      })

    /** Who is told where a stranger is cannot connect with it either. */
    const refused = (what: string, from: Node | undefined, to: Node | undefined) =>
      Effect.gen(function* () {
        if (from === undefined || to === undefined) return
        const dial = Effect.flatMap(Swarm, (swarm) => swarm.dial({ peer: to.peerId, addresses: to.addresses() }))
        const exit = yield* Effect.exit(Effect.timeout(from.run(dial), dialMs))
        if (exit._tag === "Success") world.fail(`${what}: ${from.name} is connected with ${to.name}`)
      })

    yield* kit.phase("all start")
    for (const group of [members, plain, others]) {
      yield* kit.whole(`${group.length} of ${nodes.length} at the start`, Kit.quickMs, group)
    }
    for (const group of [members, plain, others]) yield* connect(`${group.length} of ${nodes.length}`, group)
    yield* apart("at the start", [members, plain, others])
    yield* kit.phase("strangers knock")
    yield* refused("without a key", plain[0], members[0])
    yield* refused("towards one without a key", members[0], plain[0])
    yield* refused("with another key", others[0], members[1])
    yield* refused("towards one with another key", members[1], others[0])
    yield* sometimes("strangers knock in vain")

    yield* kit.phase("quiet")
    yield* kit.traffic("in quiet", 1, kit.quiet(durationMs, [members, plain, others]))
    yield* apart("after it", [members, plain, others])

    yield* kit.phase("a new key")
    const [last, ...renewed] = members.toReversed()
    if (last === undefined) return kit.figures
    for (const node of renewed) {
      yield* node.stop
      given[node.info.index] = "fresh"
    }
    yield* Effect.all(
      renewed.map((node) => node.start),
      { concurrency: "unbounded" }
    )
    yield* kit.whole("those with a new key", Kit.quickMs, renewed)
    yield* connect("those with a new key", renewed)
    yield* Effect.sleep(Kit.forgetMs)
    yield* apart("with a new key", [renewed, [last], plain, others])
    yield* refused("with the old key", last, renewed[0])
    yield* sometimes("an old key finds nobody")
    yield* last.stop
    given[last.info.index] = "fresh"
    yield* last.start
    yield* kit.whole("one that was given the new key", Kit.quickMs, members)
    yield* connect("all with a new key", members)
    yield* apart("all with a new key", [members, plain, others])
    yield* sometimes("one comes with the new key")

    yield* faults.heal
    kit.figures["datagrams in all, per receiver"] = network.stats.datagrams
    return kit.figures
  })

/** Clocks of nodes, ahead of the right time: they are up to eight minutes apart, and the hour ends within ten minutes of the start. */
const aheadMs = (index: number): number => (50 + 2 * (index % 5)) * 60_000

/** Runs the scenario, and tells what it measured. */
export const start = (
  options: Omit<SimulateOptions<never, never>, "layer" | "arrange">,
  durationMs: number,
  measured?: (figures: Figures) => void
) => {
  const given: Array<Key | undefined> = Array.from({ length: options.nodes }, (_, index) =>
    index < options.nodes - outsiders ? "old" : index < options.nodes - 2 ? undefined : "other"
  )
  let wiretap: Wiretap | undefined
  return simulate(
    {
      ...options,
      layer: layerOf(given),
      arrange: (network, nodes) => {
        Kit.onOneWire(nodes)
        for (const { info, place } of nodes) place.clock.jump(aheadMs(info.index))
        wiretap = new Wiretap(nodes, [service, ...Object.values(keys).map(({ fingerprint }) => fingerprint)])
        network.overhear(wiretap.hear)
      }
    },
    (simulation) =>
      Effect.gen(function* () {
        const figures = yield* program(durationMs, given)(simulation)
        const { nodes, sometimes, world } = simulation
        const isOpen = (index: number) => index >= nodes.length - outsiders && index < nodes.length - 2
        for (const node of nodes) {
          const heard = [...(wiretap?.of(node) ?? [])]
          const bytes = wiretap?.bytes.get(node.host.name) ?? 0
          if (bytes === 0) world.fail(`nothing was heard of ${node.name}`)
          if (!isOpen(node.info.index) && heard.length > 0) {
            world.fail(`who listens has heard of ${node.name}: ${heard.join(", ")}`)
          }
          // Who has no key is heard, or whoever listens is deaf.
          const own = [`the id of ${node.name}`, `the address of ${node.name}`, "its service", "its protocols"]
          if (isOpen(node.info.index) && own.some((what) => !heard.includes(what))) {
            world.fail(`who listens has not heard all of ${node.name}: ${heard.join(", ")}`)
          }
        }
        yield* sometimes("who listens hears those without a key, and nobody else")
        measured?.(figures)
      })
  )
}
