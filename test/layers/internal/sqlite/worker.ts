/**
 * A process that writes to several stores until it is killed, and prints the
 * file and the number of each write that has succeeded. Its arguments: the
 * first number, the files.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, type FileSystem, type Scope } from "effect"
import { writeSync } from "node:fs"

/** Opens a store on one of the files, and gives what makes the write of a number. */
export type Open<E> = (
  path: string,
  file: number
) => Effect.Effect<(number: number) => Effect.Effect<void, E>, E, FileSystem.FileSystem | Scope.Scope>

export const writeUntilKilled = <E>(open: Open<E>): Promise<unknown> => {
  const [, , first, ...paths] = process.argv
  const work = (path: string, file: number) =>
    Effect.gen(function* () {
      const write = yield* open(path, file)
      let next = Number(first)
      const writer = Effect.gen(function* () {
        for (;;) {
          const number = next++
          yield* write(number)
          // Synchronous: what is acknowledged is said before anything else happens.
          writeSync(1, `${file} ${number}\n`)
        }
      })
      yield* Effect.all(
        Array.from({ length: 8 }, () => writer),
        { concurrency: "unbounded" }
      )
    })
  writeSync(1, "opening\n")
  return Effect.runPromise(
    Effect.forEach(paths, work, { concurrency: "unbounded" }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
  )
}
