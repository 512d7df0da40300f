/**
 * The settings of a run, by one schema. Each comes from the first of: its flag,
 * its variable (`EFFECT_LIBP2P_` and its name), the configuration file, the
 * default. An error says which of these holds the bad value.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Path from "node:path"
import process from "node:process"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Limits from "../../layers/resources/Limits.ts"
import * as Places from "./Places.ts"
import {
  DurationText,
  durationWords,
  Endpoint,
  endpointWords,
  Entrance,
  HttpUrl,
  httpUrlWords,
  Lan,
  lanWords,
  bootstrapWords,
  DhtModes,
  dhtWords,
  Muxers,
  muxerWords,
  Network,
  NonEmpty,
  PeerOrNetwork,
  Securities,
  securityWords,
  Service,
  serviceWords,
  Watermarks,
  watermarkWords
} from "./Values.ts"

/** A setting has a value that cannot be used, or the configuration file cannot. `where` is the flag, variable or file. */
class SettingsError extends Schema.TaggedError<SettingsError>()("SettingsError", {
  where: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.where}: ${this.detail}`
  }
}

/** What can be set, and from what JSON. */
export const Settings = Schema.Struct({
  /** Where to listen. */
  listen: Schema.Array(Multiaddr.FromString),
  /** The file of the node's key. */
  identity: NonEmpty("the path of a file"),
  /** The file of the key of the private network that the node is in. */
  psk: Schema.optional(NonEmpty("the path of a file")),
  /** How the node names itself to others. */
  agent: Schema.optional(NonEmpty("a name")),
  /** For reaching one address, handshakes included. */
  timeout: DurationText,
  /** How connections are secured, the preferred way first. */
  security: Securities,
  /** How they are multiplexed, the preferred way first. */
  muxers: Muxers,
  /** Limits other than those that follow from the machine; see docs/limits.md. */
  limits: Limits.LimitChanges,
  /** Between how many connections the node keeps itself. */
  connections: Schema.optional(Watermarks),
  /** Peers and networks that this node has nothing to do with. */
  deny: Schema.Array(PeerOrNetwork),
  /** Networks that it has to do with although a larger one is denied. */
  allow: Schema.Array(Network),
  /** Where what is known of peers is kept: `memory`, or the path of a file. */
  peerStore: NonEmpty("memory or the path of a file"),
  /** Where it is kept what the node provides: `memory`, or the path of a file. */
  provided: NonEmpty("memory or the path of a file"),
  /** How the node takes part in DHTs. */
  dht: DhtModes,
  /** Whether others on the local network are found, and find this node. */
  lan: Lan,
  /** Only those of this service are found there. */
  service: Schema.optional(Service),
  /** Peers to enter the network by. */
  bootstrap: Schema.Array(Entrance),
  /** Content is announced in the optimistic way; see KadRouting. */
  optimisticProvide: Schema.Boolean,
  /** Where metrics, use of limits and health are served over HTTP. */
  metrics: Schema.optional(Endpoint),
  /** Where metrics and spans are sent. */
  otlp: Schema.optional(HttpUrl),
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
  psk: "the path of a file",
  agent: "a name",
  timeout: durationWords,
  security: securityWords,
  muxers: muxerWords,
  limits: 'limits such as {"system": {"connections": 500}}, or the path of a JSON file of them',
  connections: watermarkWords,
  deny: 'a list of peer ids and networks, such as ["203.0.113.0/24"]',
  allow: 'a list of networks, such as ["203.0.113.7"]',
  peerStore: "memory or the path of a file",
  provided: "memory or the path of a file",
  dht: dhtWords,
  lan: lanWords,
  service: serviceWords,
  bootstrap: bootstrapWords,
  optimisticProvide: "true or false",
  metrics: endpointWords,
  otlp: httpUrlWords,
  json: "true or false",
  verbose: "true or false"
}

const wrongType = new Set(["array", "boolean", "string", "object"])

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

/** What the schema calls the types of values within a setting. */
const typeWords: Readonly<Record<string, string>> = {
  number: "a number",
  object: "an object",
  array: "a list",
  string: "a text",
  "a value greater than or equal to 0": "a number of 0 or more"
}

/** No machine is so small that limits which can be for it cannot be for another. */
const anyMachine = { memory: 0, files: 0 }

const asIs = (text: string): unknown => text

/** The text of a variable, or of a flag, as the JSON that the schema reads. */
const fromText: { readonly [K in Name]-?: (text: string) => unknown } = {
  listen: words,
  identity: asIs,
  psk: asIs,
  agent: asIs,
  timeout: asIs,
  security: words,
  muxers: words,
  limits: asIs,
  connections: asIs,
  deny: words,
  allow: words,
  peerStore: asIs,
  provided: asIs,
  dht: asIs,
  lan: asIs,
  service: asIs,
  bootstrap: words,
  optimisticProvide: bool,
  metrics: asIs,
  otlp: asIs,
  json: bool,
  verbose: bool
}

const names: ReadonlyArray<string> = Object.keys(fromText)
const isName = (name: string): name is Name => names.includes(name)

/** Where each setting is in the environment, such as `EFFECT_LIBP2P_PEER_STORE`. */
export const variable = (name: string): string => `EFFECT_LIBP2P_${name.replaceAll(/[A-Z]/g, "_$&").toUpperCase()}`

/** Its flag, such as `--peer-store`. */
const flag = (name: string): string => `--${name.replaceAll(/[A-Z]/g, "-$&").toLowerCase()}`

/** The values of flags that were given; the rest are undefined. */
export type Flags = { readonly [K in Name]?: unknown } & { readonly config?: string | undefined }

export const defaultListen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"] as const

const defaults = (): { readonly [K in Name]-?: unknown } => ({
  listen: defaultListen,
  identity: Places.identityFile(),
  psk: undefined,
  agent: undefined,
  timeout: "10s",
  security: ["noise", "tls"],
  muxers: ["yamux"],
  limits: {},
  connections: undefined,
  deny: [],
  allow: [],
  peerStore: "memory",
  provided: "memory",
  dht: "auto",
  lan: "on",
  service: undefined,
  bootstrap: [],
  optimisticProvide: false,
  metrics: undefined,
  otlp: undefined,
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

/** The JSON object in a file; without `required`, a file that is not there is an empty one. */
const readObject = Effect.fnUntraced(function* (path: string, what: string, example: string, required: boolean) {
  const fs = yield* FileSystem.FileSystem
  const fail = (detail: string) => new SettingsError({ where: path, detail })
  const text = yield* fs.readFileString(path).pipe(
    Effect.catch((error) => {
      if (error.reason._tag !== "NotFound") return Effect.fail(fail(`the ${what} file cannot be read`))
      return required ? Effect.fail(fail(`there is no such ${what} file`)) : Effect.succeed("{}")
    })
  )
  const parsed = parseJson(text)
  if (Result.isFailure(parsed)) return yield* fail(`it is not JSON: ${parsed.failure}`)
  return isRecord(parsed.success) ? parsed.success : yield* fail(`it must hold a JSON object, such as ${example}`)
})

const pathsIn: ReadonlyArray<string> = ["identity", "psk", "limits", "peerStore", "provided"]
/** Of these, the ones that may be kept in memory. */
const mayBeMemory: ReadonlyArray<string> = ["peerStore", "provided"]

/** The file's settings; those of a file that need not be there are none. */
const readFile = Effect.fnUntraced(function* (path: string, required: boolean) {
  const found = yield* readObject(path, "configuration", '{"listen": ["/ip4/0.0.0.0/tcp/4001"]}', required)
  for (const key of Object.keys(found)) {
    if (isName(key)) continue
    return yield* new SettingsError({
      where: path,
      detail: `there is no setting "${key}"; there are ${names.join(", ")}`
    })
  }
  const settings = { ...found }
  // A path in a file is meant from where the file is.
  for (const name of pathsIn) {
    const value = settings[name]
    if (typeof value !== "string" || value === "" || (mayBeMemory.includes(name) && value === "memory")) continue
    settings[name] = Path.resolve(Path.dirname(path), value)
  }
  if (typeof settings["metrics"] === "number") settings["metrics"] = String(settings["metrics"])
  return settings
})

/** Limits may be in a file of their own. */
const readLimits = Effect.fnUntraced(function* (given: Given) {
  if (typeof given.value !== "string" || given.value === "") return given
  const path = Path.resolve(given.value)
  const where = `${path} (${given.where})`
  const value: unknown = yield* Effect.mapError(
    readObject(path, "limits", '{"system": {"connections": 500}}', true),
    ({ detail }) => new SettingsError({ where, detail })
  )
  return { value, where }
})

const decode = Schema.decodeUnknownResult(Settings, { errors: "first", onExcessProperty: "error" })
const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

/** The value at a path, and the names on the way; items of a list have no name. */
const dig = (from: unknown, path: ReadonlyArray<PropertyKey>) => {
  let value = from
  const within: Array<string> = []
  for (const key of path) {
    if (typeof key === "string") within.push(key)
    if (typeof key === "number" && Array.isArray(value)) value = value[key]
    else if (isRecord(value)) value = value[String(key)]
  }
  return { value, within }
}

/** Variables that look as if they were a setting: a misspelt one would be passed over in silence. */
const checkNames = (env: Readonly<Record<string, string | undefined>>) => {
  const known = new Set([...names, "config", "simWorker", "simRoomy"].map(variable))
  const wrong = Object.keys(env).find((name) => name.startsWith(variable("")) && !known.has(name))
  return wrong === undefined
    ? Effect.void
    : Effect.fail(
        new SettingsError({
          where: `the variable ${wrong}`,
          detail: `there is no such setting; there are ${[...names, "config"].map(variable).join(", ")}`
        })
      )
}

/** Puts together what applies to this run. */
export const resolve = Effect.fnUntraced(function* (
  flags: Flags,
  env: Readonly<Record<string, string | undefined>> = process.env
) {
  yield* checkNames(env)
  const configPath = flags.config ?? env[variable("config")]
  const path = Path.resolve(configPath ?? Places.configFile())
  const file = yield* readFile(path, configPath !== undefined)
  const otherwise = defaults()
  const given = (name: Name): Given => {
    const text = env[variable(name)]
    const byFlag = flags[name]
    if (byFlag !== undefined) {
      return { value: typeof byFlag === "string" ? fromText[name](byFlag) : byFlag, where: flag(name) }
    }
    if (text !== undefined && text !== "")
      return { value: fromText[name](text), where: `the variable ${variable(name)}` }
    if (file[name] !== undefined) return { value: file[name], where: `"${name}" in ${path}` }
    return { value: otherwise[name], where: `the default of "${name}"` }
  }
  const raw: Record<string, unknown> = {}
  const from: Record<string, Given> = {}
  for (const name of names) {
    if (!isName(name)) continue
    const found = name === "limits" ? yield* readLimits(given(name)) : given(name)
    from[name] = found
    if (found.value !== undefined) raw[name] = found.value
  }
  const decoded = decode(raw)
  if (Result.isSuccess(decoded)) {
    const limits = Limits.resolve(anyMachine, decoded.success.limits)
    if (Result.isSuccess(limits)) return decoded.success
    const { detail, path: within } = limits.failure
    return yield* new SettingsError({ where: from["limits"]?.where ?? "limits", detail: `${within}: ${detail}` })
  }
  const issue = issuesOf(decoded.failure.issue).issues[0]
  const [name, ...rest] = (issue?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  const setting = String(name)
  const source = from[setting]
  const { value, within } = dig(source?.value, rest)
  const said = (issue?.message ?? "").replace(/^Expected /, "")
  const at = within.length === 0 ? "" : `${within.join(".")}: `
  const where = source?.where ?? setting
  if (said === "no excess property") {
    const wrong = within.pop()
    const inside = within.length === 0 ? "" : ` in ${within.join(".")}`
    return yield* new SettingsError({ where, detail: `there is no "${wrong}"${inside}; see docs/limits.md` })
  }
  const wanted =
    isName(setting) && rest.length === 0 && wrongType.has(said)
      ? expected[setting]
      : (typeWords[said.replace(" | undefined", "")] ?? said)
  return yield* new SettingsError({ where, detail: `${at}${shown(value)} is not ${wanted}` })
})
