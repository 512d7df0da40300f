/** How fast connections are made. */
import { type Benchmark, rate } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"
import { roundTrips } from "./RoundTrips.ts"

const about = (security: string) => `dial, ${security}, Yamux, a stream, 1 byte there and back, close`
const unit = "1/s"
/** A second is a few hundred connections at most; compilers are at it until there have been some 700. */
const warmup = 4

export const connections: ReadonlyArray<Benchmark> = [
  rate(
    {
      name: "connections",
      unit,
      warmup,
      about: `${about("Noise")}; one after the other`,
      limits: [Peers.limits.cryptography, Peers.limits.portable, Peers.limits.tcp]
    },
    { run: "connections", concurrency: 1 }
  ),
  rate(
    { name: "connections-32", unit, warmup, about: `${about("Noise")}; from 32 nodes at once` },
    { run: "connections", concurrency: 32 }
  ),
  rate(
    {
      name: "connections-tls",
      unit,
      warmup,
      security: "tls",
      about: `${about("TLS")}; one after the other`,
      limits: [Peers.limits.tls]
    },
    { run: "connections", concurrency: 1 }
  ),
  rate(
    { name: "connections-tls-32", unit, warmup, security: "tls", about: `${about("TLS")}; from 32 nodes at once` },
    { run: "connections", concurrency: 32 }
  ),
  ...roundTrips
]
