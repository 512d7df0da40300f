/** A process that writes to files of what is provided until it is killed. */
import { Effect } from "effect"
import { writeUntilKilled } from "../../internal/sqlite/worker.ts"
import { storeAt, write } from "./writes.ts"

await writeUntilKilled((path, file) =>
  Effect.map(storeAt(path, file), (store) => (number: number) => write(store, number))
)
