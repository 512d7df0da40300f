/** How soon the nodes of a local network know each other, and what it costs that they do. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Benchmark, Done, type Effort } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

const network = "nodes in one process, multicast DNS on the interfaces of this machine"
const many = 20
const mebibyte = 1024 * 1024
const Memory = Schema.Struct({ bytes: Schema.Finite })

type Facts = Pick<Benchmark, "name" | "unit" | "about" | "cost">

/** Each round in a process of its own: nothing is left of the nodes before. */
const benchmark = (
  facts: Facts,
  measure: (peer: Peers.Peer, effort: Effort) => Effect.Effect<number, Peers.PeerError>
) => ({
  ...facts,
  better: "lower" as const,
  peers: ["js"],
  rounds: ({ idleRounds }: Effort) => idleRounds,
  prepare: (stack: Peers.Stack, effort: Effort) =>
    Effect.succeed({ round: Effect.flatMap(Peers.run(stack, "dial"), (peer) => measure(peer, effort)) })
})

const discover = (peer: Peers.Peer, count: number) =>
  Effect.map(peer.ask({ run: "lan-discover", count }, Done), ({ seconds }) => seconds)

const discovery = (count: number) =>
  benchmark(
    {
      name: `lan-discover-${count}`,
      unit: "s",
      about: `${count} ${network}, started at once: until all know all`,
      cost: () => ({ start: 0, round: 6 })
    },
    (peer) => discover(peer, count)
  )

/** As long as it takes until nobody asks more often than for ever after. */
const settle = ({ settleSeconds }: Effort) => 4 * settleSeconds
const counted = ({ settleSeconds }: Effort) => 3 * settleSeconds

export const lan: ReadonlyArray<Benchmark> = [
  discovery(2),
  discovery(many),
  benchmark(
    {
      name: "lan-packets",
      unit: "1/min",
      about: `packets that each of ${many} ${network} sends a minute once all know all`,
      cost: (effort) => ({ start: 0, round: 6 + settle(effort) + counted(effort) })
    },
    (peer, effort) =>
      Effect.gen(function* () {
        yield* discover(peer, many)
        yield* Effect.sleep(settle(effort) * 1000)
        const { count, seconds } = yield* peer.ask({ run: "lan-packets", seconds: counted(effort) }, Done)
        return ((count / seconds) * 60) / many
      })
  ),
  benchmark(
    {
      name: "lan-memory",
      unit: "MiB",
      about: `resident memory of ${many} ${network} that know each other, after garbage collection`,
      cost: () => ({ start: 0, round: 7 })
    },
    (peer) =>
      Effect.gen(function* () {
        yield* discover(peer, many)
        return (yield* peer.ask({ run: "memory" }, Memory)).bytes / mebibyte
      })
  )
]
