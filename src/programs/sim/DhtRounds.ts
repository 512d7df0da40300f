/** Rounds of questions: some nodes put and provide, and others look for it, for them, and for who is closest to a place. */
import * as Effect from "effect/Effect"
import { another, atLeast, counting, type Network } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"

/** Time for nodes that came at once to get to know each other. */
export const settleMs = 5 * 60_000
/** Questions of each kind in a round. */
const usual = 30

export interface Round {
  readonly name: string
  readonly askers: ReadonlyArray<Dht.DhtNode>
  /** Who puts, provides and is looked for. */
  readonly holders: ReadonlyArray<Dht.DhtNode>
  /** All that are there, if those closest to a place are to be compared with them. */
  readonly present?: (() => ReadonlyArray<Dht.DhtNode>) | undefined
  readonly count?: number | undefined
}

/** Puts values and provides, each by a holder that it draws. */
export const fill = (network: Network, { count = usual, holders, name }: Round) =>
  Effect.gen(function* () {
    const random = network.world.random.fork(`holders of ${name}`)
    const next = counting(network, "putting and providing", count)
    const told = new Dht.Tally()
    const all = yield* Effect.forEach(
      Array.from({ length: count }, (_, i) => ({ name: `${name} ${i}`, holder: random.pick(holders) })),
      ({ holder, name }) =>
        Effect.gen(function* () {
          if (holder === undefined) return []
          yield* Dht.ask(network, told, holder, `putting ${name}`, Dht.put(name), () => true)
          yield* Dht.ask(network, told, holder, `providing ${name}`, Dht.provide(name), () => true)
          yield* next
          return [{ name, holder }]
        }),
      { concurrency: 10 }
    )
    yield* atLeast(network, name, told, 1)
    // Announcements have no answer; they are on their way.
    yield* Effect.sleep("5 seconds")
    return all.flat()
  })

export type Filled = Effect.Success<ReturnType<typeof fill>>

/** Asks for all that was filled in, by others than who holds it. */
export const askAll = (network: Network, tally: Dht.Tally, { askers, name, present }: Round, filled: Filled) => {
  const random = network.world.random.fork(`askers of ${name}`)
  const next = counting(network, "asking", filled.length)
  const drawn = filled.map(({ holder, name }) => ({
    name,
    holder,
    from: Array.from({ length: 4 }, () => another(random, askers, holder))
  }))
  return Effect.forEach(
    drawn,
    ({ from: [a, b, c, d], holder, name }) =>
      Effect.gen(function* () {
        if (a === undefined || b === undefined || c === undefined || d === undefined) return
        yield* Dht.getValue(network, tally, a, name)
        yield* Dht.findProvider(network, tally, b, name, holder)
        yield* Dht.findPeer(network, tally, c, holder)
        if (present !== undefined) yield* Dht.findClosest(network, tally, d, `around ${name}`, present)
        yield* next
      }),
    { concurrency: 10, discard: true }
  )
}
