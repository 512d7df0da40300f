/** The values that settings have, and how they are written. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { isIP } from "node:net"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import * as Subnet from "../../data/Subnet.ts"
import { isServiceName } from "../../layers/mdns/core/Names.ts"

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

export const durationWords = "a time such as 250ms, 10s or 2m"

/** A text that is read by `read`, which gives undefined for one that it does not understand. */
const parsed = <A>(expected: string, read: (text: string) => A | undefined, write: (value: A) => string) =>
  SchemaTransformation.transformEffect({
    decode: (text: string, options) => {
      const value = read(text)
      return value === undefined
        ? Effect.fail(new SchemaIssue.InvalidValue({ expected }, text, options))
        : Effect.succeed(value)
    },
    encode: (value: A) => Effect.succeed(write(value))
  })

/** A time with its unit: `250ms`, `10s`, `2m`, `1h`, and what Effect reads, such as `10 seconds`. */
export const DurationText = Schema.String.annotate({ expected: durationWords }).pipe(
  Schema.decodeTo(
    Schema.Duration,
    parsed(durationWords, readDuration, (duration: Duration.Duration) => `${Duration.toMillis(duration)}ms`)
  )
)

export const NonEmpty = (what: string) =>
  Schema.String.annotate({ expected: what }).check(Schema.isMinLength(1, { message: `Expected ${what}` }))

// ---- how a node takes part in DHTs

export const dhtWords = "auto, server, client or off"

/** `auto`: a client until it is known that others can reach the node, then a server. */
export const DhtModes = Schema.Literals(["auto", "server", "client", "off"]).annotate({ expected: dhtWords })

export const bootstrapWords =
  'a list of multiaddrs with peer ids, such as ["/ip4/192.0.2.1/tcp/4001/p2p/<peer id>"], or public'

/** A peer to enter a network by; `public` is the list of the public IPFS network. */
export const Entrance = Schema.Union([Schema.Literal("public"), Multiaddr.FromString])

// ---- the local network

export const lanWords = "on, off or both"

/** `loopback:5399` is for tests: on this machine only, and by this port. */
export const Lan = Schema.String.annotate({ expected: lanWords }).check(
  Schema.makeFilter((text) => (/^(on|off|both|loopback:\d{1,5})$/.test(text) ? undefined : `Expected ${lanWords}`))
)

export const serviceWords = "a name of lower-case letters, digits and hyphens, at most 20, such as chat"

export const Service = Schema.String.annotate({ expected: serviceWords }).check(
  Schema.makeFilter((text) => (isServiceName(text) ? undefined : `Expected ${serviceWords}`))
)

// ---- what secures and multiplexes

const listOf = <const Names extends ReadonlyArray<string>>(names: Names, words: string) =>
  Schema.Array(Schema.Literals(names).annotate({ expected: names.join(", ").replace(/, ([^,]*)$/, " or $1") })).check(
    Schema.isMinLength(1, { message: `Expected ${words}` }),
    Schema.isUnique({ message: "Expected a list that names each once" })
  )

export const securityWords = "a list of noise, tls and plaintext, the preferred first"
export const Securities = listOf(["noise", "tls", "plaintext"], securityWords)

export const muxerWords = "a list of yamux and mplex, the preferred first"
export const Muxers = listOf(["yamux", "mplex"], muxerWords)

// ---- where to serve and send

export const endpointWords = "an address such as 127.0.0.1:9464 or [::1]:9464, or a port"

const readPort = (text: string): number | undefined =>
  /^\d{1,5}$/.test(text) && Number(text) < 65_536 ? Number(text) : undefined

const readEndpoint = (text: string): { readonly host: string; readonly port: number } | undefined => {
  const alone = readPort(text)
  if (alone !== undefined) return { host: "127.0.0.1", port: alone }
  const [, ip6, ip4, digits = ""] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? []
  const port = readPort(digits)
  const host = ip6 ?? ip4 ?? ""
  if (port === undefined || isIP(host) !== (ip6 === undefined ? 4 : 6)) return undefined
  return { host, port }
}

/** The text of an address, brackets included. */
export const endpointText = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

/** An IP address and a port; a port alone is on this machine only. */
export const Endpoint = Schema.String.annotate({ expected: endpointWords }).pipe(
  Schema.decodeTo(
    Schema.Struct({ host: Schema.String, port: Schema.Int }),
    parsed(endpointWords, readEndpoint, endpointText)
  )
)

export const httpUrlWords = "a URL such as http://127.0.0.1:4318"

export const HttpUrl = Schema.String.annotate({ expected: httpUrlWords }).check(
  Schema.makeFilter((text) => (/^https?:/i.test(text) && URL.canParse(text) ? undefined : `Expected ${httpUrlWords}`))
)

// ---- who is kept away

const networkWords = "a network such as 203.0.113.0/24 or 2001:db8::/32"

export const Network = Schema.String.annotate({ expected: networkWords }).check(
  Schema.makeFilter((text) => (Result.isSuccess(Subnet.fromString(text)) ? undefined : `Expected ${networkWords}`))
)

export const PeerOrNetwork = Schema.String.annotate({ expected: `a peer id, or ${networkWords}` }).check(
  Schema.makeFilter((text) =>
    Result.isSuccess(Subnet.fromString(text)) || Result.isSuccess(PeerId.fromString(text))
      ? undefined
      : `Expected a peer id, or ${networkWords}`
  )
)

// ---- bounds

export const watermarkWords = "two numbers such as 160..192"

const readWatermarks = (text: string): { readonly low: number; readonly high: number } | undefined => {
  const [, low, high] = /^(\d{1,7})\.\.(\d{1,7})$/.exec(text) ?? []
  const found = { low: Number(low), high: Number(high) }
  return found.high > 0 && found.low <= found.high ? found : undefined
}

/** Above how many connections some are closed, and down to how many. */
export const Watermarks = Schema.String.annotate({ expected: watermarkWords }).pipe(
  Schema.decodeTo(
    Schema.Struct({ low: Schema.Int, high: Schema.Int }),
    parsed(
      watermarkWords,
      readWatermarks,
      ({ high, low }: { readonly low: number; readonly high: number }) => `${low}..${high}`
    )
  )
)
