/** What all commands share: the flags that each has, and the settings that it runs under. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import { report } from "./Failure.ts"
import { layer as layerOutput, layerLog } from "./Output.ts"
import { type Flags, resolve, type Settings, variable } from "./Settings.ts"

/** What a flag is for, and its variable. */
export const described = (text: string, setting: string) => `${text} [${variable(setting)}]`

/** Of every command that makes a node. */
export const psk = Flag.String("psk").pipe(
  Flag.withDescription(
    described("Be in the private network whose key is in this file: connect with its nodes and no others", "psk")
  ),
  Flag.withMetavar("FILE"),
  Flag.optional
)

/** Of the commands whose node stays. */
export const identity = Flag.String("identity").pipe(
  Flag.withDescription(described("The file of the node's key; made if it is not there", "identity")),
  Flag.withMetavar("FILE"),
  Flag.optional
)

/** A flag with a text that need not be given, and is a setting. */
export const optionalText = (name: string, setting: string, metavar: string, text: string) =>
  Flag.String(name).pipe(Flag.withDescription(described(text, setting)), Flag.withMetavar(metavar), Flag.optional)

// ---- flags of every command

const Json = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withDescription(described("One JSON object a line on stdout, and nothing else there", "json")),
    Flag.optional
  )
})
const Verbose = GlobalFlag.Setting("verbose")({
  flag: Flag.Boolean("verbose").pipe(
    Flag.withDescription(described("Tell the causes of errors, and what happens inside, on stderr", "verbose")),
    Flag.optional
  )
})
const Config = GlobalFlag.Setting("config")({
  flag: Flag.String("config").pipe(
    Flag.withDescription(described("Read settings from this JSON file", "config")),
    Flag.withMetavar("FILE"),
    Flag.optional
  )
})
export const globalFlags = [Json, Verbose, Config] as const

/** True if the command line or the environment asks for causes; for errors before there are settings. */
export const asksVerbose = (args: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>>): boolean =>
  args.includes("--verbose") || ["1", "true", "yes"].includes((env[variable("verbose")] ?? "").toLowerCase())

/** Settles the settings, runs the command under them, and tells its failure. */
export const under = <E, R>(flags: Flags, body: (settings: Settings) => Effect.Effect<void, E, R>) =>
  Effect.gen(function* () {
    const config = Option.getOrUndefined(yield* Config)
    const json = Option.getOrUndefined(yield* Json)
    const verbose = Option.getOrUndefined(yield* Verbose)
    const settings = yield* report(resolve({ ...flags, config, json, verbose }), verbose === true)
    yield* report(body(settings), settings.verbose).pipe(
      Effect.provide([layerOutput(settings.json), layerLog(settings.verbose)])
    )
  })

/** A module that is loaded now. */
export const load = <M>(module: () => Promise<M>): Effect.Effect<M> => Effect.promise(module)
