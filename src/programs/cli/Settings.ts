/**
 * The settings of a run, by one schema. Each comes from the first of: its flag,
 * its variable (`EFFECT_LIBP2P_` and its name), the configuration file, the
 * default. An error says which of these holds the bad value.
 */
import { Duration, Effect, FileSystem, Option, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import * as Path from "node:path"
import process from "node:process"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Places from "./Places.ts"

/** A setting has a value that cannot be used, or the configuration file cannot. `where` is the flag, variable or file. */
class SettingsError extends Schema.TaggedError<SettingsError>()("SettingsError", {
  where: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.where}: ${this.detail}`
  }
}

const units: Record<string, (count: number) => Duration.Duration> = {
  ms: Duration.millis,
  s: Duration.seconds,
  m: Duration.minutes,
  h: Duration.hours
}

const readDuration = (text: string): Duration.Duration | undefined => {
  const [, count, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(text.trim()) ?? []
  const make = unit === undefined ? undefined : units[unit]
  if (make !== undefined) return make(Number(count))
  return /^\d+(\.\d+)? [a-z]+$/.test(text)
    ? Option.getOrUndefined(Schema.decodeUnknownOption(Schema.DurationFromString)(text))
    : undefined
}

const durationWords = "a time such as 250ms, 10s or 2m"

/** A time with its unit: `250ms`, `10s`, `2m`, `1h`, and what Effect reads, such as `10 seconds`. */
export const DurationText = Schema.String.annotate({ expected: durationWords }).pipe(
  Schema.decodeTo(
    Schema.Duration,
    SchemaTransformation.transformEffect({
      decode: (text: string, options) => {
        const duration = readDuration(text)
        return duration === undefined
          ? Effect.fail(new SchemaIssue.InvalidValue({ expected: durationWords }, text, options))
          : Effect.succeed(duration)
      },
      encode: (duration: Duration.Duration) => Effect.succeed(`${Duration.toMillis(duration)}ms`)
    })
  )
)

const NonEmpty = (what: string) =>
  Schema.String.annotate({ expected: what }).check(Schema.isMinLength(1, { message: `Expected ${what}` }))

/** What can be set, and from what JSON. */
export const Settings = Schema.Struct({
  /** Where to listen. */
  listen: Schema.Array(Multiaddr.FromString),
  /** The file of the node's key. */
  identity: NonEmpty("the path of a file"),
  /** How the node names itself to others. */
  agent: Schema.optional(NonEmpty("a name")),
  /** For reaching one address, handshakes included. */
  timeout: DurationText,
  /** Print one JSON object a line. */
  json: Schema.Boolean,
  /** Tell causes, and what happens inside. */
  verbose: Schema.Boolean
})
export type Settings = typeof Settings.Type
type Name = keyof Settings

/** What a value of the wrong type should have been. */
const expected: { readonly [K in Name]-?: string } = {
  listen: 'a list of multiaddrs, such as ["/ip4/0.0.0.0/tcp/4001"]',
  identity: "the path of a file",
  agent: "a name",
  timeout: durationWords,
  json: "true or false",
  verbose: "true or false"
}

const wrongType = new Set(["array", "boolean", "string"])

const words = (text: string): ReadonlyArray<string> => text.split(/[\s,]+/).filter((word) => word !== "")

const bool = (text: string): unknown => {
  switch (text.toLowerCase()) {
    case "1":
    case "true":
    case "yes":
      return true
    case "0":
    case "false":
    case "no":
      return false
    default:
      return text
  }
}

/** The text of a variable as the JSON that the schema reads. */
const fromText: { readonly [K in Name]-?: (text: string) => unknown } = {
  listen: words,
  identity: (text) => text,
  agent: (text) => text,
  timeout: (text) => text,
  json: bool,
  verbose: bool
}

const names: ReadonlyArray<string> = Object.keys(fromText)
const isName = (name: string): name is Name => names.includes(name)

/** Where each setting is in the environment. */
export const variable = (name: string): string => `EFFECT_LIBP2P_${name.toUpperCase()}`

/** The values of flags that were given; the rest are undefined. */
export type Flags = { readonly [K in Name]?: unknown } & { readonly config?: string | undefined }

export const defaultListen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"] as const

const defaults = (): { readonly [K in Name]-?: unknown } => ({
  listen: defaultListen,
  identity: Places.identityFile(),
  agent: undefined,
  timeout: "10s",
  json: false,
  verbose: false
})

interface Given {
  readonly value: unknown
  readonly where: string
}

const parseJson = (text: string): Result.Result<unknown, string> =>
  Result.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
  })

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The file's settings; those of a file that need not be there are none. */
const readFile = Effect.fnUntraced(function* (path: string, required: boolean) {
  const fs = yield* FileSystem.FileSystem
  const fail = (detail: string) => new SettingsError({ where: path, detail })
  const text = yield* fs.readFileString(path).pipe(
    Effect.catch((error) => {
      if (error.reason._tag !== "NotFound") return Effect.fail(fail("the configuration file cannot be read"))
      return required ? Effect.fail(fail("there is no such configuration file")) : Effect.succeed("{}")
    })
  )
  const parsed = parseJson(text)
  if (Result.isFailure(parsed)) return yield* fail(`it is not JSON: ${parsed.failure}`)
  if (!isRecord(parsed.success))
    return yield* fail('it must hold a JSON object, such as {"listen": ["/ip4/0.0.0.0/tcp/4001"]}')
  for (const key of Object.keys(parsed.success)) {
    if (!isName(key)) return yield* fail(`there is no setting "${key}"; there are ${names.join(", ")}`)
  }
  const settings = { ...parsed.success }
  // A path in a file is meant from where the file is.
  if (typeof settings["identity"] === "string" && settings["identity"] !== "") {
    settings["identity"] = Path.resolve(Path.dirname(path), settings["identity"])
  }
  return settings
})

const decode = Schema.decodeUnknownResult(Settings, { errors: "first" })
const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

/** Puts together what applies to this run. */
export const resolve = Effect.fnUntraced(function* (
  flags: Flags,
  env: Readonly<Record<string, string | undefined>> = process.env
) {
  const configPath = flags.config ?? env[variable("config")]
  const path = Path.resolve(configPath ?? Places.configFile())
  const file = yield* readFile(path, configPath !== undefined)
  const otherwise = defaults()
  const given = (name: Name): Given => {
    if (flags[name] !== undefined) return { value: flags[name], where: `--${name}` }
    const text = env[variable(name)]
    if (text !== undefined && text !== "")
      return { value: fromText[name](text), where: `the variable ${variable(name)}` }
    if (file[name] !== undefined) return { value: file[name], where: `"${name}" in ${path}` }
    return { value: otherwise[name], where: `the default of "${name}"` }
  }
  const raw: Record<string, unknown> = {}
  const from: Record<string, Given> = {}
  for (const name of names) {
    if (!isName(name)) continue
    const found = given(name)
    from[name] = found
    if (found.value !== undefined) raw[name] = found.value
  }
  const decoded = decode(raw)
  if (Result.isSuccess(decoded)) return decoded.success
  const issue = issuesOf(decoded.failure.issue).issues[0]
  const [name, ...rest] = (issue?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  const source = from[String(name)]
  const [index] = rest
  const value = typeof index === "number" && Array.isArray(source?.value) ? source.value[index] : source?.value
  const said = (issue?.message ?? "").replace(/^Expected /, "")
  const setting = String(name)
  const wanted = isName(setting) && typeof index !== "number" && wrongType.has(said) ? expected[setting] : said
  return yield* new SettingsError({
    where: source?.where ?? setting,
    detail: `${shown(value)} is not ${wanted}`
  })
})
