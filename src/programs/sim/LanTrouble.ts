/** What befalls a local network, one after the other; after each all must know all in a time that is given. */
import * as Effect from "effect/Effect"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import type { LocalNetwork } from "../../services/LocalNetwork.ts"
import { rounded } from "./DhtFigures.ts"
import { forgetMs, hostOf, type Kit, knownTo, type LanNode, lookMs, maxNodes, missing, quickMs } from "./LanKit.ts"
import * as Names from "./LanNames.ts"

/** Nothing tells a machine that the wire is whole again but what is said on it now and then. */
const mergeMs = 90_000
/** Most machines sleep so long, and one for an hour. */
const nightMs = 55 * 60_000
const longerMs = 5 * 60_000
/** One of so many is awake at night, three at least. */
const awakeOf = 10
/** For what was said last to get there, and to be said again where it was lost. */
const settleMs = 3000

/** What the phases need. */
export interface Stage<R> {
  readonly simulation: Simulation<R | LocalNetwork>
  readonly kit: Kit<R>
}

/** A machine loses its interface, and has another address when it is back. */
export const interfaces = <R>({ kit, simulation }: Stage<R>, node: LanNode<R>, other: LanNode<R>) =>
  Effect.gen(function* () {
    const { faults, sometimes, world } = simulation
    yield* kit.phase("an interface comes and goes")
    yield* faults.addressChange(node, [])
    yield* Effect.sleep(forgetMs + lookMs)
    if ((yield* missing([other, node])) < 2) world.fail("one without an interface is still known, or knows others")
    yield* faults.addressChange(node, [hostOf(maxNodes + 10)])
    yield* kit.whole("an interface that came back", lookMs + quickMs)
    yield* sometimes("an interface comes and goes")
  })

/**
 * Nearly all machines sleep, and wake at once; one sleeps on, and wakes among
 * many who had forgotten it. A few are awake all the time, which is what lets
 * many nodes sleep for an hour: each packet of each that is awake reaches all.
 */
export const night = <R>({ kit, simulation }: Stage<R>, lone: LanNode<R>) =>
  Effect.gen(function* () {
    const { faults, nodes, sometimes, world } = simulation
    yield* kit.phase("a night")
    const others = nodes.filter((node) => node !== lone)
    const awake = others.slice(0, Math.max(3, Math.floor(nodes.length / awakeOf)))
    const asleep = others.slice(awake.length)
    for (const node of [...asleep, lone]) {
      yield* faults.pause(node)
      yield* faults.isolate(node)
    }
    yield* Effect.sleep(nightMs)
    yield* kit.whole("at night, of those who are awake", 0, awake)
    for (const node of awake) {
      const known = yield* knownTo(node)
      if (known.size !== awake.length - 1) world.fail(`${node.name} knows ${known.size} peers at night`)
    }
    yield* faults.heal
    yield* faults.isolate(lone)
    for (const node of asleep) yield* faults.resume(node)
    yield* kit.whole("those who slept", quickMs, others)
    yield* sometimes("many sleep for long")
    yield* Effect.sleep(longerMs)
    yield* faults.heal
    yield* faults.resume(lone)
    yield* kit.whole("one that slept for an hour", quickMs)
    yield* sometimes("one sleeps for an hour")
  })

/** The clock of a machine is set ahead, and back. */
export const clocks = <R>({ kit, simulation }: Stage<R>, node: LanNode<R>) =>
  Effect.gen(function* () {
    const { faults, sometimes } = simulation
    yield* kit.phase("a clock is set")
    yield* faults.clockJump(node, 3_600_000)
    yield* kit.quiet(lookMs + quickMs)
    yield* faults.clockJump(node, -7_200_000)
    yield* kit.quiet(lookMs + quickMs)
    yield* sometimes("a clock is set ahead and back")
  })

/** The wire is cut in two until the halves have forgotten each other, and mended. */
export const merge = <R>({ kit, simulation }: Stage<R>) =>
  Effect.gen(function* () {
    const { faults, nodes, sometimes, world } = simulation
    yield* kit.phase("two networks become one")
    const half = nodes.length >> 1
    const [left, right] = [nodes.slice(0, half), nodes.slice(half)]
    yield* faults.partition(left, right)
    yield* Effect.sleep(forgetMs + quickMs)
    yield* kit.whole("the left half", 0, left)
    yield* kit.whole("the right half", 0, right)
    const pairs = 2 * half * (nodes.length - half)
    if ((yield* missing(nodes)) < pairs) world.fail("halves of a network that was cut still know some of each other")
    yield* faults.heal
    yield* kit.traffic("when two became one", 2, kit.whole("two networks that became one", mergeMs))
    yield* sometimes("two networks become one")
  })

/** Two that start at once have drawn one name; then somebody comes who has the name of one that is there. */
export const names = <R>({ kit, simulation }: Stage<R>, one: LanNode<R>, other: LanNode<R>, dice: Names.Dice) =>
  Effect.gen(function* () {
    const { network, nodes, sometimes, world } = simulation
    yield* kit.phase("two have one name")
    const wiretap = new Names.Listener()
    network.overhear((_, bytes) => wiretap.hear(bytes))
    const distinct = (what: string) =>
      Effect.gen(function* () {
        if ((yield* kit.renamed([one, other])) === 0) world.fail(`${what}: nobody took another name`)
        const of = [one, other].map(({ peerId }) => wiretap.nameOf(peerId))
        if (of[0] === undefined || of[0] === of[1]) world.fail(`${what}: both are called ${of[0]}`)
      })

    yield* one.stop
    yield* other.stop
    dice.load(one.info.index, "twins")
    dice.load(other.info.index, "twins")
    yield* Effect.all([one.start, other.start], { concurrency: 2 })
    yield* kit.whole("two that started with one name", quickMs)
    yield* Effect.sleep(settleMs)
    yield* distinct("two that started with one name")

    yield* one.stop
    dice.load(one.info.index, "namesakes")
    yield* one.start
    yield* kit.whole("one that is called like nobody", quickMs)
    yield* Effect.sleep(settleMs)
    yield* other.stop
    dice.load(other.info.index, "namesakes")
    yield* other.start
    yield* kit.whole("one that came with the name of another", quickMs)
    yield* Effect.sleep(settleMs)
    yield* distinct("one that came with the name of another")

    // Who goes says so in a name that was the other's.
    yield* other.stop
    yield* Effect.sleep(settleMs)
    yield* kit.whole(
      "those who stay when a namesake goes",
      0,
      nodes.filter((node) => node !== other)
    )
    dice.load(other.info.index, undefined)
    yield* other.start
    yield* kit.whole("all under names of their own", quickMs)
    network.overhear(undefined)
    yield* sometimes("two have one name")
  })

/** One says goodbye, and comes back. */
export const goodbye = <R>({ kit, simulation }: Stage<R>, node: LanNode<R>) =>
  Effect.gen(function* () {
    const { nodes, sometimes } = simulation
    yield* kit.phase("one goes and comes back")
    yield* node.stop
    yield* Effect.sleep(1000)
    const left = nodes.filter((other) => other !== node)
    const remember = yield* Effect.forEach(left, (other) =>
      Effect.map(knownTo(other), (known) => known.has(node.peerId.toString()))
    )
    const still = remember.filter((is) => is).length
    kit.figures["who had not heard a goodbye, of 1"] = rounded(still / left.length)
    yield* node.start
    yield* kit.whole("one that started again", quickMs)
    yield* sometimes("one goes and comes back")
  })
