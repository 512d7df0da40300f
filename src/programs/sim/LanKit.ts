/** What the scenarios of the local network have in common: who knows whom, how soon, and how much is said. */
import * as Effect from "effect/Effect"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { LocalNetwork } from "../../services/LocalNetwork.ts"
import { rounded } from "./DhtFigures.ts"

/** One wire has so many addresses, some of them for machines that move. */
export const maxNodes = 200

/** Where nodes listen. */
export const listen = ["/ip4/0.0.0.0/tcp/4001"]

export const hostOf = (index: number): string => `192.168.7.${index + 1}`

/** From the start, and from each change that a machine notices by itself. */
export const quickMs = 5000
/** Machines notice that their addresses have changed within so long. */
export const lookMs = 10_000
/** How long somebody who is gone is remembered. */
export const forgetMs = 125_000
/** Between two looks at whether all know all. */
const stepMs = 50
/** The same while it is quiet: nobody may be forgotten. */
const watchMs = 20_000

/** A node on the local network, with whatever else it has. */
export type LanNode<R> = SimNode<R | LocalNetwork>

/** Puts all nodes on one wire. */
export const onOneWire = (nodes: ReadonlyArray<SimNode<never>>): void => {
  for (const node of nodes) node.host.setAddresses([hostOf(node.info.index)])
}

/** Read from outside, without a turn of the node. */
const networkOf = <R>(node: LanNode<R>) => node.get(LocalNetwork)
const peersOf = <R>(node: LanNode<R>) => Effect.flatMap(networkOf(node), ({ peers }) => peers)
const countersOf = <R>(node: LanNode<R>) =>
  Effect.flatMap(networkOf(node), ({ status }) => Effect.map(status, ({ counters }) => counters))

/** The ids of those whom a node knows. */
export const knownTo = <R>(node: LanNode<R>) =>
  Effect.map(peersOf(node), (peers) => new Set(peers.map(({ peer }) => peer.toString())))

/** Those of these that a node does not know at the address that they have. */
const missingAt = <R>(node: LanNode<R>, of: ReadonlyArray<LanNode<R>>) =>
  Effect.map(peersOf(node), (peers) => {
    const known = new Map(peers.map(({ addresses, peer }) => [peer.toString(), addresses]))
    return of.filter((other) => {
      if (other === node) return false
      const address = `/ip4/${other.host.addresses[0]}/tcp/4001`
      return known.get(other.peerId.toString())?.some((one) => one.toString() === address) !== true
    })
  })

const sum = (counts: ReadonlyArray<number>): number => counts.reduce((total, count) => total + count, 0)

/** Pairs of which one does not know the other. */
const pairsMissing = <R>(nodes: ReadonlyArray<LanNode<R>>) =>
  Effect.map(
    Effect.forEach(nodes, (node) =>
      Effect.map(missingAt(node, nodes), (others) => others.map((other) => `${node.name} ${other.name}`))
    ),
    (pairs) => pairs.flat()
  )

/** How many there are. */
export const missing = <R>(nodes: ReadonlyArray<LanNode<R>>) => Effect.map(pairsMissing(nodes), ({ length }) => length)

/** Whether there are none; it ends with the first that is missing. */
const isWhole = <R>(nodes: ReadonlyArray<LanNode<R>>) =>
  Effect.gen(function* () {
    for (const node of nodes) if ((yield* missingAt(node, nodes)).length > 0) return false
    return true
  })

/** What is asked of a local network, and what was measured of it. */
export const make = <R>({ nodes, world }: Pick<Simulation<R | LocalNetwork>, "nodes" | "world">) => {
  const figures: Record<string, number> = {}

  /** A phase has begun: whoever watches is told. */
  const phase = (what: string) =>
    Effect.sync(() => {
      world.stage = { what }
    })

  /** Waits until all of these know all of them, for so long at most; notes how long it took. */
  const whole = (what: string, withinMs: number, of: ReadonlyArray<LanNode<R>> = nodes) =>
    Effect.gen(function* () {
      const began = world.timeline.now
      for (;;) {
        const tookMs = world.timeline.now - began
        if (yield* isWhole(of)) {
          figures[`${what}: all know all after, s`] = rounded(tookMs / 1000)
          return
        }
        if (tookMs > withinMs) {
          const pairs = yield* pairsMissing(of)
          const some = pairs.slice(0, 3).join(", ")
          world.fail(
            `${what}: of ${pairs.length} pairs one does not know the other after ${Math.round(tookMs)} ms: ${some}`
          )
          return
        }
        yield* Effect.sleep(stepMs)
      }
    })

  const sent = Effect.map(
    Effect.forEach(nodes, (node) => Effect.map(countersOf(node), (counters) => counters.sent)),
    sum
  )

  /** Packets a second of a node while `effect` runs. */
  const traffic = <A, E, R2>(what: string, most: number, effect: Effect.Effect<A, E, R2>) =>
    Effect.gen(function* () {
      const [before, began] = [yield* sent, world.timeline.now]
      yield* effect
      const rate = ((yield* sent) - before) / nodes.length / ((world.timeline.now - began) / 1000)
      figures[`${what}: packets a second of a node`] = rounded(rate)
      if (rate >= most) world.fail(`${what}: ${rounded(rate)} packets a second of a node`)
    })

  /** Nothing happens for a while; all of each group go on knowing each other. */
  const quiet = (forMs: number, groups: ReadonlyArray<ReadonlyArray<LanNode<R>>> = [nodes]) =>
    Effect.gen(function* () {
      // By what is left of it: what is left of a time is a fraction that may be too small to pass.
      for (let leftMs = forMs; leftMs > 0; leftMs -= watchMs) {
        yield* Effect.sleep(Math.min(watchMs, leftMs))
        for (const group of groups) {
          if (!(yield* isWhole(group))) world.fail(`in quiet: ${yield* missing(group)} pairs were forgotten`)
        }
      }
    })

  /** How many times peers have had to take another name since they started. */
  const renamed = (of: ReadonlyArray<LanNode<R>>) =>
    Effect.map(
      Effect.forEach(of, (node) => Effect.map(countersOf(node), (counters) => counters.renamed)),
      sum
    )

  return { figures, phase, whole, traffic, quiet, renamed }
}

export type Kit<R> = ReturnType<typeof make<R>>
