/** How much memory is in use, for tests that bound it. */
import { Effect } from "effect"
import * as v8 from "node:v8"
import * as vm from "node:vm"

v8.setFlagsFromString("--expose-gc")
const collect: unknown = vm.runInNewContext("gc")

/** Bytes of heap and buffers in use after a collection. */
export const usedBytes: Effect.Effect<number> = Effect.gen(function* () {
  for (let i = 0; i < 2; i++) {
    if (typeof collect === "function") collect()
    yield* Effect.sleep(5)
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
})
