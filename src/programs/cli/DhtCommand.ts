/** `effect-libp2p dht`: the DHTs of a node as a picture; and `crawl`: everyone who is in them. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import process from "node:process"
import { Kad } from "../../services/Kad.ts"
import * as Endpoints from "./Endpoints.ts"
import { Output, table } from "./Output.ts"
import * as Routed from "./Routed.ts"
import type { Settings } from "./Settings.ts"

// ---- the picture

const optional = Schema.optional(Schema.Finite)
const Bucket = Schema.Struct({
  bucket: Schema.Finite,
  peers: Schema.Finite,
  replacements: Schema.Finite,
  oldestMs: optional,
  refreshedMsAgo: optional
})
const Counters = Schema.Struct({
  lookups: Schema.Finite,
  // A node of an older release does not tell.
  crowded: Schema.optional(Schema.Finite),
  requests: Schema.Finite,
  requestsFailed: Schema.Finite,
  refreshed: Schema.Finite,
  refreshesFailed: Schema.Finite,
  questions: Schema.Finite,
  questionsRefused: Schema.Finite,
  questionsDelayed: Schema.Finite
})
const Held = Schema.Struct({
  held: Schema.Finite,
  refused: Schema.Struct({ peer: Schema.Finite, group: Schema.Finite, node: Schema.Finite }),
  dropped: Schema.Finite
})
const Status = Schema.Struct({
  realm: Schema.String,
  protocol: Schema.String,
  mode: Schema.Literals(["server", "client"]),
  peers: Schema.Finite,
  buckets: Schema.Array(Bucket),
  networkSize: optional,
  providers: Schema.Finite,
  // A node of an older release does not tell.
  announcements: Schema.optional(Held),
  records: Schema.optional(Held),
  counters: Counters
})
/** What the endpoint of a node answers at `/dht`. */
const Report = Schema.Struct({ peer: Schema.String, dhts: Schema.Array(Status) })

const ago = (ms: number): string => {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

const bar = (peers: number, waiting: number, width: number, colour: (name: "green" | "dim", text: string) => string) =>
  `${colour("green", "█".repeat(Math.min(peers, width)))}${colour("dim", "░".repeat(Math.max(0, width - peers)))}${
    waiting === 0 ? "" : ` +${waiting}`
  }`

/** What is held for others, and why what was not. */
const heldFor = (what: string, { dropped, held, refused }: typeof Held.Type): string => {
  const { group, node, peer } = refused
  const all = peer + group + node
  const why = all === 0 ? "" : `, ${all} refused (share full: ${peer} of a peer, ${group} of a network, ${node} of all)`
  return `${held} ${what} of others${why}${dropped === 0 ? "" : `, ${dropped} dropped for others`}`
}

/** The widest bucket is the scale. */
const draw = (status: typeof Status.Type, colours: boolean): string => {
  const colour = (name: "green" | "dim", text: string) =>
    colours && text !== "" ? `\u001B[${name === "green" ? 32 : 2}m${text}\u001B[0m` : text
  const { announcements, buckets, counters, mode, networkSize, peers, protocol, providers, realm, records } = status
  // Most nodes are in one network, and the other is not worth a picture.
  if (peers === 0 && providers === 0 && counters.questions === 0) {
    const tried = counters.lookups === 0 ? "" : `; ${counters.lookups} lookups came to nothing`
    return table([[realm, [`${protocol}: nobody of this network is known, and nobody has asked${tried}`]]])
  }
  const width = Math.max(20, ...buckets.map((bucket) => bucket.peers))
  const rows = buckets.map(
    ({ bucket, oldestMs, peers, refreshedMsAgo, replacements }) =>
      `  ${String(bucket).padStart(3)}  ${bar(peers, replacements, width, colour)}  ${String(peers).padStart(3)} ${peers === 1 ? "peer" : "peers"}${oldestMs === undefined ? "" : `, oldest ${ago(oldestMs)}`}, refreshed ${
        refreshedMsAgo === undefined ? "never" : `${ago(refreshedMsAgo)} ago`
      }`
  )
  return [
    table([
      [realm, [protocol]],
      ["mode", [mode]],
      ["peers", [String(peers)]],
      ["network", [networkSize === undefined ? "size not known yet" : `about ${Math.round(networkSize)} servers`]],
      [
        "held",
        [
          announcements === undefined
            ? `${providers} announcements of others`
            : heldFor("announcements", announcements),
          ...(records === undefined ? [] : [heldFor("records", records)])
        ]
      ],
      [
        "lookups",
        [
          `${counters.lookups}, with ${counters.requests} requests, ${counters.requestsFailed} failed`,
          ...(counters.crowded === undefined || counters.crowded === 0
            ? []
            : [`${counters.crowded} found more peers close to a key than chance puts there, and asked all around it`])
        ]
      ],
      ["refreshes", [`${counters.refreshed}, ${counters.refreshesFailed} failed`]],
      [
        "questions",
        [`${counters.questions} answered, ${counters.questionsRefused} refused, ${counters.questionsDelayed} delayed`]
      ]
    ]),
    "",
    ...(rows.length === 0
      ? ["  the table is empty"]
      : ["  bits shared with this node, █ a peer, +n that wait for a place", ...rows])
  ].join("\n")
}

const show = (peer: string, dhts: ReadonlyArray<typeof Status.Type>) =>
  Effect.gen(function* () {
    const output = yield* Output
    const colours = process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb"
    yield* output.event(
      { event: "dht", peer, dhts },
      [`peer ${peer}`, ...dhts.map((status) => draw(status, colours))].join("\n\n")
    )
  })

export const dht = (settings: Settings, of: string | undefined) =>
  of === undefined
    ? Effect.gen(function* () {
        const kad = yield* Kad
        yield* kad.refresh
        yield* show("(made for this)", yield* kad.status)
      }).pipe(Routed.provideNew(settings))
    : Effect.flatMap(Endpoints.read(settings, of, "/dht", Report), ({ report }) => show(report.peer, report.dhts))

// ---- the crawl

export const crawl = (settings: Settings, max: number | undefined) =>
  Effect.gen(function* () {
    const output = yield* Output
    const kad = yield* Kad
    let visited = 0
    let silent = 0
    let knows = 0
    yield* Stream.runForEach(kad.crawl(max), (crawled) => {
      visited++
      knows += crawled.knows
      if (crawled.failure !== undefined) silent++
      const { addresses, peer } = crawled.peer
      return output.event(
        {
          event: "crawled",
          realm: crawled.realm,
          peer: peer.toString(),
          addresses: addresses.map(String),
          ms: crawled.ms === undefined ? null : Math.round(crawled.ms),
          knows: crawled.knows,
          failure: crawled.failure ?? null
        },
        crawled.failure === undefined
          ? `${peer.toString()}  ${crawled.realm}  knows ${crawled.knows}, in ${Math.round(crawled.ms ?? 0)} ms`
          : `${peer.toString()}  ${crawled.realm}  ${crawled.failure}`
      )
    })
    const answered = visited - silent
    const mean = answered === 0 ? 0 : Math.round(knows / answered)
    yield* output.event(
      { event: "summary", visited, answered, failed: silent, meanKnown: mean },
      `${visited} ${visited === 1 ? "peer" : "peers"}: ${answered} answered, ${silent} did not; each knows ${mean} others`
    )
  }).pipe(Routed.provideNew(settings))
