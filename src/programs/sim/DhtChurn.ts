/**
 * A DHT whose nodes come, stay for a while and go for good, as they do in life.
 * Somebody asks something every so often; what those who stay have put must be
 * there to the end.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Prng } from "../../layers/simulation/Prng.ts"
import * as Churn from "./Churn.ts"
import { atLeast, figuresOf, type Network } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"
import { fill, type Filled, settleMs } from "./DhtRounds.ts"

type Layer = ReturnType<typeof Dht.layerOf>

/**
 * How long a node stays, as it was measured in the network of IPFS (Trautwein
 * and others, 2022): log-normal, 40 minutes in the middle, an eighth of them for
 * eight hours or more.
 */
const medianStayMs = 40 * 60_000
const spreadOfStay = 2

/** How long somebody who comes stays. */
const stay = (random: Prng): number => medianStayMs * Math.exp(spreadOfStay * normal(random))

/** How long somebody who is there stays yet: those who stay for long are met more often than they come. */
const rest = (random: Prng): number =>
  random.nextDoubleUnsafe() * medianStayMs * Math.exp(spreadOfStay * (normal(random) + spreadOfStay))

const normal = (random: Prng): number =>
  Math.sqrt(-2 * Math.log(1 - random.nextDoubleUnsafe())) * Math.cos(2 * Math.PI * random.nextDoubleUnsafe())

/** Those of a churning network that are there, and when each came. */
type Present = Map<Dht.DhtNode, number>

/** One place in the network: who has it stays for a while and goes for good, and then another comes. */
const visit = (network: Network, layer: Layer, present: Present, first: Dht.DhtNode, next: () => number) =>
  Effect.gen(function* () {
    const { sometimes, world } = network
    const random = world.random.fork(`stays after ${first.name}`)
    for (let node = first; ;) {
      yield* Effect.gen(function* () {
        yield* node.start
        present.set(node, world.timeline.now)
        yield* Effect.sleep(node === first ? rest(random) : stay(random))
        present.delete(node)
        const crashes = random.chance(0.5)
        if (crashes) node.crash("lost")
        else yield* node.stop
        yield* sometimes(crashes ? "a node goes without a word" : "a node leaves")
      }).pipe(Effect.onInterrupt(() => node.stop))
      if (node !== first) network.network.removeHost(node.host)
      node = Churn.arrive(network, next(), { layer })
    }
  }).pipe(Effect.catch((error) => Effect.sync(() => network.world.fail(`a node does not start: ${String(error)}`))))

/** Some value, provider, peer or place is looked for by anyone, every so often. */
const wonder = (network: Network, present: Present, filled: Filled, tally: Dht.Tally, everyMs: number) => {
  const { world } = network
  const random = world.random.fork("questions")
  const settled = () => [...present].flatMap(([node, since]) => (world.timeline.now - since > 60_000 ? [node] : []))
  return Effect.gen(function* () {
    for (let i = 0; ; i++) {
      yield* Effect.sleep(everyMs)
      const all = settled()
      const [from, known, peer] = [random.pick(all), random.pick(filled), random.pick(all)]
      if (from === undefined || known === undefined || peer === undefined) continue
      if (i % 3 === 0) yield* Dht.getValue(network, tally, from, known.name)
      else if (i % 3 === 1) yield* Dht.findProvider(network, tally, from, known.name, known.holder)
      else if (peer !== from) yield* Dht.findPeer(network, tally, from, peer)
    }
  })
}

export const churn = (network: Network, durationMs: number, layer: Layer) =>
  Effect.gen(function* () {
    const { nodes, world } = network
    const staying = nodes.slice(0, Dht.entrances)
    const present: Present = new Map(nodes.map((node) => [node, 0]))
    yield* Effect.sleep(settleMs)
    // Whoever put a value looks after it; what nobody looks after is gone with its last holder.
    const filled = yield* fill(network, { name: "early", askers: nodes, holders: staying, count: 10 })
    let came = 0
    const visits = yield* Effect.forEach(nodes.slice(Dht.entrances), (node) =>
      Effect.forkChild(visit(network, layer, present, node, () => came++))
    )
    const tally = new Dht.Tally()
    const asking = yield* Effect.forkChild(wonder(network, present, filled, tally, 20_000))
    yield* Effect.sleep(durationMs)
    yield* Fiber.interrupt(asking)
    const late = new Dht.Tally()
    const random = world.random.fork("askers at the end")
    yield* Effect.forEach(filled, ({ name }) =>
      Dht.getValue(network, late, random.pick([...present.keys()]) ?? network.nodes[0], name)
    )
    yield* Fiber.interruptAll(visits)
    yield* atLeast(network, "meanwhile", tally, 0.99)
    yield* atLeast(network, "at the end", late, 1)
    return { ...figuresOf(tally), "values found at the end, of 1": late.success, "nodes that came": came }
  })
