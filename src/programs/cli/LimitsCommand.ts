/** `effect-libp2p limits`: what a node may hold, and what a running one holds. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import process from "node:process"
import { Machine } from "../../services/Machine.ts"
import { Limits, ResourceManager } from "../../services/ResourceManager.ts"
import * as NodeMachine from "../../layers/net/NodeMachine.ts"
import * as ResourceManagerLayer from "../../layers/resources/ResourceManager.ts"
import { UsageError } from "./Failure.ts"
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

/** A thousand scopes are a megabyte. */
const maxBytes = 16 * 1024 * 1024

/** `9464` and `127.0.0.1:9464` mean what `--metrics` means by them. */
const urlOf = (text: string): URL | undefined => {
  const full = /^\d+$/.test(text) ? `http://127.0.0.1:${text}` : text.includes("://") ? text : `http://${text}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full)
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined
  url.pathname = "/limits"
  url.search = ""
  return url
}

const readBody = async (response: Response): Promise<string> => {
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > maxBytes) throw new Error("the answer is too long")
  }
  return text
}

/** The innermost cause: `fetch` itself only says that it failed. */
const causeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.errors.length > 0) return causeOf(error.errors[0])
  return error.cause === undefined ? error.message : causeOf(error.cause)
}

const ask = (settings: Settings, text: string) =>
  Effect.gen(function* () {
    const url = urlOf(text)
    if (url === undefined) {
      return yield* new UsageError({ detail: `--of: "${text}" is not a URL such as http://127.0.0.1:9464` })
    }
    const fail = (why: string) =>
      new UsageError({
        detail: `${url.href}: ${why}. Was a node started with --metrics ${url.host}, and is it still running?`
      })
    const [status, body] = yield* Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { signal, redirect: "error" })
        return [response.status, await readBody(response)] as const
      },
      catch: (error) => fail(causeOf(error))
    }).pipe(Effect.timeoutOrElse({ duration: settings.timeout, orElse: () => Effect.fail(fail("no answer in time")) }))
    if (status !== 200) return yield* fail(`it answers with HTTP ${status}`)
    const report = Schema.decodeUnknownResult(Schema.fromJsonString(Report))(body)
    return Result.isSuccess(report) ? { url, report: report.success } : yield* fail("it is not the metrics of a node")
  })

const ofNode = (settings: Settings, text: string) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { report, url } = yield* ask(settings, text)
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
