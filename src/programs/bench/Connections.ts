/** How fast connections are made. */
import { type Benchmark, rate } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"
import { roundTrips } from "./RoundTrips.ts"

const about = (security: string) => `dial, ${security}, Yamux, a stream, 1 byte there and back, close`
const unit = "1/s"

export const connections: ReadonlyArray<Benchmark> = [
  rate(
    {
      name: "connections",
      unit,
      about: `${about("Noise")}; one after the other`,
      limits: [Peers.limits.cryptography, Peers.limits.portable, Peers.limits.tcp]
    },
    { run: "connections", concurrency: 1 }
  ),
  rate(
    { name: "connections-32", unit, about: `${about("Noise")}; from 32 nodes at once` },
    { run: "connections", concurrency: 32 }
  ),
  rate(
    {
      name: "connections-tls",
      unit,
      security: "tls",
      about: `${about("TLS")}; one after the other`,
      limits: [Peers.limits.tls]
    },
    { run: "connections", concurrency: 1 }
  ),
  rate(
    { name: "connections-tls-32", unit, security: "tls", about: `${about("TLS")}; from 32 nodes at once` },
    { run: "connections", concurrency: 32 }
  ),
  ...roundTrips
]
