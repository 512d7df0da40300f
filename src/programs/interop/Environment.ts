/**
 * What the transport tests of libp2p say to a program, in either of their two
 * forms: the variables of unified-testing (`IS_DIALER`, `REDIS_ADDR`, …), or
 * those of the older test-plans (`is_dialer`, `redis_addr`, …); and what its
 * kad-dht test says (`ROLE`, …).
 *
 * https://github.com/libp2p/unified-testing, transport/README.md;
 * https://github.com/libp2p/test-plans, transport-interop/README.md
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { roles } from "./KadRoles.ts"

/** A variable is missing or has a value that this program cannot do. */
class EnvironmentError extends Schema.TaggedError<EnvironmentError>()("EnvironmentError", {
  variable: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.variable}: ${this.detail}`
  }
}

export interface Environment {
  readonly form: "unified" | "legacy"
  readonly isDialer: boolean
  readonly redis: { readonly host: string; readonly port: number }
  /** Where in Redis the listener says its address: a list. */
  readonly addressKey: string
  /** What the listener binds to. */
  readonly ip: string
  readonly security: "noise" | "tls" | "plaintext"
  readonly muxer: "yamux" | "mplex"
  /** For the whole test. */
  readonly timeout: Duration.Duration
}

type Variables = Readonly<Record<string, string | undefined>>

/** One of `choices`; what else is asked for is an error that names them. */
const choose = <const A extends string>(variable: string, value: string | undefined, choices: ReadonlyArray<A>) => {
  const chosen = choices.find((choice) => choice === value)
  return chosen === undefined
    ? Effect.fail(
        new EnvironmentError({
          variable,
          detail: `${value === undefined ? "it is not set" : `"${value}" is not known here`}; there are ${choices.join(", ")}`
        })
      )
    : Effect.succeed(chosen)
}

/** A host and a port; that of Redis, if there is none. */
const redisAt = (variable: string, address: string) => {
  const [, host, digits] = /^\[?([^\]]+?)\]?(?::(\d{1,5}))?$/.exec(address) ?? []
  return host === undefined
    ? Effect.fail(new EnvironmentError({ variable, detail: `"${address}" is no host:port` }))
    : Effect.succeed({ host, port: Number(digits ?? "6379") })
}

const secondsOf = (variable: string, value: string | undefined) => {
  const seconds = Number(value ?? "180")
  return seconds > 0
    ? Effect.succeed(Duration.seconds(seconds))
    : Effect.fail(new EnvironmentError({ variable, detail: "it must be a number of seconds above zero" }))
}

/** Reads the variables of the transport test. */
export const read = Effect.fnUntraced(function* (variables: Variables) {
  const legacy = variables["IS_DIALER"] === undefined && variables["is_dialer"] !== undefined
  const name = (unified: string, old: string) => (legacy ? old : unified)
  const get = (unified: string, old: string) => variables[name(unified, old)] || undefined

  yield* choose(name("TRANSPORT", "transport"), get("TRANSPORT", "transport"), ["tcp"])
  const redis = yield* redisAt(
    name("REDIS_ADDR", "redis_addr"),
    get("REDIS_ADDR", "redis_addr") ?? (legacy ? "redis:6379" : "transport-redis:6379")
  )
  const key = variables["TEST_KEY"] || undefined
  if (!legacy && key === undefined) {
    return yield* new EnvironmentError({
      variable: "TEST_KEY",
      detail: "it is not set: nobody would find the listener"
    })
  }
  const timeout = yield* secondsOf(
    name("TEST_TIMEOUT_SECS", "test_timeout_seconds"),
    get("TEST_TIMEOUT_SECS", "test_timeout_seconds")
  )
  const environment: Environment = {
    form: legacy ? "legacy" : "unified",
    isDialer:
      (yield* choose(name("IS_DIALER", "is_dialer"), get("IS_DIALER", "is_dialer"), ["true", "false"])) === "true",
    redis,
    addressKey: legacy ? "listenerAddr" : `${key}_listener_multiaddr`,
    ip: get("LISTENER_IP", "ip") ?? "0.0.0.0",
    security: yield* choose(name("SECURE_CHANNEL", "security"), get("SECURE_CHANNEL", "security"), [
      "noise",
      "tls",
      "plaintext"
    ]),
    muxer: yield* choose(name("MUXER", "muxer"), get("MUXER", "muxer"), ["yamux", "mplex"]),
    timeout
  }
  return environment
})

/** Reads the variables of the kad-dht test. */
export const readKad = Effect.fnUntraced(function* (variables: Variables) {
  const testKey = variables["TEST_KEY"] || undefined
  if (testKey === undefined) {
    return yield* new EnvironmentError({ variable: "TEST_KEY", detail: "it is not set: nobody would find the others" })
  }
  return {
    role: yield* choose("ROLE", variables["ROLE"] || undefined, roles),
    redis: yield* redisAt("REDIS_ADDR", variables["REDIS_ADDR"] || "transport-redis:6379"),
    testKey,
    ip: variables["LISTENER_IP"] || "0.0.0.0",
    timeout: yield* secondsOf("TEST_TIMEOUT_SECS", variables["TEST_TIMEOUT_SECS"] || undefined)
  }
})
