/** How fast bytes go over one stream, one way. */
import { rate } from "./Benchmark.ts"

const mebibyte = 1024 * 1024

export const transfers = [
  rate(
    { name: "upload", unit: "MiB/s", about: "one stream, the dialer sends 64 KiB at a time" },
    { run: "upload", size: 64 * 1024 },
    mebibyte
  ),
  rate(
    { name: "download", unit: "MiB/s", about: "one stream, the listener sends 64 KiB at a time" },
    { run: "download", size: 64 * 1024 },
    mebibyte
  ),
  rate(
    { name: "upload-1k", unit: "MiB/s", about: "one stream, the dialer sends 1 KiB at a time" },
    { run: "upload", size: 1024 },
    mebibyte
  )
]
