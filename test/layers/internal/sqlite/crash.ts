/**
 * Processes that write are killed at moments that a seed picks: nothing that
 * was acknowledged may be missing, and the file must be in order.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, type Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { DatabaseSync } from "node:sqlite"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

type Found<E> = (number: number) => Effect.Effect<boolean, E>

/** Opens a store on one of the files, to look for writes. */
export type Open<E> = (path: string, file: number) => Effect.Effect<Found<E>, E, FileSystem.FileSystem | Scope.Scope>

/** From 0 to below `below`, from a seed. */
const numbers = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

interface Life {
  /** The writes, by file. */
  readonly acknowledged: ReadonlyArray<ReadonlyArray<number>>
  readonly errors: string
}

/**
 * Lets a process write to all the files until some milliseconds after it
 * began to open them, or to write.
 */
const live = async (
  worker: URL,
  paths: ReadonlyArray<string>,
  from: number,
  mark: "opening" | "writing",
  millis: number
): Promise<Life> => {
  const child = spawn(process.execPath, [fileURLToPath(worker), `${from}`, ...paths], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  const acknowledged = paths.map((): Array<number> => [])
  let errors = ""
  let dying = false
  const lines = createInterface({ input: child.stdout })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text
  })
  lines.on("line", (line) => {
    const [file, number] = line.split(" ")
    if (!dying && (mark === "opening" || number !== undefined)) {
      dying = true
      setTimeout(() => child.kill("SIGKILL"), millis)
    }
    if (number !== undefined) acknowledged[Number(file)]?.push(Number(number))
  })
  await Promise.all([once(child, "close"), once(lines, "close")])
  return { acknowledged, errors }
}

const seed = 20_261
const files = 4

/** `worker` is a program as {@link file://./worker.ts} makes it. */
export const survivesKills = <E>(name: string, worker: URL, open: Open<E>): void => {
  describe(`${name}: processes that are killed lose nothing that they acknowledged`, () => {
    it.live(
      "whether they wait for the disk or not",
      () =>
        Effect.gen(function* () {
          const folder = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
          const paths = Array.from({ length: files }, (_, file) => `${folder}/${file}.db`)
          const all = paths.map((): Array<number> => [])
          const next = numbers(seed)
          // The first may die while it makes the files, the others while they write or write back the log.
          for (const [i, mark] of (["opening", "writing", "writing"] as const).entries()) {
            const millis = next(mark === "opening" ? 40 : 150)
            const life = yield* Effect.promise(() => live(worker, paths, i * 100_000, mark, millis))
            // Some versions of Node say that node:sqlite is experimental, or that TypeScript is.
            assert.notInclude(life.errors, "SQLite")
            assert.notInclude(life.errors, "Error")
            for (const [file, path] of paths.entries()) {
              all[file]?.push(...(life.acknowledged[file] ?? []))
              yield* Effect.scoped(
                Effect.gen(function* () {
                  const found = yield* open(path, file)
                  for (const number of all[file] ?? []) {
                    assert.isTrue(yield* found(number), `write ${number} to file ${file} is lost (seed ${seed})`)
                  }
                })
              )
              const database = new DatabaseSync(path)
              assert.strictEqual(database.prepare("pragma integrity_check").get()?.["integrity_check"], "ok")
              database.close()
            }
          }
          assert.isAtLeast(all.flat().length, 3)
        }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
      60_000
    )
  })
}
