import { Effect } from "effect"
import { survivesKills } from "../../internal/sqlite/crash.ts"
import { found, storeAt } from "./writes.ts"

survivesKills("what is provided", new URL("Worker.ts", import.meta.url), (path, file) =>
  Effect.map(storeAt(path, file), (store) => (number: number) => found(store, number))
)
