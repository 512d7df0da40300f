/**
 * DelegatedRouting: another asks the network, and is asked over HTTP: the
 * delegated routing API `/routing/v1`. What it says is hearsay, as with every
 * routing; here a single server says it.
 *
 * ```
 * DelegatedRouting.layerFetch({ url: "https://delegated-ipfs.dev" })
 * ```
 *
 * It finds and does not announce: the API has no way to. Requests carry no
 * traces of the node's own spans.
 *
 * Specification: https://specs.ipfs.tech/routing/http-routing-v1/
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ContentKey from "../../data/ContentKey.ts"
import * as Bytes from "../../data/Bytes.ts"
import * as PeerId from "../../data/PeerId.ts"
import { printable } from "../../data/Printable.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import {
  NotFound,
  PeerRouting,
  type RoutedPeer,
  RoutingError,
  type RoutingErrorReason,
  type RoutingOptions,
  type RoutingProgress,
  RoutingServerFailed,
  RoutingTimeout,
  RoutingUnsupported
} from "../../services/PeerRouting.ts"
import { type Routing, toLayer } from "../../services/Routing.ts"
import { aboutClosest, aboutPeer, aboutProviders, aboutProviding } from "./composite/Plan.ts"
import { closest } from "./core/Closest.ts"
import { makeOnce } from "./core/Combine.ts"
import { AnswerReader, defaults, kindOf } from "./core/HttpAnswer.ts"

export interface Options {
  /** Where the API is, such as `https://delegated-ipfs.dev`; `/routing/v1` follows. */
  readonly url: string
  /** How errors and progress name it. Default: `delegated` and the host. */
  readonly name?: string | undefined
  /** Of one answer, in bytes; a larger one is refused. Default 4 MiB. */
  readonly maxBytes?: number | undefined
  /** Peers of one answer that are told. Default 1,000. */
  readonly maxPeers?: number | undefined
}

/** The address of the server is not that of one. */
export class InvalidRoutingUrl extends Schema.TaggedError<InvalidRoutingUrl>()("InvalidRoutingUrl", {
  url: Schema.String
}) {
  override get message(): string {
    return `${JSON.stringify(this.url)} is no server of delegated routing: give one such as https://delegated-ipfs.dev, without a password or a query`
  }
}

/** Only an origin and a path: what requests would leave out, such as a password or a query, is not silently dropped. */
const isServer = ({ hash, password, protocol, search, username }: URL): boolean =>
  /^https?:$/.test(protocol) && username + password + search + hash === ""

/** Peers told of as the closest. */
const bucket = 20

const accept = "application/x-ndjson, application/json;q=0.9"

/** In words, what went wrong with a request, down to what the system said. */
const detailOf = (error: HttpClientError.HttpClientError): string => {
  const words: Array<string> = []
  let cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
  for (let depth = 0; cause instanceof Error && depth < 4; depth++) {
    if (cause.message !== "") words.push(cause.message)
    cause = cause.cause
  }
  return words.length > 0 ? words.join(": ") : (error.reason.description ?? error.reason._tag)
}

/** Bytes of an answer that says why there is none, what is shown of it, and for it to come. */
const maxExplained = 2048
const maxShown = 200
const explainsWithin = "1 second"

const Explanation = Schema.fromJsonString(
  Schema.Struct({ error: Schema.optionalKey(Schema.String), message: Schema.optionalKey(Schema.String) })
)

/** What a server says of its failure, short, on one line; nothing where it says it by a page. */
const explanation = ({ headers, stream }: HttpClientResponse): Effect.Effect<string> =>
  Effect.gen(function* () {
    if (headers["content-type"]?.includes("html") === true) return ""
    const parts: Array<Uint8Array> = []
    let size = 0
    yield* stream.pipe(
      Stream.takeUntil((bytes) => {
        parts.push(bytes)
        size += bytes.length
        return size >= maxExplained
      }),
      Stream.runDrain,
      Effect.ignore,
      Effect.timeoutOption(explainsWithin)
    )
    const text = Bytes.toUtf8(Bytes.concat(parts).subarray(0, maxExplained))
    const parsed = Schema.decodeUnknownOption(Explanation)(text)
    const said = parsed._tag === "None" ? text : (parsed.value.error ?? parsed.value.message ?? text)
    return printable(said.replaceAll(/\s+/g, " ").trim(), maxShown)
  })

interface Request {
  readonly path: string
  /** The name of the list in an answer that is not in lines. */
  readonly field: "Peers" | "Providers"
  readonly what: string
  readonly options: RoutingOptions | undefined
  /** What a 404 means: to most questions, that nothing is known. */
  readonly absent: "nothing" | "NotFound"
}

export const make = (options: Options): Effect.Effect<Routing, InvalidRoutingUrl, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const url = URL.parse(options.url)
    if (url === null || !isServer(url)) {
      // A password is nothing for a log.
      return yield* new InvalidRoutingUrl({ url: options.url.replace(/\/\/[^/]*@/, "//…@") })
    }
    const base = `${url.origin}${url.pathname.replace(/\/+$/, "")}/routing/v1`
    const router = options.name ?? `delegated ${url.host}`
    const limits = { ...defaults, bytes: options.maxBytes ?? defaults.bytes }
    const maxPeers = options.maxPeers ?? 1000
    const client = HttpClient.withScope(yield* HttpClient.HttpClient)

    /** What an answer with this status means when it has no peers in it; `undefined` when it should have. */
    const refusal = Effect.fnUntraced(function* ({ absent }: Request, full: string, response: HttpClientResponse) {
      const { headers, status } = response
      if (status >= 200 && status < 300) return undefined
      if (status === 404) return absent === "nothing" ? "nothing" : new NotFound({ asked: 1 })
      if (status === 501) return new RoutingUnsupported({ detail: `${full} is not implemented there` })
      const wait = headers["retry-after"]
      const said = yield* explanation(response)
      const detail =
        status === 429
          ? `it is asked too often${wait === undefined ? "" : `; it says to wait ${JSON.stringify(wait.slice(0, 40))}`}`
          : "it has no answer"
      return new RoutingServerFailed({ url: full, status, detail: said === "" ? detail : `${detail}: ${said}` })
    })

    /** The peers of an answer, in batches as they come. */
    const ask = (request: Request): Stream.Stream<ReadonlyArray<RoutedPeer>, RoutingError> => {
      const full = `${base}/${request.path}`
      const fail = (reason: RoutingErrorReason) => new RoutingError({ router, what: request.what, reason })
      let answered = 0
      const wrong = (status: number | undefined, detail: string) =>
        fail(new RoutingServerFailed({ url: full, status, detail }))
      const peers = Effect.gen(function* () {
        const response = yield* client.get(full, { headers: { accept } }).pipe(
          Effect.provideService(HttpClient.TracerPropagationEnabled, false),
          Effect.mapError((error) => wrong(undefined, detailOf(error)))
        )
        answered = 1
        request.options?.onProgress?.({ router, learnt: [], asked: 1, answered: 1, failed: 0, hops: 1, closest: [] })
        const refused = yield* refusal(request, full, response)
        if (refused === "nothing") return Stream.empty
        if (refused !== undefined) return yield* fail(refused)
        const type = response.headers["content-type"]
        const kind = kindOf(type)
        if (kind === undefined) {
          return yield* wrong(response.status, `it answers with ${JSON.stringify((type ?? "nothing").slice(0, 80))}`)
        }
        const reader = new AnswerReader(kind, request.field, limits)
        const read = (result: ReadonlyArray<RoutedPeer> | string) =>
          typeof result === "string" ? Effect.fail(wrong(response.status, result)) : Effect.succeed(result)
        return response.stream.pipe(
          Stream.mapError((error) => wrong(response.status, detailOf(error))),
          Stream.mapEffect((bytes) => read(reader.push(bytes))),
          Stream.concat(Stream.fromEffect(Effect.suspend(() => read(reader.end())))),
          Stream.filter((batch) => batch.length > 0)
        )
      })
      const ms = Duration.toMillis(request.options?.deadline ?? Duration.minutes(1))
      const late = Effect.suspend(() => Effect.fail(fail(new RoutingTimeout({ afterMs: ms, asked: answered }))))
      return Stream.unwrap(peers).pipe(Stream.interruptWhen(Effect.andThen(Effect.sleep(ms), late)))
    }

    const cannot = (what: string, detail: string) =>
      new RoutingError({ router, what, reason: new RoutingUnsupported({ detail }) })

    /** The text of a key in a path. */
    const keyText = (key: Uint8Array, what: string): Effect.Effect<string, RoutingError> =>
      Result.match(ContentKey.fromMultihash(key), {
        onSuccess: (multihash) => Effect.succeed(ContentKey.toText(multihash)),
        onFailure: ({ detail }) => Effect.fail(cannot(what, `only multihashes can be asked for: ${detail}`))
      })

    const peers = PeerRouting.of({
      router,
      findPeer: Effect.fnUntraced(function* (peer, options) {
        const what = aboutPeer(peer)
        const request: Request = { path: `peers/${peer.toCid()}`, field: "Peers", what, options, absent: "nothing" }
        const found = yield* ask(request).pipe(
          Stream.flattenIterable,
          // What it says of others was not asked for.
          Stream.filter((one) => PeerId.equals(one.peer, peer)),
          Stream.takeUntil(({ addresses }) => addresses.length > 0),
          // A server may say without end that it knows the peer and not where it is.
          Stream.take(maxPeers),
          Stream.runLast
        )
        if (found._tag === "Some") return found.value
        return yield* new RoutingError({ router, what, reason: new NotFound({ asked: 1 }) })
      }),
      closestPeers: (key, options) =>
        Stream.unwrap(
          Effect.map(keyText(key, aboutClosest(key)), (text) => {
            let nearest: ReadonlyArray<RoutedPeer> = []
            const path = `dht/closest/peers/${text}`
            return ask({ path, field: "Peers", what: aboutClosest(key), options, absent: "NotFound" }).pipe(
              Stream.map((learnt): RoutingProgress => {
                nearest = closest(key, [...nearest, ...learnt], bucket)
                return { router, learnt, asked: 1, answered: 1, failed: 0, hops: 1, closest: nearest }
              })
            )
          })
        )
    })

    const content = ContentRouting.of({
      router,
      provide: (key) => Effect.fail(cannot(aboutProviding(key), "the delegated routing API announces nothing")),
      unprovide: () => Effect.void,
      provided: Effect.succeed([]),
      findProviders: (key, options) =>
        Stream.unwrap(
          Effect.map(keyText(key, aboutProviders(key)), (text) =>
            ask({
              path: `providers/${text}`,
              field: "Providers",
              what: aboutProviders(key),
              options,
              absent: "nothing"
            }).pipe(Stream.flattenIterable, Stream.filter(makeOnce(maxPeers)), Stream.take(maxPeers))
          )
        )
    })

    return { peers, content }
  })

/** Asks by the HttpClient that is provided: in a simulation, one of its own. */
export const layer = (
  options: Options
): Layer.Layer<PeerRouting | ContentRouting, InvalidRoutingUrl, HttpClient.HttpClient> => toLayer(make(options))

/** Asks by `fetch`. */
export const layerFetch = (options: Options): Layer.Layer<PeerRouting | ContentRouting, InvalidRoutingUrl> =>
  Layer.provide(layer(options), FetchHttpClient.layer)
