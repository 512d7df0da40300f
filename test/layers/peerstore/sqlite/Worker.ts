/**
 * A process that writes to several stores until it is killed, and prints the
 * file and the number of each write that has succeeded. Arguments: the first
 * number, the files.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect } from "effect"
import { writeSync } from "node:fs"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as SqlitePeerStore from "../../../../src/layers/peerstore/SqlitePeerStore.ts"
import { optionsOf, write } from "./writes.ts"

const [, , first, ...paths] = process.argv

const work = (path: string, file: number) =>
  Effect.gen(function* () {
    const store = yield* SqlitePeerStore.make(optionsOf(path, file))
    let next = Number(first)
    const writer = Effect.gen(function* () {
      for (;;) {
        const number = next++
        yield* write(store, number)
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
await Effect.runPromise(
  Effect.forEach(paths, work, { concurrency: "unbounded" }).pipe(
    Effect.scoped,
    Effect.provide([NodeFileSystem.layer, NodeCrypto.layer])
  )
)
