/** What the trials of the DHT have in common: figures, and what must hold of them. */
import * as Effect from "effect/Effect"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import type * as Dht from "./DhtNode.ts"

export type Network = Simulation<Dht.Services>
export type Figures = Record<string, number>

export const rounded = (value: number): number => Math.round(value * 1000) / 1000

export const figuresOf = (tally: Dht.Tally): Figures => ({
  lookups: tally.count,
  "found, of 1": rounded(tally.success),
  "hops, median": tally.median("hops"),
  "messages a lookup, median": tally.median("messages"),
  "virtual ms a lookup, median": Math.round(tally.median("ms"))
})

export const named = (name: string, figures: Figures): Figures =>
  Object.fromEntries(Object.entries(figures).map(([what, figure]) => [`${name}: ${what}`, figure]))

/** Fails the run unless so many were answered rightly. */
export const atLeast = ({ world }: Network, what: string, tally: Dht.Tally, share: number) =>
  Effect.sync(() => {
    if (tally.count > 0 && tally.success >= share) return
    world.fail(
      `${what}: ${tally.misses.length} of ${tally.count} questions came to nothing, such as ${tally.misses.slice(0, 3).join("; ")}`
    )
  })

/** Any of them but this one. */
export const another = (random: Prng, from: ReadonlyArray<Dht.DhtNode>, node: Dht.DhtNode): Dht.DhtNode =>
  random.pick(from.filter((one) => one !== node)) ?? node

/** Begins a stage of so many parts, for whoever watches; run what it gives after each. */
export const counting = ({ world }: Network, what: string, of: number): Effect.Effect<void> => {
  let done = 0
  world.stage = { what, done, of }
  return Effect.sync(() => {
    world.stage = { what, done: ++done, of }
  })
}
