/**
 * The scenarios of the DHT. All nodes enter at once by the first few, and have
 * some time to find each other; then they are asked, and what they find is held
 * against what is there.
 *
 * - `find`: values, providers, peers and the closest to a key, in calm.
 * - `churn`: all but the first come, stay for a while and go for good.
 * - `partition`: cut in two for a time; both halves go on, and meet again.
 * - `eclipse`: a fifth of the nodes lie.
 * - `sybil`: half of the liars have made themselves the closest to what is looked for;
 *   some of the others look out for such a crowd.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import process from "node:process"
import type { Prng } from "../../layers/simulation/Prng.ts"
import { start as simulate, type SimulateOptions } from "../../layers/simulation/Simulate.ts"
import * as Churn from "./Churn.ts"
import { lies } from "./DhtLies.ts"
import { another, atLeast, type Figures, figuresOf, named, type Network, rounded } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"
import * as Sybils from "./DhtSybils.ts"

export type Trial = "find" | "churn" | "partition" | "eclipse" | "sybil"

type Layer = ReturnType<typeof Dht.layerOf>

/** Time for nodes that came at once to get to know each other. */
const settleMs = 5 * 60_000
/** Questions of each kind in a round. */
const round = 30
/** Within so long both halves have found each other: that is how often a table is refreshed. */
const healWithinMs = 10 * 60_000
/**
 * How long a node stays, as it was measured in the network of IPFS (Trautwein
 * and others, 2022): log-normal, 40 minutes in the middle, an eighth of them for
 * eight hours or more.
 */
const medianStayMs = 40 * 60_000
const spreadOfStay = 2
/**
 * So many nodes do not join one by one: their tables are prepared, and what
 * they sign and encrypt costs nothing. Still more do not encrypt.
 */
const large = 100
const vast = 5000
/** Questions in a network of many. */
const many = 1000
/** Peers of a bucket where some lie: few, so that a lookup has a way to go in a small network too. */
const fewClosest = 8
/** Paths of those that ask by several. */
const disjoint = 8

/** Every fifth lies, but not those by whom the others enter; they take turns in how. */
const isLiar = (index: number) => index % 5 === 4
const isSybil = (index: number) => index % 10 === 9
const lieOf = (index: number) => (!isLiar(index) ? undefined : lies[Math.floor(index / 5) % lies.length])
const pathsOf = (index: number): number => (index % 2 === 0 ? 1 : disjoint)
const isGuarded = (index: number) => index % 4 < 2
const wayOf = (paths: number): string => (paths === 1 ? "1 path" : `${paths} paths`)

/** What the nodes of a trial are. */
const layerOf = (trial: Trial, nodes: number): Layer => {
  switch (trial) {
    case "find":
      return Dht.layerOf(
        nodes < large ? {} : { prepared: true, connections: 32, security: nodes < vast ? "noise" : "plaintext" }
      )
    case "partition":
      return Dht.layerOf()
    case "churn":
      return Dht.layerOf({ k: fewClosest })
    case "eclipse":
      return Dht.layerOf({
        k: fewClosest,
        lies: ({ index }) => lieOf(index),
        paths: ({ index }) => pathsOf(index),
        prepared: nodes >= large
      })
    case "sybil":
      return Dht.layerOf({
        k: fewClosest,
        lies: ({ index }) => (isLiar(index) ? "fellows" : undefined),
        paths: ({ index }) => pathsOf(index),
        isGuarded: ({ index }) => isGuarded(index),
        prepared: true,
        isHidden: ({ index }) => isSybil(index)
      })
  }
}

interface Round {
  readonly name: string
  readonly askers: ReadonlyArray<Dht.DhtNode>
  /** Who puts, provides and is looked for. */
  readonly holders: ReadonlyArray<Dht.DhtNode>
  /** All that are there, if those closest to a place are to be compared with them. */
  readonly present?: (() => ReadonlyArray<Dht.DhtNode>) | undefined
  readonly count?: number | undefined
}

/** Puts values and provides, each by a holder that it draws. */
const fill = (network: Network, { count = round, holders, name }: Round) =>
  Effect.gen(function* () {
    const random = network.world.random.fork(`holders of ${name}`)
    const told = new Dht.Tally()
    const all = yield* Effect.forEach(
      Array.from({ length: count }, (_, i) => ({ name: `${name} ${i}`, holder: random.pick(holders) })),
      ({ holder, name }) =>
        Effect.gen(function* () {
          if (holder === undefined) return []
          yield* Dht.ask(network, told, holder, `putting ${name}`, Dht.put(name), () => true)
          yield* Dht.ask(network, told, holder, `providing ${name}`, Dht.provide(name), () => true)
          return [{ name, holder }]
        }),
      { concurrency: 10 }
    )
    yield* atLeast(network, name, told, 1)
    // Announcements have no answer; they are on their way.
    yield* Effect.sleep("5 seconds")
    return all.flat()
  })

type Filled = Effect.Success<ReturnType<typeof fill>>

/** Asks for all that was filled in, by others than who holds it. */
const askAll = (network: Network, tally: Dht.Tally, { askers, name, present }: Round, filled: Filled) => {
  const random = network.world.random.fork(`askers of ${name}`)
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
      }),
    { concurrency: 10, discard: true }
  )
}

// ---- trials -----------------------------------------------------------------

const find = (network: Network, durationMs: number) =>
  network.nodes.length >= large ? findAmongMany(network) : findAmongFew(network, durationMs)

/** Bytes of all that is there, whether on the heap or not. */
const memoryBytes = (): number => {
  const heap = Churn.heapBytes()
  return heap + process.memoryUsage().arrayBuffers
}

/** Every node asks something, or a thousand of them; before the tables are due to be refreshed. */
const findAmongMany = (network: Network) =>
  Effect.gen(function* () {
    const { nodes, world } = network
    const began = process.cpuUsage()
    const idle = memoryBytes()
    const filled = yield* fill(network, { name: "value", askers: nodes, holders: nodes, count: 50 })
    const random = world.random.fork("askers")
    const order = nodes
      .map((node) => ({ node, place: random.nextDoubleUnsafe() }))
      .toSorted((a, b) => a.place - b.place)
    const tally = new Dht.Tally()
    const [wall, cpu] = [performance.now(), process.cpuUsage()]
    yield* Effect.forEach(
      Array.from({ length: many }, (_, i) => i),
      (i) => {
        const [from, known] = [order[i % order.length]?.node, filled[i % filled.length]]
        if (from === undefined || known === undefined) return Effect.void
        const peer = another(random, nodes, from)
        switch (i & 3) {
          case 0:
            return Dht.getValue(network, tally, from, known.name)
          case 1:
            return Dht.findProvider(network, tally, from, known.name, known.holder)
          case 2:
            return Dht.findPeer(network, tally, from, peer)
          default:
            return Dht.findClosest(network, tally, from, `around ${i}`, () => nodes)
        }
      },
      { concurrency: 16, discard: true }
    )
    const seconds = (performance.now() - wall) / 1000
    const spent = process.cpuUsage(cpu)
    const before = process.cpuUsage(began)
    yield* atLeast(network, "among many", tally, 1)
    const most = Math.log2(nodes.length)
    if (tally.median("hops") > most) world.fail(`${tally.median("hops")} hops in the middle, more than ${most}`)
    return {
      "nodes whose tables were prepared": nodes.length,
      ...figuresOf(tally),
      "hops, of 95 %": tally.quantile("hops", 0.95),
      "messages a lookup, of 95 %": tally.quantile("messages", 0.95),
      "lookups a minute of wall time": Math.round((60 * tally.count) / seconds),
      "CPU ms a lookup": rounded((spent.user + spent.system) / 1000 / tally.count),
      "CPU s of all questions": rounded((before.user + before.system) / 1e6),
      "KiB a node, before": Math.round(idle / 1024 / nodes.length),
      "KiB a node, after": Math.round(memoryBytes() / 1024 / nodes.length)
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

const churn = (network: Network, durationMs: number, layer: Layer) =>
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

const partition = (network: Network, durationMs: number) =>
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

const eclipse = (network: Network, durationMs: number) =>
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
      ...named(wayOf(1), figuresOf(one)),
      ...named(wayOf(disjoint), figuresOf(many))
    }
  })

const sybil = (network: Network) =>
  Effect.gen(function* () {
    const { nodes } = network
    const honest = nodes.filter(({ info }) => !isLiar(info.index))
    const figures: Figures = {
      "nodes that lie": nodes.length - honest.length,
      "of these, sybils at the place": nodes.filter(({ info }) => isSybil(info.index)).length
    }
    // Those who are not guarded first: the more was asked, the more know of the sybils and name them.
    for (const guarded of [false, true]) {
      for (const paths of [1, disjoint]) {
        const name = `${wayOf(paths)}, ${guarded ? "guarded" : "not guarded"}`
        const askers = honest.filter(({ info: { index } }) => pathsOf(index) === paths && isGuarded(index) === guarded)
        const tally = yield* Sybils.trial(network, askers, name)
        Object.assign(figures, named(name, figuresOf(tally)))
        // Of the others it is shown what they find, and nothing must hold: once honest peers name sybils, no path avoids them.
        if (guarded) yield* atLeast(network, name, tally, 0.95)
      }
    }
    return figures
  })

const trials = { sybil, find, churn, partition, eclipse }

/** Runs a trial, and tells what it measured. */
export const start = (
  trial: Trial,
  options: Omit<SimulateOptions<Dht.Services, unknown>, "layer">,
  durationMs: number,
  measured?: (figures: Figures) => void
) => {
  const layer = layerOf(trial, options.nodes)
  const cheapCrypto = options.nodes >= large
  const suits = trial === "sybil" ? Sybils.suits(isSybil) : undefined
  return simulate({ ...options, layer, cheapCrypto, suits }, (network) =>
    Effect.map(trials[trial](network, durationMs, layer), (figures) => measured?.(figures))
  )
}
