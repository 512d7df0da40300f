/** How fast streams come and go on one connection, and how fast one answers. */
import { rate } from "./Benchmark.ts"

const about = "open a stream, 32 bytes there and back, close"

export const streams = [
  rate(
    { name: "streams", unit: "1/s", about: `${about}; one after the other` },
    { run: "streams", size: 32, concurrency: 1 }
  ),
  rate(
    { name: "streams-32", unit: "1/s", about: `${about}; 32 at once` },
    { run: "streams", size: 32, concurrency: 32 }
  ),
  rate({ name: "ping", unit: "1/s", about: "32 bytes there and back on an open stream" }, { run: "ping", size: 32 })
]
