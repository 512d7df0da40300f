/** How fast connections are made. */
import { rate } from "./Benchmark.ts"

const about = "dial, Noise, Yamux, a stream, 1 byte there and back, close"

export const connections = [
  rate(
    { name: "connections", unit: "1/s", about: `${about}; one after the other` },
    { run: "connections", concurrency: 1 }
  ),
  rate(
    { name: "connections-32", unit: "1/s", about: `${about}; from 32 nodes at once` },
    {
      run: "connections",
      concurrency: 32
    }
  )
]
