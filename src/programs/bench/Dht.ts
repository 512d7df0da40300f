/** How well the nodes of a DHT find each other and what they hold, many of them in one process. */
import * as Effect from "effect/Effect"
import { type Benchmark, Done } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

/** What the slowest stack takes until so many nodes have joined, in seconds. */
const joining = (nodes: number) => (nodes / 50) ** 2 * 25

const network = "nodes in one process, TCP on loopback, Noise, Yamux, k = 20, alpha = 10"

const join: Benchmark = {
  name: "dht-join",
  unit: "s",
  better: "lower",
  about: `${network}: until each has dialled the first, has looked itself up, and has 20 peers in its table`,
  peers: ["js"],
  rounds: ({ idleRounds }) => idleRounds,
  cost: ({ nodes }) => ({ start: 0, round: 1 + joining(nodes) }),
  prepare: (stack, { nodes }) =>
    Effect.succeed({
      // Each time in a process of its own: nothing is left of the nodes before.
      round: Effect.gen(function* () {
        const peer = yield* Peers.run(stack, "dial")
        return (yield* peer.ask({ run: "dht-join", count: nodes }, Done)).seconds
      })
    })
}

/** Milliseconds for one of them, one after the other, by each node in turn. */
const each = (name: string, about: string, run: "dht-put" | "dht-get" | "dht-lookup"): Benchmark => ({
  name,
  unit: "ms",
  better: "lower",
  about: `${network}: ${about}`,
  peers: ["js"],
  cost: ({ nodes, seconds, settleSeconds }) => ({
    start: 2 + joining(nodes) + settleSeconds + 2 * seconds,
    round: 1 + seconds
  }),
  prepare: (stack, { nodes, seconds, settleSeconds }) =>
    Effect.gen(function* () {
      const peer = yield* Peers.run(stack, "dial")
      const ask = (command: "dht-put" | "dht-get" | "dht-lookup") =>
        peer.ask({ run: command, seconds, size: 100 }, Done)
      yield* peer.ask({ run: "dht-join", count: nodes }, Done)
      // What the nodes do for a while after they have met is not what is measured.
      yield* Effect.sleep(settleSeconds * 1000)
      yield* ask("dht-put")
      if (run !== "dht-put") yield* ask(run)
      return { round: Effect.map(ask(run), (done) => (1000 * done.seconds) / done.count) }
    })
})

export const dht: ReadonlyArray<Benchmark> = [
  join,
  each("dht-put", "a record of 100 bytes put to the 20 peers closest to its key", "dht-put"),
  each("dht-get", "a record got from all of the 20 peers closest to its key, the best of their answers", "dht-get"),
  each("dht-lookup", "the 20 peers closest to a key", "dht-lookup")
]
