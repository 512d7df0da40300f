import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse, HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import { contentRoutingSuite } from "../../../src/conformance/ContentRouting.ts"
import { contentKey, peerRoutingSuite, stranger } from "../../../src/conformance/PeerRouting.ts"
import * as ContentKey from "../../../src/data/ContentKey.ts"
import * as DelegatedRouting from "../../../src/layers/routing/DelegatedRouting.ts"
import { closest } from "../../../src/layers/routing/core/Closest.ts"
import type { RoutedPeer } from "../../../src/services/PeerRouting.ts"
import { peerOf, routed } from "../../support/routing.ts"

interface Asked {
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
}

type Answer = HttpServerResponse.HttpServerResponse
type Script = (asked: Asked) => Effect.Effect<Answer>

/** A server on the loopback that answers as `script.answer` says, and the routing that asks it. */
const start = (answer: Script, options?: Partial<DelegatedRouting.Options>) =>
  Effect.gen(function* () {
    const asked: Array<Asked> = []
    const script = { answer }
    const server = yield* NodeHttpServer.make(() => createServer({ keepAliveTimeout: 1 }), {
      host: "127.0.0.1",
      port: 0
    })
    yield* server.serve(
      Effect.gen(function* () {
        const { headers, url } = yield* HttpServerRequest.HttpServerRequest
        asked.push({ path: url, headers })
        return HttpServerResponse.setHeader(yield* script.answer({ path: url, headers }), "connection", "close")
      })
    )
    // The server waits for what it has not answered yet.
    const closing = yield* Deferred.make<void>()
    yield* Effect.addFinalizer(() => Deferred.succeed(closing, undefined))
    const silence = Effect.sync(() => {
      script.answer = () => Effect.as(Deferred.await(closing), HttpServerResponse.empty())
    })
    if (server.address._tag === "UnixPathAddress") return yield* Effect.die("no port")
    const url = `http://127.0.0.1:${server.address.port}`
    const routing = yield* Effect.provide(DelegatedRouting.make({ url, ...options }), FetchHttpClient.layer)
    return { asked, silence, url, ...routing }
  }).pipe(Effect.provide(Logger.layer([])))

const recordOf = ({ addresses, peer }: RoutedPeer) => ({
  Schema: "peer",
  ID: peer.toCid(),
  Addrs: addresses.map((address) => address.toString()),
  Protocols: ["transport-bitswap"],
  "transport-bitswap": { unknown: true }
})

const json = (body: unknown): Answer =>
  HttpServerResponse.text(JSON.stringify(body), { contentType: "application/json" })
const lines = (records: ReadonlyArray<unknown>): Answer =>
  HttpServerResponse.text(records.map((record) => `${JSON.stringify(record)}\n`).join(""), {
    contentType: "application/x-ndjson; charset=utf-8"
  })
/** Sends each chunk by itself, and then goes on as `rest` says. */
const chunks = (texts: Iterable<string>, contentType: string, rest: Stream.Stream<Uint8Array> = Stream.empty): Answer =>
  HttpServerResponse.stream(Stream.concat(Stream.fromIterable(Array.from(texts, (text) => Buffer.from(text))), rest), {
    contentType
  })

const key = contentKey(0)
const everyone = [1, 2, 3, 4].map((n) => routed(n))
const holders = everyone.slice(0, 2)

/** Answers as the specification says, in lines or in one object. */
const honest =
  (inLines: boolean): Script =>
  ({ path }) =>
    Effect.sync(() => {
      const [, , , what = "", ...rest] = path.split("/")
      const name = rest.at(-1) ?? ""
      const answer = (field: string, found: ReadonlyArray<RoutedPeer>) =>
        inLines ? lines(found.map(recordOf)) : json({ [field]: found.map(recordOf) })
      if (what === "peers")
        return answer(
          "Peers",
          everyone.filter(({ peer }) => peer.toCid() === name)
        )
      if (what === "providers") return answer("Providers", name === ContentKey.toText(key) ? holders : [])
      if (what === "dht") return answer("Peers", closest(Uint8Array.of(0), everyone))
      return HttpServerResponse.empty({ status: 400 })
    })

for (const inLines of [true, false]) {
  const network = start(honest(inLines))
  const name = `delegated, in ${inLines ? "lines" : "one object"}`
  peerRoutingSuite(
    name,
    Effect.map(network, ({ peers, silence }) => ({ routing: peers, peers: everyone, silence })),
    { live: true }
  )
  contentRoutingSuite(
    name,
    Effect.map(network, ({ content, silence }) => ({ routing: content, key, providers: holders, silence })),
    { live: true, provides: false }
  )
}

describe("what is asked", () => {
  it.live("is at the paths of the specification, for lines first, and without traces", () =>
    Effect.gen(function* () {
      const { asked, content, peers } = yield* start(honest(true))
      yield* peers.findPeer(peerOf(1))
      yield* Stream.runDrain(content.findProviders(key))
      yield* Stream.runDrain(peers.closestPeers(key))
      assert.deepStrictEqual(
        asked.map(({ path }) => path),
        [
          `/routing/v1/peers/${peerOf(1).toCid()}`,
          `/routing/v1/providers/${ContentKey.toText(key)}`,
          `/routing/v1/dht/closest/peers/${ContentKey.toText(key)}`
        ]
      )
      for (const { headers } of asked) {
        assert.match(headers["accept"] ?? "", /^application\/x-ndjson, application\/json/)
        assert.notProperty(headers, "traceparent")
        assert.notProperty(headers, "b3")
      }
    }).pipe(Effect.withSpan("secret"), Effect.scoped)
  )

  it.live("is only what can be: a key that is no multihash is not sent", () =>
    Effect.gen(function* () {
      const { asked, content, peers } = yield* start(honest(true))
      const bad = Uint8Array.of(1, 2, 3)
      for (const question of [Stream.runDrain(content.findProviders(bad)), Stream.runDrain(peers.closestPeers(bad))]) {
        assert.strictEqual((yield* Effect.flip(question)).reason._tag, "RoutingUnsupported")
      }
      assert.isEmpty(asked)
    }).pipe(Effect.scoped)
  )

  it.effect("goes to an address that could be that of a server", () =>
    Effect.gen(function* () {
      const client = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request, url) =>
          Effect.succeed(HttpClientResponse.fromWeb(request, Response.json({ Peers: [{ ID: url.pathname }] })))
        )
      )
      for (const url of ["", "delegated-ipfs.dev", "file:///etc/passwd", "https://", "https://a.dev/?token=1"]) {
        const error = yield* Effect.flip(Effect.provide(DelegatedRouting.make({ url }), client))
        assert.include(error.message, JSON.stringify(url))
      }
      // It would not be sent, and is not told to anybody.
      const secret = DelegatedRouting.make({ url: "https://me:secret@a.dev" })
      const { message } = yield* Effect.flip(Effect.provide(secret, client))
      assert.include(message, "https://…@a.dev")
      assert.notInclude(message, "secret")
      const { peers } = yield* Effect.provide(DelegatedRouting.make({ url: "https://example.com/api/" }), client)
      assert.strictEqual(peers.router, "delegated example.com")
      assert.strictEqual((yield* Effect.flip(peers.findPeer(peerOf(1)))).reason._tag, "NotFound")
    })
  )
})

describe("an answer", () => {
  const reasonFor = (status: number, headers?: Record<string, string>) =>
    Effect.gen(function* () {
      const { content, peers, url } = yield* start(() =>
        Effect.succeed(HttpServerResponse.empty({ status, headers: headers ?? {} }))
      )
      return {
        url,
        peer: yield* Effect.flip(peers.findPeer(peerOf(1))),
        providers: yield* Effect.result(Stream.runCollect(content.findProviders(key))),
        closest: yield* Effect.flip(Stream.runDrain(peers.closestPeers(key)))
      }
    })

  it.live("404 is that nothing is known", () =>
    Effect.gen(function* () {
      const { closest, peer, providers } = yield* reasonFor(404)
      assert.strictEqual(peer.reason._tag, "NotFound")
      assert.deepInclude(providers, { _tag: "Success", success: [] })
      assert.strictEqual(closest.reason._tag, "NotFound")
    }).pipe(Effect.scoped)
  )

  it.live("501 is that it cannot be asked there; others are failures with the address and the status", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonFor(501)).closest.reason._tag, "RoutingUnsupported")
      for (const status of [400, 422, 500, 503]) {
        const { peer, url } = yield* reasonFor(status)
        assert.deepInclude(peer.reason, {
          _tag: "RoutingServerFailed",
          status,
          url: `${url}/routing/v1/peers/${peerOf(1).toCid()}`
        })
        assert.include(peer.message, `answered ${status}`)
      }
      assert.include((yield* reasonFor(429, { "retry-after": "30" })).peer.message, 'too often; it says to wait "30"')
    }).pipe(Effect.scoped)
  )

  it.live("that says why there is none is quoted, a bounded piece of it that can be printed", () =>
    Effect.gen(function* () {
      const messageFor = (answer: Answer) =>
        Effect.gen(function* () {
          const { peers } = yield* start(() => Effect.succeed(answer))
          return (yield* Effect.flip(peers.findPeer(peerOf(1)))).message
        })
      const text = (body: string, contentType = "text/plain") =>
        HttpServerResponse.text(body, { contentType, status: 500 })
      assert.include(
        yield* messageFor(text("the DHT is\nnot\u001b[31m ready")),
        "no answer: the DHT is not\ufffd[31m ready"
      )
      assert.include(yield* messageFor(text('{"error":"no such key"}', "application/json")), ": no such key")
      assert.isBelow((yield* messageFor(text("x".repeat(1_000_000)))).length, 500)
      const page = yield* messageFor(text("<html><body>oops", "text/html"))
      assert.notInclude(page, "oops")
      const hanging = HttpServerResponse.stream(Stream.concat(Stream.make(Buffer.from("it hangs")), Stream.never), {
        status: 503
      })
      assert.include(yield* messageFor(hanging), ": it hangs")
    }).pipe(Effect.scoped)
  )

  it.live("is read as its records come, before its end", () =>
    Effect.gen(function* () {
      const [one, two] = holders.map((holder) => JSON.stringify(recordOf(holder)))
      const text = `${one}\n\n${two}\n`
      // Cut where it hurts, and never ended.
      const parts = [text.slice(0, 7), text.slice(7, 100), text.slice(100)]
      const { content, peers } = yield* start(() => Effect.succeed(chunks(parts, "application/x-ndjson", Stream.never)))
      const found = yield* Stream.runCollect(Stream.take(content.findProviders(key), 2))
      assert.deepStrictEqual(found, holders)
      const steps = yield* Stream.runCollect(Stream.take(peers.closestPeers(key), 1))
      assert.isAtLeast(steps[0]?.closest.length ?? 0, 1)
      assert.deepStrictEqual(yield* peers.findPeer(peerOf(1)), routed(1))
    }).pipe(Effect.scoped)
  )

  it.live("may name anything: what is no peer is passed over, and so are others' addresses", () =>
    Effect.gen(function* () {
      const mine = peerOf(1)
      const records: ReadonlyArray<unknown> = [
        null,
        7,
        "peer",
        [],
        {},
        { ID: 7 },
        { ID: "not an id", Addrs: ["/ip4/192.0.2.1/tcp/1"] },
        { ID: mine.toString(), Addrs: "no list" },
        { Schema: "bitswap", ID: peerOf(2).toString() },
        { ID: peerOf(3).toString(), Addrs: null },
        {
          ID: mine.toString(),
          Addrs: [
            7,
            null,
            "/not/an/address",
            "/ip4/999.1.1.1/tcp/1",
            `/ip4/192.0.2.9/tcp/1/p2p/${peerOf(9).toString()}`,
            `/ip4/192.0.2.1/tcp/1/p2p/${mine.toString()}`,
            "/ip4/192.0.2.1/tcp/1",
            `/p2p/${mine.toString()}`,
            ...Array.from({ length: 100 }, (_, port) => `/ip4/192.0.2.2/tcp/${port + 1}`)
          ]
        }
      ]
      for (const answer of [lines(records), json({ Peers: records, Providers: records })]) {
        const { content, peers } = yield* start(() => Effect.succeed(answer))
        const found = yield* Stream.runCollect(content.findProviders(key))
        assert.deepStrictEqual(
          found.map(({ peer }) => peer.toString()),
          [peerOf(2), peerOf(3), mine].map(String)
        )
        const { addresses } = yield* peers.findPeer(mine)
        assert.lengthOf(addresses, 32)
        assert.strictEqual(addresses[0]?.toString(), "/ip4/192.0.2.1/tcp/1")
        assert.strictEqual(addresses[1]?.toString(), "/ip4/192.0.2.2/tcp/1")
        assert.strictEqual((yield* Effect.flip(peers.findPeer(stranger(1)))).reason._tag, "NotFound")
      }
    }).pipe(Effect.scoped)
  )

  const failing = (answer: Answer, options?: Partial<DelegatedRouting.Options>) =>
    Effect.gen(function* () {
      const { content } = yield* start(() => Effect.succeed(answer), options)
      const { reason } = yield* Effect.flip(Stream.runDrain(content.findProviders(key)))
      return reason._tag === "RoutingServerFailed" ? reason.detail : assert.fail(reason._tag)
    }).pipe(Effect.scoped)

  it.live("that is not of the API is a failure", () =>
    Effect.gen(function* () {
      assert.include(yield* failing(HttpServerResponse.text("<html>", { contentType: "text/html" })), "text/html")
      assert.include(yield* failing(HttpServerResponse.empty({ status: 200 })), "nothing")
      const object = (text: string) => failing(HttpServerResponse.text(text, { contentType: "application/json" }))
      assert.include(yield* object("{"), "not JSON")
      assert.include(yield* object("[".repeat(100_000)), "not JSON")
      assert.include(yield* object("[]"), "not an object")
      assert.include(yield* object(`{"Providers": 7}`), "not a list")
      assert.include(yield* failing(chunks(['{"ID":\n'], "application/x-ndjson")), "line of the answer is not JSON")
    })
  )

  it.live("that is too large, or has no end, is cut off", () =>
    Effect.gen(function* () {
      const endless = Stream.fromIterable(
        (function* () {
          for (;;) yield Buffer.alloc(16_384, 0x20)
        })()
      )
      for (const type of ["application/json", "application/x-ndjson"]) {
        const detail = yield* failing(chunks([], type, endless), { maxBytes: 100_000 })
        assert.match(detail, /over the limit of (100000|65536) bytes/)
      }
      const blank = Stream.map(endless, () => Buffer.from("\n".repeat(16_384)))
      assert.include(
        yield* failing(chunks([], "application/x-ndjson", blank), { maxBytes: 100_000 }),
        "over the limit of 100000"
      )
    })
  )

  it.live("with more peers than are wanted is left", () =>
    Effect.gen(function* () {
      const all = Stream.fromIterable(
        (function* () {
          for (let n = 0; ; n++) yield Buffer.from(`${JSON.stringify(recordOf(routed(n % 50)))}\n`)
        })()
      )
      const { content } = yield* start(() => Effect.succeed(chunks([], "application/x-ndjson", all)), { maxPeers: 10 })
      assert.strictEqual(yield* Stream.runCount(content.findProviders(key)), 10)
    }).pipe(Effect.scoped)
  )

  it.live("that does not come because nobody is there is a failure that says so", () =>
    Effect.gen(function* () {
      const { peers, url } = yield* Effect.scoped(start(honest(true)))
      const error = yield* Effect.flip(peers.findPeer(peerOf(1)))
      assert.deepInclude(error.reason, { _tag: "RoutingServerFailed", status: undefined })
      assert.include(error.message, "ECONNREFUSED")
      assert.include(error.message, url)
    })
  )
})

describe("a question that is interrupted", () => {
  it.effect("aborts its request, before and after the answer has begun", () =>
    Effect.gen(function* () {
      for (const begun of [false, true]) {
        let aborted = false
        const client = HttpClient.make((request, _, signal) => {
          signal.addEventListener("abort", () => (aborted = true))
          const headers = { "content-type": "application/x-ndjson" }
          return begun
            ? Effect.succeed(HttpClientResponse.fromWeb(request, new Response(new ReadableStream(), { headers })))
            : Effect.never
        })
        const { peers } = yield* DelegatedRouting.make({ url: "https://example.com" }).pipe(
          Effect.provideService(HttpClient.HttpClient, client)
        )
        const found = yield* Effect.forkChild(peers.findPeer(peerOf(1)), { startImmediately: true })
        yield* Effect.repeat(Effect.yieldNow, { times: 50 })
        assert.isFalse(aborted)
        yield* Fiber.interrupt(found)
        assert.isTrue(aborted)
      }
    })
  )
})

describe("a deadline", () => {
  it.effect("holds also for an answer that has begun, in virtual time by a client of the test's", () =>
    Effect.gen(function* () {
      const client = HttpClient.make((request) =>
        Effect.succeed(
          HttpClientResponse.fromWeb(
            request,
            new Response(new ReadableStream(), { headers: { "content-type": "application/x-ndjson" } })
          )
        )
      )
      const { content } = yield* DelegatedRouting.make({ url: "https://example.com", name: "slow" }).pipe(
        Effect.provideService(HttpClient.HttpClient, client)
      )
      const found = yield* Effect.forkChild(Effect.flip(Stream.runDrain(content.findProviders(key))))
      yield* TestClock.adjust(59_999)
      assert.isUndefined(found.pollUnsafe())
      yield* TestClock.adjust(1)
      const { reason, router } = yield* Fiber.join(found)
      assert.deepInclude(reason, { _tag: "RoutingTimeout", afterMs: 60_000, asked: 1 })
      assert.strictEqual(router, "slow")
    })
  )
})
