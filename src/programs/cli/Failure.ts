/**
 * Failures in the words of someone who has to mend them: what is wrong, with
 * which address, file or flag, and what to do about it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as CliError from "effect/cli/CliError"
import { inspect } from "node:util"
import { RoutingError } from "../../services/PeerRouting.ts"
import { RecordStoreError } from "../../services/RecordStore.ts"
import { PrivateNetworkError } from "../../services/PrivateNetwork.ts"
import { DialError, ListenError } from "../../services/Swarm.ts"
import { writeError } from "./Output.ts"

/** Something the user asked for cannot be done, said in one sentence. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

/** The failure has been told; only the exit code is left. */
export class Reported extends Schema.TaggedError<Reported>()("Reported", {}) {}

const isListenError = Schema.is(ListenError)
const isDialError = Schema.is(DialError)
const isRoutingError = Schema.is(RoutingError)
const isPrivateNetworkError = Schema.is(PrivateNetworkError)
const isRecordStoreError = Schema.is(RecordStoreError)

const listening = (error: ListenError): string | undefined => {
  if (error.reason._tag === "NoTransport") {
    return `cannot listen on ${error.address}: only TCP on an IP address can be listened on, such as /ip4/0.0.0.0/tcp/4001.`
  }
  const transport = error.reason.cause.reason
  if (transport._tag !== "NetworkFailure") return undefined
  const { endpoint, reason } = transport.cause
  const port = endpoint?.port ?? 0
  switch (reason._tag) {
    case "AddressInUse":
      return (
        `cannot listen on ${error.address}: port ${port} is in use by another program. Stop it ` +
        `("lsof -i tcp:${port}" names it), or listen on another port with --listen.`
      )
    case "AddressUnavailable":
      return reason.code === "EACCES"
        ? `cannot listen on ${error.address}: this user may not use port ${port}. Choose a port above 1023 with --listen.`
        : `cannot listen on ${error.address}: this machine has no address ${endpoint?.host ?? ""}. ` +
            "Listen on /ip4/0.0.0.0/tcp/4001 for all that it has."
    default:
      return undefined
  }
}

const dialling = (error: DialError): string | undefined => {
  const refused = error.attempts.some(
    ({ reason }) =>
      reason._tag === "TransportFailed" &&
      reason.cause.reason._tag === "NetworkFailure" &&
      reason.cause.reason.cause.reason._tag === "ConnectionRefused"
  )
  return refused ? `${error.message}. Is the node running there, and on that port?` : undefined
}

/** Only a node that was named with --of is asked over HTTP. */
const routing = ({ reason, router, what }: RoutingError): string | undefined => {
  if (reason._tag !== "RoutingServerFailed" || !URL.canParse(reason.url)) return undefined
  const { host, origin } = new URL(reason.url)
  if (reason.status === undefined) {
    return `${origin}: ${reason.detail}. Was a node started with --metrics ${host}, and is it still running?`
  }
  return reason.status === 503
    ? `${router}: ${what}: ${reason.detail}. "dht --of ${host}" shows whom it knows.`
    : undefined
}

const ofRecord = ({ key, reason }: RecordStoreError): string | undefined =>
  reason._tag === "UnknownNamespace"
    ? `${key}: this program cannot check records in /${reason.namespace}, only those in /pk; ` +
      "a program of your own can, with a validator: see docs/records.md."
    : undefined

const ofNetwork = ({ message, reason }: PrivateNetworkError): string | undefined =>
  reason._tag === "KeyRequired" ? `${message}. --psk FILE gives it one; "key psk" makes such a file.` : undefined

/** One sentence or two on a failure. */
const sentence = (error: unknown): string => {
  const special = isListenError(error)
    ? listening(error)
    : isDialError(error)
      ? dialling(error)
      : isRoutingError(error)
        ? routing(error)
        : isRecordStoreError(error)
          ? ofRecord(error)
          : isPrivateNetworkError(error)
            ? ofNetwork(error)
            : undefined
  if (special !== undefined) return special
  return error instanceof Error && error.message !== "" ? error.message : String(error)
}

const flat = (text: string): string =>
  text
    .split(/\s*\n\s*/)
    .filter((line) => line !== "")
    .join(" ")

/** What a parser expected, in plain words. */
const wanted = (expected: string): string => {
  const text = flat(expected)
    .replace("Schema validation failed: ", "")
    .replace(/^(Expected:?|Failed to parse \w+:)\s*/, "")
    .replace(/^Expected /, "")
  if (text.includes(" | ")) return `one of ${text.replaceAll('"', "").split(" | ").join(", ")}`
  return text === "a string representing a finite number" ? "a whole number" : text
}

/** What is wrong with a command line. */
export const usage = (error: CliError.CliError, name: string): string => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return `there is no flag ${error.option}${
        error.suggestions.length === 0 ? "" : `; did you mean ${error.suggestions.join(" or ")}?`
      }`
    case "UnknownSubcommand":
      return `there is no command ${error.subcommand}${
        error.suggestions.length === 0 ? "" : `; did you mean ${error.suggestions.join(" or ")}?`
      }`
    case "MissingArgument":
      return `${name} needs <${error.argument}>`
    case "InvalidValue": {
      const what = error.kind === "flag" ? `--${error.option}` : `<${error.option}>`
      return error.value === ""
        ? `${what} needs a value after it`
        : `${what}: "${error.value}" cannot be used; expected ${wanted(error.expected)}`
    }
    default:
      return flat(error.message)
  }
}

/** Tells a failure on stderr, with its whole cause if `verbose`, and leaves only that it has been told. */
export const report = <A, E, R>(effect: Effect.Effect<A, E, R>, verbose: boolean): Effect.Effect<A, Reported, R> =>
  Effect.catchCause(effect, (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const error = Cause.findErrorOption(cause)
    if (Option.isSome(error) && Schema.is(Reported)(error.value)) return Effect.fail(error.value)
    const text = Option.isSome(error)
      ? sentence(error.value)
      : `this is a bug in effect-libp2p: ${sentence(Cause.squash(cause))}. Please report it with what --verbose prints.`
    writeError(`effect-libp2p: ${flat(text)}`)
    if (verbose) writeError(inspect(Option.isSome(error) ? error.value : Cause.squash(cause), { depth: 10 }))
    return Effect.fail(new Reported())
  })
