/** What a running node tells at the endpoint that it was given with --metrics. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { UsageError } from "./Failure.ts"
import type { Settings } from "./Settings.ts"

/** A thousand scopes are a megabyte. */
const maxBytes = 16 * 1024 * 1024

/** `9464` and `127.0.0.1:9464` mean what `--metrics` means by them. */
export const urlOf = (text: string, path: string): URL | undefined => {
  const full = /^\d+$/.test(text) ? `http://127.0.0.1:${text}` : text.includes("://") ? text : `http://${text}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full)
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined
  url.pathname = path
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

/** Reads one of the endpoint's reports. `text` is what the user gave with --of. */
export const read = <A>(settings: Settings, text: string, path: string, schema: Schema.Codec<A, unknown>) =>
  Effect.gen(function* () {
    const url = urlOf(text, path)
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
    const report = Schema.decodeUnknownResult(Schema.fromJsonString(schema))(body)
    return Result.isSuccess(report) ? { url, report: report.success } : yield* fail("it is not the metrics of a node")
  })
