/** The server for those who watch, and those who would do it harm. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Option, Scope } from "effect"
import * as Net from "node:net"
import { json, serve } from "../../src/programs/cli/HttpEndpoint.ts"

/** Sends raw bytes and gives all that comes back until the server, or the deadline, ends it. */
const exchange = (port: number, text: string) =>
  Effect.callback<string>((resume) => {
    let received = ""
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(text))
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      received += chunk
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resume(Effect.succeed(received)))
  })

const get = (path: string, method = "GET") => `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`

const routes = {
  "/ok": Effect.succeed(json({ fine: true })),
  "/bad": Effect.succeed(json({ fine: false }, 503)),
  "/dies": Effect.die("a bug")
}

const listening = Effect.map(serve({ host: "127.0.0.1", port: 0 }, routes), (url) => Number(new URL(url).port))

describe("the HTTP endpoint", () => {
  it.live("answers what it has, and nothing else", () =>
    Effect.gen(function* () {
      const port = yield* listening
      const ok = yield* exchange(port, get("/ok?x=1"))
      assert.match(ok, /^HTTP\/1\.1 200 OK\r\n/)
      assert.include(ok, "content-type: application/json; charset=utf-8")
      assert.include(ok, "cache-control: no-store")
      assert.match(ok, /\r\n\r\n\{"fine":true\}\n$/)
      assert.match(yield* exchange(port, get("/bad")), /^HTTP\/1\.1 503 /)
      const head = yield* exchange(port, get("/ok", "HEAD"))
      assert.match(head, /content-length: 14\r\n[\s\S]*\r\n\r\n$/)
      for (const [text, status] of [
        [get("/"), 404],
        [get("/ok/"), 404],
        [get("/toString"), 404],
        [get("/ok", "DELETE"), 405],
        [`POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx`, 405],
        [get(`/${"x".repeat(20_000)}`), 431],
        ["GET /ok HTTP/1.1\r\n\r\n", 400],
        ["\u0016\u0003\u0001 this is not HTTP\r\n\r\n", 400]
      ] as const) {
        assert.include((yield* exchange(port, text)).slice(0, 20), `HTTP/1.1 ${status} `, text.slice(0, 40))
      }
    }).pipe(Effect.scoped)
  )

  it.live("a route that dies is a 500, and the next is answered", () =>
    Effect.gen(function* () {
      const port = yield* listening
      assert.match(yield* exchange(port, get("/dies")), /^HTTP\/1\.1 500 /)
      assert.match(yield* exchange(port, get("/ok")), /^HTTP\/1\.1 200 /)
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )

  it.live("drops connections beyond its bound, and all of them when it ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(listening, scope)
      const closed = new Set<Net.Socket>()
      const sockets = yield* Effect.forEach(Array.from({ length: 40 }), () =>
        Effect.callback<Net.Socket>((resume) => {
          const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
          socket.on("error", () => undefined).on("close", () => closed.add(socket))
        })
      )
      while (closed.size < 8) yield* Effect.sleep(5)
      assert.strictEqual(closed.size, 8)
      yield* Scope.close(scope, Exit.void)
      while (closed.size < sockets.length) yield* Effect.sleep(5)
    })
  )

  it.live("a port in use is an error that says what to do", () =>
    Effect.gen(function* () {
      const port = yield* listening
      const error = yield* Effect.flip(serve({ host: "127.0.0.1", port }, routes))
      assert.include(error.message, `cannot serve metrics on 127.0.0.1:${port}: port ${port} is in use`)
      const elsewhere = yield* Effect.flip(serve({ host: "192.0.2.1", port: 1 }, routes))
      assert.include(elsewhere.message, "this machine has no such address")
    }).pipe(Effect.scoped)
  )

  it.live("waits for an answer for as long as the answer may take, and not for a client that says nothing", () =>
    Effect.gen(function* () {
      const slow = { withinMs: 5000, answer: () => Effect.as(Effect.sleep(600), json({ fine: true })) }
      const url = yield* serve({ host: "127.0.0.1", port: 0 }, { "/slow/": slow }, 100)
      const port = Number(new URL(url).port)
      assert.match(yield* exchange(port, get("/slow/x")), /^HTTP\/1\.1 200 /)
      assert.strictEqual(yield* exchange(port, "GET /slow/x"), "")
    }).pipe(Effect.scoped)
  )

  it.live("begins few answers for who asks again and again and does not wait, and ends them with the connection", () =>
    Effect.gen(function* () {
      let begun = 0
      let ended = 0
      const answer = Effect.acquireUseRelease(
        Effect.sync(() => void begun++),
        () => Effect.never,
        () => Effect.sync(() => void ended++)
      )
      const url = yield* serve({ host: "127.0.0.1", port: 0 }, { "/slow/": { withinMs: 60_000, answer: () => answer } })
      const one = "GET /slow/x HTTP/1.1\r\nHost: x\r\n\r\n"
      const answers = yield* exchange(Number(new URL(url).port), one.repeat(1000)).pipe(
        Effect.timeoutOption("3 seconds")
      )
      assert.isAtMost(begun, 4)
      assert.isTrue(Option.isSome(answers))
      yield* Effect.sleep(20)
      assert.strictEqual(ended, begun)
    }).pipe(Effect.scoped)
  )
})
