import { Effect } from "effect"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as SqlitePeerStore from "../../../../src/layers/peerstore/SqlitePeerStore.ts"
import { survivesKills } from "../../internal/sqlite/crash.ts"
import { found, optionsOf } from "./writes.ts"

survivesKills("peers", new URL("Worker.ts", import.meta.url), (path, file) =>
  SqlitePeerStore.make(optionsOf(path, file)).pipe(
    Effect.provide(NodeCrypto.layer),
    Effect.map((store) => (number: number) => found(store, number))
  )
)
