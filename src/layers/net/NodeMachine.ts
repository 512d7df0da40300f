/**
 * How large this machine is, for the limits of a node: the memory that the
 * process may use (that of its container, where there is one) and the files
 * that it may open.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as os from "node:os"
import { Machine } from "../../services/Machine.ts"

/** Where the system does not say. */
const usualFiles = 4096

/** The soft limit of `/proc/<pid>/limits`: `Max open files   1024   1048576   files`. */
export const filesOf = (limits: string): number | undefined => {
  const soft = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits)?.[1]
  if (soft === undefined) return undefined
  // More than a process can use in earnest.
  return soft === "unlimited" ? 1_048_576 : Number(soft)
}

const readFiles = (): number => {
  try {
    return filesOf(fs.readFileSync("/proc/self/limits", "utf8")) ?? usualFiles
  } catch {
    // Not Linux, or a sandbox.
    return usualFiles
  }
}

/** The memory of the process: of its container if that is less than the machine's; `constrained` is 0 where there is none. */
export const memoryOf = (constrained: number, total: number): number =>
  constrained > 0 ? Math.min(constrained, total) : total

/** This machine, as it is when the layer is built. */
export const layer: Layer.Layer<never> = Layer.effect(
  Machine,
  Effect.sync(() => ({ memory: memoryOf(process.constrainedMemory(), os.totalmem()), files: readFiles() }))
)
