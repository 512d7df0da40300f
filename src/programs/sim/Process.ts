/** This program again, in a process of its own: on another core, or with more memory than Node takes by itself. */
import { spawn } from "node:child_process"
import { totalmem } from "node:os"
import process from "node:process"
import { getHeapStatistics } from "node:v8"
import * as Effect from "effect/Effect"

/** What Node is called with to run it with these arguments. */
export const argumentsFor = (args: ReadonlyArray<string>, nodeFlags: ReadonlyArray<string> = []): Array<string> => [
  ...process.execArgv,
  ...nodeFlags,
  process.argv[1] ?? "",
  ...args
]

/** Set for the process that was given the memory that its nodes need. */
const roomyVariable = "EFFECT_LIBP2P_SIM_ROOMY"

const mebibyte = 1024 * 1024
/** Of the machine's memory; what is left is for everything else, and for what is not on the heap. */
const share = 0.75
/**
 * For what is new, in MiB. What lookups hold lives for as long as they take, and is copied whenever this is full: with
 * the usual 16 MiB, more than half of the time went by with it.
 */
const newSpaceMiB = 128

/** A heap from which on that pays, in MiB. */
const largeMiB = 256

/** Flags of Node for a heap that has room for so much; `undefined` where it is small, or this process was given it. */
const flagsFor = (neededMiB: number): ReadonlyArray<string> | undefined => {
  if (neededMiB < largeMiB || process.env[roomyVariable] !== undefined) return undefined
  const usual = getHeapStatistics().heap_size_limit / mebibyte
  const heap = Math.floor(Math.max(usual, Math.min(neededMiB, (share * totalmem()) / mebibyte)))
  // From the start as large as it may become: else all of it is marked each time that it has grown by a part.
  return [`--max-old-space-size=${heap}`, `--initial-old-space-size=${heap}`, `--max-semi-space-size=${newSpaceMiB}`]
}

/**
 * Runs this very command in a process with a heap of so many MiB, if it takes another process for that, and gives its
 * exit code.
 */
export const withRoom = (neededMiB: number): Effect.Effect<number> | undefined => {
  const flags = flagsFor(neededMiB)
  if (flags === undefined) return undefined
  return Effect.callback<number>((resume) => {
    const child = spawn(process.execPath, argumentsFor(process.argv.slice(2), flags), {
      stdio: "inherit",
      env: { ...process.env, [roomyVariable]: "1" }
    })
    child.on("close", (code) => resume(Effect.succeed(code ?? 1)))
    return Effect.sync(() => void child.kill())
  })
}
