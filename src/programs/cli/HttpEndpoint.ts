/**
 * A small HTTP server for those who watch the node: it answers GET on a few
 * paths, reads no bodies, and bounds what a client can hold: connections, the
 * size and time of a request, and the time of a reader that has stalled.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Net from "node:net"
import { UsageError } from "./Failure.ts"
import { endpointText } from "./Values.ts"

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

const maxConnections = 32
/** Requests of a connection that wait for their answers: who sends more without reading loses the connection. */
const maxPipelined = 4
const requestMs = 5000
/** For a client that neither asks nor reads. */
const defaultIdleMs = 10_000

export const json = (body: unknown, status = 200): Answer => ({
  status,
  type: "application/json; charset=utf-8",
  body: `${JSON.stringify(body)}\n`
})

const text = (status: number, body: string): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  body: `${body}\n`
})

const explain = (at: string, port: number, error: NodeJS.ErrnoException): string => {
  switch (error.code) {
    case "EADDRINUSE":
      return (
        `cannot serve metrics on ${at}: port ${port} is in use by another program. Stop it ` +
        `("lsof -i tcp:${port}" names it), or choose another port with --metrics.`
      )
    case "EACCES":
      return `cannot serve metrics on ${at}: this user may not use port ${port}. Choose a port above 1023 with --metrics.`
    case "EADDRNOTAVAIL":
      return `cannot serve metrics on ${at}: this machine has no such address. Use 127.0.0.1:${port} for this machine only.`
    default:
      return `cannot serve metrics on ${at}: ${error.message}`
  }
}

/** What is answered on a path, or on all that begin with it, with what follows. */
export type Route<R> =
  | Effect.Effect<Answer, never, R>
  | {
      /** How long the answer may take, in milliseconds. */
      readonly withinMs: number
      readonly answer: (rest: string) => Effect.Effect<Answer, never, R>
    }

/** Serves until the scope closes; gives the URL, with the real port. A path that ends with `/` stands for all below it. */
export const serve = <R>(
  endpoint: { readonly host: string; readonly port: number },
  routes: Readonly<Record<string, Route<R>>>,
  idleMs: number = defaultIdleMs
): Effect.Effect<string, UsageError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const run = Effect.runForkWith(yield* Effect.context<R>())
    const paths = Object.keys(routes)

    const found = (
      path: string
    ): { readonly withinMs: number; readonly answer: Effect.Effect<Answer, never, R> } | undefined => {
      const prefix = paths.find((one) => (one.endsWith("/") ? path.startsWith(one) : path === one))
      const route = prefix === undefined ? undefined : routes[prefix]
      if (route === undefined || prefix === undefined) return undefined
      return Effect.isEffect(route)
        ? { withinMs: requestMs, answer: route }
        : { withinMs: route.withinMs, answer: route.answer(path.slice(prefix.length)) }
    }

    const answer = (method: string, route: ReturnType<typeof found>): Effect.Effect<Answer, Cause.TimeoutError, R> => {
      if (route === undefined) return Effect.succeed(text(404, `Not found. There is ${paths.join(", ")}.`))
      if (method !== "GET" && method !== "HEAD") return Effect.succeed(text(405, "Only GET."))
      return Effect.timeout(route.answer, route.withinMs)
    }

    const pipelined = new WeakMap<Net.Socket, number>()
    const respond = (request: Http.IncomingMessage, response: Http.ServerResponse): void => {
      const method = request.method ?? ""
      const { socket } = request
      const asked = (pipelined.get(socket) ?? 0) + 1
      if (asked > maxPipelined) {
        socket.destroy()
        return
      }
      pipelined.set(socket, asked)
      response.once("close", () => pipelined.set(socket, (pipelined.get(socket) ?? 1) - 1))
      const path = (request.url ?? "/").replace(/[?#].*$/, "")
      // A body is of no use here, and is not waited for.
      if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined) {
        response.shouldKeepAlive = false
      }
      const route = found(path)
      // While the answer is made nothing moves on the socket, and the client is not to blame.
      if (route !== undefined) socket.setTimeout(idleMs + route.withinMs)
      const fiber = run(
        Effect.catchCause(answer(method, route), (cause) =>
          Effect.as(Effect.logError(`${path} could not be answered`, cause), text(500, "Internal error; see the log."))
        )
      )
      // A response that waits for its turn hears nothing of the end of its connection.
      const interrupt = () => fiber.interruptUnsafe()
      socket.once("close", interrupt)
      fiber.addObserver((exit) => {
        socket.off("close", interrupt)
        if (Exit.isFailure(exit) || response.destroyed) return
        const { body, status, type } = exit.value
        socket.setTimeout(idleMs)
        response.writeHead(status, {
          "content-type": type,
          "content-length": Buffer.byteLength(body),
          "cache-control": "no-store",
          ...(status === 405 ? { allow: "GET, HEAD" } : {})
        })
        response.end(method === "HEAD" ? undefined : body)
      })
    }

    const server = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const made = Http.createServer(
          {
            headersTimeout: requestMs,
            requestTimeout: requestMs,
            keepAliveTimeout: idleMs,
            connectionsCheckingInterval: 1000,
            maxHeaderSize: 8192
          },
          respond
        )
        made.maxConnections = maxConnections
        made.setTimeout(idleMs)
        return made
      }),
      (made) =>
        Effect.callback<void>((resume) => {
          made.close(() => resume(Effect.void))
          made.closeAllConnections()
        })
    )
    yield* Effect.callback<void, UsageError>((resume) => {
      const fail = (error: NodeJS.ErrnoException) =>
        resume(Effect.fail(new UsageError({ detail: explain(endpointText(endpoint), endpoint.port, error) })))
      server.once("error", fail)
      server.listen(endpoint.port, endpoint.host, () => {
        server.off("error", fail)
        resume(Effect.void)
      })
    })
    // Of a listener that runs: out of files, for example. It tries on.
    const context = yield* Effect.context()
    server.on("error", (error) => {
      Effect.runForkWith(context)(Effect.logWarning("the metrics endpoint", Cause.fail(error)))
    })
    const bound = server.address()
    const port = typeof bound === "object" && bound !== null ? bound.port : endpoint.port
    return `http://${endpointText({ host: endpoint.host, port })}`
  })
