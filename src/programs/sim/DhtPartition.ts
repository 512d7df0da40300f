/** A DHT that is cut in two at random: both halves go on, and find each other again. */
import * as Effect from "effect/Effect"
import { atLeast, figuresOf, named, type Network } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"
import { askAll, fill, type Round, settleMs } from "./DhtRounds.ts"

/** Within so long both halves have found each other: that is how often a table is refreshed. */
const healWithinMs = 10 * 60_000

export const partition = (network: Network, durationMs: number) =>
  Effect.gen(function* () {
    const { faults, nodes, world } = network
    yield* Effect.sleep(settleMs)
    const random = world.random.fork("halves")
    const order = nodes
      .map((node) => ({ node, place: random.nextDoubleUnsafe() }))
      .toSorted((a, b) => a.place - b.place)
    const left = order.slice(0, order.length >> 1).map(({ node }) => node)
    const right = order.slice(order.length >> 1).map(({ node }) => node)
    yield* faults.partition(left, right)
    yield* Effect.sleep(durationMs)
    // Each half goes on by itself.
    const apart = new Dht.Tally()
    const halves = yield* Effect.forEach(
      [
        { name: "left", mine: left, others: right },
        { name: "right", mine: right, others: left }
      ],
      ({ mine, name, others }) =>
        Effect.gen(function* () {
          const own: Round = { name, askers: mine, holders: mine, present: () => mine, count: 5 }
          const filled = yield* fill(network, own)
          yield* askAll(network, apart, own, filled)
          return { filled, across: { name, askers: others, holders: mine, present: () => nodes } }
        })
    )
    yield* atLeast(network, "apart", apart, 0.95)

    yield* faults.heal
    const healed = world.timeline.now
    for (let again = 0; ; again++) {
      yield* Effect.sleep("30 seconds")
      const together = new Dht.Tally()
      for (const { across, filled } of halves) {
        yield* askAll(network, together, { ...across, name: `${across.name}, again ${again}` }, filled)
      }
      const tookMs = world.timeline.now - healed
      if (together.success === 1)
        return {
          ...named("apart", figuresOf(apart)),
          ...named("together", figuresOf(together)),
          "healed after, s": Math.round(tookMs / 1000)
        }
      if (tookMs < healWithinMs) continue
      yield* atLeast(network, "after one refresh", together, 1)
      return named("together", figuresOf(together))
    }
  })
