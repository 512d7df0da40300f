/** How fast bytes go over streams, one way. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Benchmark, pair, rate, type RateFacts } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

const mebibyte = 1024 * 1024
const block = 64 * 1024
const { chacha20, portable, tcp, tls } = Peers.limits

const transfer = (facts: Omit<RateFacts, "unit">, command: Parameters<typeof rate>[1]) =>
  rate({ ...facts, unit: "MiB/s" }, command, mebibyte)

/** What a slow reader on the same connection costs the seven others. */
const Slow = Schema.Struct({ alone: Schema.Finite, beside: Schema.Finite })
const Memory = Schema.Struct({ bytes: Schema.Finite, peak: Schema.Finite })
const slowCost: Benchmark["cost"] = ({ seconds }) => ({ start: 1, round: 2 * seconds })

const slowReader: Benchmark = {
  name: "slow-reader",
  unit: "%",
  better: "higher",
  about: "of the rate of seven streams that is left when an eighth on their connection is read slowly",
  cost: slowCost,
  prepare: (stack, { seconds }) =>
    Effect.gen(function* () {
      const [{ address }, dialer] = yield* pair(stack)
      const round = dialer.ask({ run: "slow-reader", address, seconds, size: block }, Slow)
      return { round: Effect.map(round, ({ alone, beside }) => (100 * beside) / alone) }
    })
}

const slowReaderMemory: Benchmark = {
  name: "slow-reader-memory",
  unit: "MiB",
  better: "lower",
  about: "by which the most memory of the reading process exceeds that at rest, meanwhile",
  rounds: ({ idleRounds }) => idleRounds,
  cost: ({ seconds }) => ({ start: 0, round: 2 + 2 * seconds }),
  prepare: (stack, { seconds }) =>
    Effect.succeed({
      round: Effect.gen(function* () {
        const [{ address }, dialer] = yield* pair(stack)
        const rest = yield* dialer.ask({ run: "memory" }, Memory)
        yield* dialer.ask({ run: "slow-reader", address, seconds, size: block }, Slow)
        const { peak } = yield* dialer.ask({ run: "memory" }, Memory)
        return (peak - rest.bytes) / mebibyte
      })
    })
}

export const transfers: ReadonlyArray<Benchmark> = [
  transfer(
    {
      name: "upload",
      about: "one stream, the dialer sends 64 KiB at a time; Noise",
      limits: [chacha20, tcp, portable]
    },
    { run: "upload", size: block }
  ),
  transfer(
    { name: "download", about: "one stream, the listener sends 64 KiB at a time; Noise", limits: [chacha20, tcp] },
    { run: "download", size: block }
  ),
  transfer(
    { name: "upload-1k", about: "one stream, the dialer sends 1 KiB at a time; Noise", limits: [tcp] },
    { run: "upload", size: 1024 }
  ),
  transfer(
    { name: "upload-tls", security: "tls", about: "as upload, with TLS", limits: [tls] },
    { run: "upload", size: block }
  ),
  transfer(
    { name: "download-tls", security: "tls", about: "as download, with TLS", limits: [tls] },
    { run: "download", size: block }
  ),
  transfer(
    { name: "upload-1k-tls", security: "tls", about: "as upload-1k, with TLS", limits: [tls] },
    { run: "upload", size: 1024 }
  ),
  transfer(
    { name: "upload-8-streams", about: "the sum of eight streams on one connection; Noise" },
    { run: "upload", size: block, streams: 8 }
  ),
  transfer(
    { name: "upload-8-connections", about: "the sum of one stream on each of eight connections; Noise" },
    { run: "upload", size: block, connections: 8 }
  ),
  slowReader,
  slowReaderMemory
]
