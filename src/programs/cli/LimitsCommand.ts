/** `effect-libp2p limits`: what a node may hold, and what a running one holds. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import process from "node:process"
import { Machine } from "../../services/Machine.ts"
import { Limits, ResourceManager } from "../../services/ResourceManager.ts"
import * as NodeMachine from "../../layers/net/NodeMachine.ts"
import * as ResourceManagerLayer from "../../layers/resources/ResourceManager.ts"
import type { UsageError } from "./Failure.ts"
import * as Endpoints from "./Endpoints.ts"
import * as LimitsTable from "./LimitsTable.ts"
import { Output } from "./Output.ts"
import type { Settings } from "./Settings.ts"

// ---- of this machine

const ofMachine = (settings: Settings) =>
  Effect.gen(function* () {
    const output = yield* Output
    const machine = yield* Machine
    const { limits } = yield* ResourceManager
    yield* output.event({ event: "limits", machine, limits }, LimitsTable.ofMachine(machine, limits))
  }).pipe(
    Effect.provide(Layer.provideMerge(ResourceManagerLayer.layer({ limits: settings.limits }), NodeMachine.layer))
  )

// ---- of a running node

const Row = Schema.Struct({
  scope: Schema.String,
  resource: Schema.String,
  limit: Schema.Finite,
  current: Schema.Finite,
  peak: Schema.Finite,
  refused: Schema.Finite
})

const Report = Schema.Struct({ peer: Schema.String, limits: Limits, usage: Schema.Array(Row) })

const ofNode = (settings: Settings, text: string) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { report, url } = yield* Endpoints.read(settings, text, "/limits", Report)
    yield* output.event(
      { event: "usage", ...report },
      LimitsTable.ofNode(report.peer, url.host, report.usage, LimitsTable.colours(process.stdout, process.env))
    )
  })

export const run = (
  settings: Settings,
  of: string | undefined
): Effect.Effect<void, UsageError | ResourceManagerLayer.InvalidLimits, Output> =>
  of === undefined ? ofMachine(settings) : ofNode(settings, of)
