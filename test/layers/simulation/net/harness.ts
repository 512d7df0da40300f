/** Runs an effect on a simulated network, and makes hosts for it. */
import { assert } from "@effect/vitest"
import { Cause, Effect, type Scope } from "effect"
import type { LinkOptions } from "../../../../src/layers/simulation/net/SimNetwork.ts"
import {
  type HostOptions,
  type SimHost,
  SimNetwork,
  type SimNetworkOptions
} from "../../../../src/layers/simulation/net/SimNetwork.ts"
import { World } from "../../../../src/layers/simulation/World.ts"

export interface Sim {
  readonly world: World
  readonly network: SimNetwork
  readonly now: () => number
  /** Hosts are named and numbered in order: `n1` has 10.0.0.1. */
  readonly host: (options?: Partial<HostOptions>) => SimHost
  readonly notes: () => ReadonlyArray<string>
}

export interface SimOptions extends Partial<SimNetworkOptions> {
  readonly seed?: number | undefined
  readonly shuffle?: boolean | undefined
  /** Virtual time after which the test has failed. */
  readonly untilMs?: number | undefined
}

export const makeSim = (options: SimOptions = {}): Sim => {
  const world = new World({ seed: options.seed ?? 1, shuffle: options.shuffle })
  const random = world.random.fork("network")
  const network = new SimNetwork({ ...options, timeline: world.timeline, random, note: world.note })
  let hosts = 0
  return {
    world,
    network,
    now: () => world.timeline.now,
    host: (given) => {
      hosts++
      const name = given?.name ?? `n${hosts}`
      const { schedule } = world.place(name).scheduler
      return network.addHost({ name, addresses: [`10.0.0.${hosts}`], schedule, ...given })
    },
    notes: () => world.trace.latest.map(({ detail, kind, node }) => `${node} ${kind} ${detail}`)
  }
}

/** Runs the effect to its end, or fails the test. */
export const runIn = <A, E>(sim: Sim, effect: Effect.Effect<A, E, Scope.Scope>, untilMs = 3_600_000): A => {
  const { world } = sim
  const outcome = world.runSync(world.fork(world.place("test"), Effect.scoped(effect)), untilMs)
  if (outcome._tag !== "Done") return assert.fail(`the run ended by ${outcome._tag} at ${world.timeline.now} ms`)
  if (outcome.exit._tag === "Success") return outcome.exit.value
  throw Cause.squash(outcome.exit.cause)
}

/** A network of two hosts with this link. */
export const twoHosts = (link: LinkOptions, options: SimOptions = {}) => {
  const sim = makeSim({ link, ...options })
  const left = sim.host()
  const right = sim.host()
  return { ...sim, sim, left, right }
}
