/**
 * The scenario of the local network: machines on one wire that loses a part of
 * what is sent, and find each other by multicast DNS. They start at once; then
 * it is quiet; then interfaces change, a machine sleeps for an hour, a clock is
 * set, and the wire is cut in two and mended. After each all must know all in a
 * time that is given, and what is said must stay little.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MdnsNetwork from "../../layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import { type Simulation, start as simulate, type SimulateOptions } from "../../layers/simulation/Simulate.ts"
import { LocalNetwork } from "../../services/LocalNetwork.ts"
import { type Figures, rounded } from "./DhtFigures.ts"

/** One wire has so many addresses, some of them for machines that move. */
export const maxNodes = 200

const layer = () =>
  MdnsNetwork.layer().pipe(
    Layer.orDie,
    Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] })),
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer())
  )

type Services = Layer.Success<ReturnType<typeof layer>>
type LanNode = SimNode<Services>

const hostOf = (index: number): string => `192.168.7.${index + 1}`

/** From the start, and from each change that a machine notices by itself. */
const quickMs = 5000
/** Machines notice that their addresses have changed within so long. */
const lookMs = 10_000
/** Nothing tells a machine that the wire is whole again but what is said on it now and then. */
const mergeMs = 90_000
/** How long somebody who is gone is remembered. */
const forgetMs = 125_000
const stepMs = 50
/** Each packet reaches all: more nodes than this start, are quiet, and see one come back, and that is enough. */
const many = 100

/** Read from outside, without a turn of the node. */
const peersOf = (node: LanNode) => Effect.flatMap(node.get(LocalNetwork), ({ peers }) => peers)

/** How many of these a node does not know at the address that they have. */
const missingAt = (node: LanNode, of: ReadonlyArray<LanNode>) =>
  Effect.map(peersOf(node), (peers) => {
    const known = new Map(peers.map(({ addresses, peer }) => [peer.toString(), addresses]))
    return of.filter((other) => {
      if (other === node) return false
      const address = `/ip4/${other.host.addresses[0]}/tcp/4001`
      return known.get(other.peerId.toString())?.some((one) => one.toString() === address) !== true
    }).length
  })

/** Pairs of which one does not know the other. */
const missing = (nodes: ReadonlyArray<LanNode>) =>
  Effect.map(
    Effect.forEach(nodes, (node) => missingAt(node, nodes)),
    (counts) => counts.reduce((sum, count) => sum + count, 0)
  )

/** Whether there are none; it ends with the first that is missing. */
const isWhole = (nodes: ReadonlyArray<LanNode>) =>
  Effect.gen(function* () {
    for (const node of nodes) if ((yield* missingAt(node, nodes)) > 0) return false
    return true
  })

const program = (durationMs: number) => (simulation: Simulation<Services>) =>
  Effect.gen(function* () {
    const { faults, network, nodes, sometimes, world } = simulation
    const figures: Record<string, number> = {}

    /** Waits until all of these know all of them, for so long at most; gives how long it took. */
    const whole = (what: string, withinMs: number, of: ReadonlyArray<LanNode> = nodes) =>
      Effect.gen(function* () {
        const began = world.timeline.now
        for (;;) {
          const tookMs = world.timeline.now - began
          if (yield* isWhole(of)) {
            figures[`${what}: all know all after, s`] = rounded(tookMs / 1000)
            return
          }
          if (tookMs > withinMs) {
            world.fail(`${what}: ${yield* missing(of)} pairs do not know each other after ${Math.round(tookMs)} ms`)
            return
          }
          yield* Effect.sleep(stepMs)
        }
      })

    const sent = Effect.map(
      Effect.forEach(nodes, (node) =>
        Effect.map(
          Effect.flatMap(node.get(LocalNetwork), ({ status }) => status),
          ({ counters }) => counters.sent
        )
      ),
      (counts) => counts.reduce((sum, count) => sum + count, 0)
    )
    /** Packets a second of a node while `effect` runs. */
    const traffic = <A, E, R>(what: string, most: number, effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const [before, began] = [yield* sent, world.timeline.now]
        yield* effect
        const rate = ((yield* sent) - before) / nodes.length / ((world.timeline.now - began) / 1000)
        figures[`${what}: packets a second of a node`] = rounded(rate)
        if (rate >= most) world.fail(`${what}: ${rounded(rate)} packets a second of a node`)
      })

    /** All that can befall a local network. */
    const trouble = (first: LanNode, second: LanNode, third: LanNode) =>
      Effect.gen(function* () {
        yield* faults.addressChange(first, [])
        yield* Effect.sleep(forgetMs + lookMs)
        if ((yield* missing([second, first])) < 2)
          world.fail("one without an interface is still known, or knows others")
        yield* faults.addressChange(first, [hostOf(maxNodes + 10)])
        yield* whole("an interface that came back", lookMs + quickMs)
        yield* sometimes("an interface comes and goes")

        yield* faults.pause(second)
        yield* faults.isolate(second)
        yield* Effect.sleep("1 hour")
        yield* faults.heal
        yield* faults.resume(second)
        yield* whole("one that slept", quickMs)
        yield* sometimes("one sleeps for long")

        yield* faults.clockJump(third, 3_600_000)
        yield* Effect.sleep(lookMs + quickMs)
        yield* whole("one whose clock was set", 0)
        yield* faults.clockJump(third, -7_200_000)
        yield* Effect.sleep(lookMs + quickMs)
        yield* whole("one whose clock was set back", 0)

        const half = nodes.length >> 1
        yield* faults.partition(nodes.slice(0, half), nodes.slice(half))
        yield* Effect.sleep(forgetMs + quickMs)
        yield* whole("the left half", 0, nodes.slice(0, half))
        yield* whole("the right half", 0, nodes.slice(half))
        yield* faults.heal
        yield* traffic("when two became one", 2, whole("two networks that became one", mergeMs))
        yield* sometimes("two networks become one")
      })

    yield* whole("at the start", quickMs)
    yield* Effect.sleep("30 seconds")
    yield* traffic("in quiet", 1, Effect.sleep(durationMs))
    yield* whole("after it", 0)

    const [first, second, third] = nodes
    if (second === undefined || third === undefined) return figures
    if (nodes.length <= many) yield* trouble(first, second, third)
    yield* third.stop
    yield* Effect.sleep(1000)
    const left = nodes.filter((node) => node !== third)
    const remember = yield* Effect.forEach(left, (node) =>
      Effect.map(peersOf(node), (peers) => peers.some(({ peer }) => peer.toString() === third.peerId.toString()))
    )
    const still = remember.filter((is) => is).length
    figures["who had not heard a goodbye, of 1"] = rounded(still / left.length)
    yield* third.start
    yield* whole("one that started again", quickMs)
    figures["datagrams in all, per receiver"] = network.stats.datagrams
    return figures
  })

/** Runs the scenario, and tells what it measured. */
export const start = (
  options: Omit<SimulateOptions<Services, unknown>, "layer">,
  durationMs: number,
  measured?: (figures: Figures) => void
) =>
  simulate(
    {
      ...options,
      layer,
      cheapCrypto: true,
      arrange: (_, nodes) => {
        for (const node of nodes) node.host.setAddresses([hostOf(node.info.index)])
      }
    },
    (simulation) => Effect.map(program(durationMs)(simulation), (figures) => measured?.(figures))
  )
