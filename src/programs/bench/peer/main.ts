/**
 * This library's side of the benchmarks: takes commands on stdin and answers on
 * stdout. The contract is described in bench/README.md.
 */
import process from "node:process"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TurnScheduler from "../../../layers/scheduler/TurnScheduler.ts"
import * as Node from "./Node.ts"
import * as Work from "./Work.ts"

const print = (line: unknown) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(line)}\n`))

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { security: { type: "string" }, crypto: { type: "string" } }
})
const choice: Node.Choice = {
  security: values.security === "tls" ? "tls" : "noise",
  crypto: values.crypto === "portable" ? "portable" : "node"
}

// What is still open is not worth an orderly end.
process.stdin.once("end", () => process.exit(0))

const program = Effect.gen(function* () {
  const swarm = yield* Node.start(choice)
  const ready = positionals[0] === "listen" ? { address: yield* Node.listen(swarm) } : {}
  const work = Work.make(choice, swarm, yield* Effect.scope)
  yield* print({ event: "ready", ...ready })
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.flatMap(Schema.decodeEffect(Work.Command)(line), (command) =>
      Effect.scoped(work(command)).pipe(
        Effect.matchCauseEffect({
          onSuccess: (ok) => print({ id: command.id, ok }),
          onFailure: (cause) => print({ id: command.id, error: Cause.pretty(cause) })
        })
      )
    )
  )
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(TurnScheduler.layer)))
