/** A process that writes to stores of peers until it is killed. */
import { Effect } from "effect"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as SqlitePeerStore from "../../../../src/layers/peerstore/SqlitePeerStore.ts"
import { writeUntilKilled } from "../../internal/sqlite/worker.ts"
import { optionsOf, write } from "./writes.ts"

await writeUntilKilled((path, file) =>
  SqlitePeerStore.make(optionsOf(path, file)).pipe(
    Effect.provide(NodeCrypto.layer),
    Effect.map((store) => (number: number) => write(store, number))
  )
)
