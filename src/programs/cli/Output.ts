/**
 * What a command prints. Results go to stdout, as text or as one JSON object a
 * line; everything else goes to stderr.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Ref from "effect/Ref"
import * as References from "effect/References"
import process from "node:process"

/** One line of JSON. Its names are promises to scripts: add, do not rename. */
export type Event = { readonly event: string } & Readonly<Record<string, unknown>>

export class Output extends Context.Service<
  Output,
  {
    readonly json: boolean
    /** Prints an event in the form that was asked for; without `text` it shows in JSON only. */
    readonly event: (event: Event, text?: string) => Effect.Effect<void>
    /** Prints what is only for people: nothing with `--json`. */
    readonly text: (text: string) => Effect.Effect<void>
  }
>()("effect-libp2p/cli/Output") {}

/** The exit code of a stop by SIGINT or SIGTERM: 130, unless a command says that such a stop is its proper end. */
export class StopCode extends Context.Service<StopCode, Ref.Ref<number>>()("effect-libp2p/cli/StopCode") {}

/** Text from a remote, without what could move the cursor, colour the screen, or turn the order of what follows. */
export const plain = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?")

export const writeError = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const write = (text: string) => Effect.sync(() => void process.stdout.write(`${text}\n`))

export const layer = (json: boolean): Layer.Layer<Output> =>
  Layer.succeed(Output, {
    json,
    event: (event, text) => (json ? write(JSON.stringify(event)) : text === undefined ? Effect.void : write(text)),
    text: (text) => (json ? Effect.void : write(text))
  })

const logger = (verbose: boolean) =>
  Logger.make<unknown, void>(({ cause, date, logLevel, message }) => {
    const parts = (Array.isArray(message) ? message : [message]).map((part) =>
      part instanceof Error ? part.message : typeof part === "string" ? part : JSON.stringify(part)
    )
    const line = `${date.toISOString().slice(11, 19)} ${logLevel.toLowerCase()}: ${parts.join(" ")}`
    if (cause.reasons.length === 0) return writeError(line)
    writeError(verbose ? `${line}\n${Cause.pretty(cause)}` : `${line} (${String(Cause.squash(cause))})`)
  })

/** Logs to stderr: warnings and errors, or everything with `--verbose`. */
export const layerLog = (verbose: boolean): Layer.Layer<never> =>
  Layer.mergeAll(Logger.layer([logger(verbose)]), Layer.succeed(References.MinimumLogLevel, verbose ? "Debug" : "Warn"))

/** Lines of a name and its values, the values in one column. */
export const table = (rows: ReadonlyArray<readonly [string, ReadonlyArray<string>]>): string => {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows
    .flatMap(([name, values]) => values.map((value, index) => `${(index === 0 ? name : "").padEnd(width)}${value}`))
    .join("\n")
}
