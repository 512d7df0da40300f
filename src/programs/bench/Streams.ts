/** How fast streams come and go on one connection, and how fast one answers. */
import { type Benchmark, rate } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

const about = "open a stream, 32 bytes there and back, close"
const unit = "1/s"

export const streams: ReadonlyArray<Benchmark> = [
  rate({ name: "streams", unit, about: `${about}; one after the other` }, { run: "streams", size: 32, concurrency: 1 }),
  rate({ name: "streams-32", unit, about: `${about}; 32 at once` }, { run: "streams", size: 32, concurrency: 32 }),
  rate({ name: "streams-512", unit, about: `${about}; 512 at once` }, { run: "streams", size: 32, concurrency: 512 }),
  rate(
    { name: "ping", unit, about: "32 bytes there and back on an open stream", limits: [Peers.limits.tcp] },
    { run: "ping", size: 32 }
  )
]
