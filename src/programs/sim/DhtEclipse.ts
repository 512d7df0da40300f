/** A DHT of which some lie; and one in which liars have made themselves the closest to what is looked for. */
import * as Effect from "effect/Effect"
import { atLeast, type Figures, figuresOf, named, type Network } from "./DhtFigures.ts"
import { type Lie, lies } from "./DhtLies.ts"
import * as Dht from "./DhtNode.ts"
import { askAll, fill, type Round } from "./DhtRounds.ts"
import * as Sybils from "./DhtSybils.ts"
import { large } from "./DhtTables.ts"

/** Paths of those that ask by several. */
const disjoint = 8

/** Every fifth lies, but not those by whom the others enter; they take turns in how. */
export const isLiar = (index: number): boolean => index % 5 === 4
export const isSybil = (index: number): boolean => index % 10 === 9
export const lieOf = (index: number): Lie | undefined =>
  isLiar(index) ? lies[Math.floor(index / 5) % lies.length] : undefined
/** Half of the nodes ask by one path, the others by several; of both, half look out for crowds. */
export const pathsOf = (index: number): number => (index % 2 === 0 ? 1 : disjoint)
export const isGuarded = (index: number): boolean => index % 4 < 2
const wayOf = (paths: number): string => (paths === 1 ? "1 path" : `${paths} paths`)

export const eclipse = (network: Network, durationMs: number) =>
  Effect.gen(function* () {
    const { nodes } = network
    if (nodes.length < large) yield* Effect.sleep(durationMs)
    const honest = nodes.filter(({ info }) => lieOf(info.index) === undefined)
    const by = (paths: number) =>
      Effect.gen(function* () {
        const tally = new Dht.Tally()
        const asking: Round = {
          name: `with ${paths} paths`,
          askers: honest.filter(({ info }) => pathsOf(info.index) === paths),
          holders: honest,
          count: 15
        }
        yield* askAll(network, tally, asking, yield* fill(network, asking))
        return tally
      })
    const [one, many] = [yield* by(1), yield* by(disjoint)]
    yield* atLeast(network, `by ${disjoint} paths`, many, 0.95)
    return {
      "nodes that lie": nodes.length - honest.length,
      "of these, sybils at a place": 0,
      ...named(wayOf(1), figuresOf(one)),
      ...named(wayOf(disjoint), figuresOf(many))
    }
  })

export const sybil = (network: Network) =>
  Effect.gen(function* () {
    const { nodes } = network
    const honest = nodes.filter(({ info }) => !isLiar(info.index))
    const figures: Figures = {
      "nodes that lie": nodes.length - honest.length,
      "of these, sybils at a place": nodes.filter(({ info }) => isSybil(info.index)).length
    }
    for (const guarded of [false, true]) {
      for (const paths of [1, disjoint]) {
        const name = `${wayOf(paths)}, ${guarded ? "guarded" : "not guarded"}`
        const askers = honest.filter(({ info: { index } }) => pathsOf(index) === paths && isGuarded(index) === guarded)
        const tally = yield* Sybils.trial(network, askers, name)
        Object.assign(figures, named(name, figuresOf(tally)))
        // Of the others it is shown what they find, and nothing must hold: honest peers name sybils too, and no path avoids them.
        if (guarded) yield* atLeast(network, name, tally, 0.95)
      }
    }
    return figures
  })
