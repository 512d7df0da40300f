/**
 * A DHT in calm: everything is found, and in few hops. Few nodes have joined one
 * by one, and all ask. Of many, whose tables are prepared, some ask again and
 * again, as gateways do: their connections stay, and all others are asked.
 */
import * as Effect from "effect/Effect"
import process from "node:process"
import * as Churn from "./Churn.ts"
import { another, atLeast, counting, figuresOf, type Network, rounded } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"
import { askAll, fill, type Filled, type Round } from "./DhtRounds.ts"
import { large } from "./DhtTables.ts"

/** Questions in a network of many, those that are asked at once, and the nodes that ask. */
const questions = 2000
const atOnce = 16
const gateways = 20
/** Values that are put there. */
const values = 50

/** Those who ask in a network of many: places in the key space know nothing of the number of a node. */
export const isGateway = (index: number, nodes: number): boolean => index % Math.ceil(nodes / gateways) === 0

export const find = (network: Network, durationMs: number) =>
  network.nodes.length >= large ? findAmongMany(network) : findAmongFew(network, durationMs)

/** Bytes of all that is there, whether on the heap or not. */
const memoryBytes = (): number => {
  const heap = Churn.heapBytes()
  return heap + process.memoryUsage().arrayBuffers
}

/** Gateways ask for what was put, for who provides it, for others and for the closest to a place, each as often. */
const ask = (network: Network, tally: Dht.Tally, filled: Filled) => {
  const { nodes, world } = network
  const random = world.random.fork("askers")
  const asking = nodes.filter(({ info }) => isGateway(info.index, nodes.length))
  const next = counting(network, "asking", questions)
  return Effect.forEach(
    Array.from({ length: questions }, (_, i) => i),
    (i) =>
      Effect.suspend(() => {
        const [from, known] = [random.pick(asking), filled[(i >> 2) % filled.length]]
        if (from === undefined || known === undefined) return Effect.void
        switch (i & 3) {
          case 0:
            return Dht.getValue(network, tally, from, known.name)
          case 1:
            return Dht.findProvider(network, tally, from, known.name, known.holder)
          case 2:
            return Dht.findPeer(network, tally, from, another(random, nodes, from))
          default:
            return Dht.findClosest(network, tally, from, `around ${i}`, () => nodes)
        }
      }).pipe(Effect.andThen(next)),
    { concurrency: atOnce, discard: true }
  )
}

/** Says so, and then takes what it takes. */
const measureMemory = ({ world }: Network) =>
  Effect.andThen(
    Effect.suspend(() => {
      world.stage = { what: "measuring the memory" }
      return Effect.yieldNow
    }),
    Effect.sync(memoryBytes)
  )

const findAmongMany = (network: Network) =>
  Effect.gen(function* () {
    const { nodes, world } = network
    const began = process.cpuUsage()
    const idle = yield* measureMemory(network)
    const filled = yield* fill(network, { name: "value", askers: nodes, holders: nodes, count: values })
    const tally = new Dht.Tally()
    const [wall, cpu] = [performance.now(), process.cpuUsage()]
    yield* ask(network, tally, filled)
    const seconds = (performance.now() - wall) / 1000
    const spent = process.cpuUsage(cpu)
    const all = process.cpuUsage(began)
    const after = yield* measureMemory(network)
    yield* atLeast(network, "among many", tally, 1)
    const most = Math.log2(nodes.length)
    if (tally.median("hops") > most) world.fail(`${tally.median("hops")} hops in the middle, more than ${most}`)
    return {
      "nodes whose tables were prepared": nodes.length,
      "nodes that asked": nodes.filter(({ info }) => isGateway(info.index, nodes.length)).length,
      ...figuresOf(tally),
      "hops, of 95 %": tally.quantile("hops", 0.95),
      "messages a lookup, of 95 %": tally.quantile("messages", 0.95),
      "lookups a minute of wall time": Math.round((60 * tally.count) / seconds),
      "CPU ms a lookup": rounded((spent.user + spent.system) / 1000 / tally.count),
      "CPU s of all questions": rounded((all.user + all.system) / 1e6),
      "KiB a node, before": Math.round(idle / 1024 / nodes.length),
      "KiB a node, after": Math.round(after / 1024 / nodes.length)
    }
  })

const findAmongFew = (network: Network, durationMs: number) =>
  Effect.gen(function* () {
    const { nodes, world } = network
    yield* Effect.sleep(durationMs)
    const tally = new Dht.Tally()
    const all: Round = { name: "value", askers: nodes, holders: nodes, present: () => nodes }
    const filled = yield* fill(network, all)
    const began = performance.now()
    yield* askAll(network, tally, all, filled)
    const seconds = (performance.now() - began) / 1000
    yield* atLeast(network, "in calm", tally, 1)
    const most = Math.log2(nodes.length) + 1
    if (tally.median("hops") > most) world.fail(`${tally.median("hops")} hops in the middle, more than ${most}`)
    return {
      ...figuresOf(tally),
      "lookups a second of wall time": rounded(tally.count / seconds),
      "heap a node, KiB": Math.round(Churn.heapBytes() / 1024 / nodes.length)
    }
  })
