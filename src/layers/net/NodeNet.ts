/**
 * The Net service on Node: `node:net`, `node:dgram`, `node:dns` and
 * `os.networkInterfaces`. Nothing else in the project opens a socket.
 *
 * Ownership: every socket belongs to the scope that it was opened or accepted
 * in, every listener to the scope of `listen`. A connection that nobody has
 * accepted yet belongs to its listener. The layer itself holds only the buffer
 * that sockets read into and the list of listeners that ports can be reused from.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as dns from "node:dns"
import * as net from "node:net"
import * as os from "node:os"
import {
  type ConnectOptions,
  type Endpoint,
  type InterfaceAddress,
  type ListenOptions,
  Net,
  NetError,
  type NetErrorReason,
  type Socket,
  SocketClosed,
  type SocketListener,
  SystemRefused
} from "../../services/Net.ts"
import { Inbox, takeScoped } from "../internal/Inbox.ts"
import { bind, zoneOf } from "./NodeDatagram.ts"
import { codeOf, lookupReason, netReason } from "./NodeErrors.ts"
import { type NodeSocket, open, type Shared, writeSize } from "./NodeSocket.ts"

export interface Options {
  /**
   * Milliseconds that closing a socket's scope after `closeWrite` waits until all has
   * left and the remote has ended too; then what has not left is dropped. Default 1000.
   */
  readonly linger?: number | undefined
  /** Bytes that one read takes at most; one buffer of this size serves all sockets. Default 128 KiB. */
  readonly readSize?: number | undefined
}

const refuse = (operation: NetError["operation"], endpoint: Endpoint | undefined, reason: NetErrorReason): NetError =>
  new NetError({ operation, endpoint, reason })

const endpointOf = (options: Endpoint): Endpoint => ({ host: options.host, port: options.port })

/** The endpoint as the system takes it, or why it cannot be one: nothing here may look up a name or throw. */
const invalid = (endpoint: Endpoint): NetErrorReason | undefined => {
  if (net.isIP(endpoint.host) === 0) return new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
  const { port } = endpoint
  return Number.isInteger(port) && port >= 0 && port <= 65_535
    ? undefined
    : new SystemRefused({ code: "ERR_SOCKET_BAD_PORT" })
}

/** Both ends of a socket; undefined if it is gone already. */
const ends = (socket: net.Socket): { readonly local: Endpoint; readonly remote: Endpoint } | undefined => {
  const { localAddress, localPort, remoteAddress, remotePort } = socket
  if (
    localAddress === undefined ||
    localPort === undefined ||
    remoteAddress === undefined ||
    remotePort === undefined
  ) {
    return undefined
  }
  return { local: { host: localAddress, port: localPort }, remote: { host: remoteAddress, port: remotePort } }
}

const ignore = (): void => {}

/** `handle` and `manualStart` (do not read yet) are options that Node's types do not tell. */
const withHandle = (options: net.SocketConstructorOpts, handle: object): net.SocketConstructorOpts => {
  const more = { ...options, manualStart: true }
  Reflect.set(more, "handle", handle)
  return more
}

interface Listening {
  readonly family: number
  readonly local: Endpoint
}

/** What a layer's sockets and listeners share. */
interface State {
  readonly shared: Shared
  /** Listeners made with `reusePort`. */
  readonly reusable: Set<Listening>
}

/** A socket bound to a listener's port, where this version of Node and the system allow it. */
const bindLike = (listening: Listening): net.BoundSocket | undefined => {
  // Since Node 24.19 and 26.4. Before, dialling gets another port.
  if (!("BoundSocket" in net)) return undefined
  try {
    return new net.BoundSocket({
      host: listening.local.host,
      port: listening.local.port,
      ipv6Only: listening.family === 6,
      reusePort: true
    })
  } catch {
    return undefined
  }
}

const isOwn = (host: string): boolean =>
  host === "::1" ||
  host.startsWith("127.") ||
  Object.values(os.networkInterfaces()).some((list) => list?.some((address) => address.address === host))

/** The listener whose port a dial may leave from. */
const reusableFor = (state: State, options: ConnectOptions): Listening | undefined => {
  const { host, localPort, port } = options
  // A socket that dials its own port on its own machine would connect to itself.
  if (localPort === undefined || (port === localPort && isOwn(host))) return undefined
  const family = net.isIP(host)
  for (const listening of state.reusable) {
    if (listening.family === family && listening.local.port === localPort) return listening
  }
  return undefined
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Starts connecting and waits; the socket is destroyed unless it succeeds. Called where it cannot be interrupted but in the wait. */
const connectOnce = (
  state: State,
  endpoint: Endpoint,
  from: Listening | undefined,
  restore: Restore
): Effect.Effect<NodeSocket, NetError> =>
  Effect.suspend(() => {
    const bound = from === undefined ? undefined : bindLike(from)
    const { socket, stream } = open(state.shared, (onread) => {
      const options = { onread, allowHalfOpen: true, noDelay: true, writableHighWaterMark: writeSize }
      const socket = new net.Socket(bound === undefined ? options : withHandle(options, bound))
      // So that it does not read before it is asked to.
      socket.pause()
      socket.on("error", ignore)
      return { socket, pushes: false }
    })
    const connected = Effect.callback<NodeSocket, NetError>((resume) => {
      const refused = (code: string) => resume(Effect.fail(refuse("connect", endpoint, netReason(code))))
      const failed = (error: Error) => refused(codeOf(error))
      socket.once("error", failed)
      socket.once("connect", () => {
        socket.off("error", failed)
        const both = ends(socket)
        if (both === undefined) return refused("ECONNRESET")
        resume(Effect.succeed(stream(both.local, both.remote)))
      })
      try {
        socket.connect({ host: endpoint.host, port: endpoint.port })
      } catch (error) {
        refused(codeOf(error))
      }
    })
    return Effect.onExit(restore(connected), (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) socket.destroy()
      })
    )
  })

const connect = (state: State, options: ConnectOptions): Effect.Effect<Socket, NetError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const endpoint = endpointOf(options)
      const bad = invalid(endpoint)
      if (bad !== undefined) return yield* refuse("connect", endpoint, bad)
      const scope = yield* Effect.scope
      const from = reusableFor(state, options)
      const plain = connectOnce(state, endpoint, undefined, restore)
      const socket = yield* from === undefined
        ? plain
        : Effect.catchIf(connectOnce(state, endpoint, from, restore), portRefused, () => plain)
      yield* Scope.addFinalizer(scope, socket.release)
      return socket
    })
  )

/** Refused because of the local port: the same four-tuple is in use or lingers, or the listener's address cannot reach there. */
const portRefused = (error: NetError): boolean =>
  error.reason._tag === "AddressInUse" ||
  error.reason._tag === "AddressUnavailable" ||
  error.reason._tag === "SystemRefused" ||
  error.reason._tag === "Unreachable"

/**
 * Takes over the system handle of an accepted socket with a socket that reads
 * into the shared buffer: Node's server has no option for it. Without a handle
 * to take, the accepted socket itself is used and pushes its data.
 */
const adopt = (
  accepted: net.Socket,
  onread: net.OnReadOpts
): { readonly socket: net.Socket; readonly pushes: boolean } => {
  const handle: unknown = Reflect.get(accepted, "_handle")
  accepted.on("error", ignore)
  if (typeof handle !== "object" || handle === null) return { socket: accepted, pushes: true }
  Reflect.set(accepted, "_handle", null)
  const options = { onread, allowHalfOpen: true, writableHighWaterMark: writeSize }
  const socket = new net.Socket(withHandle(options, handle))
  socket.pause()
  socket.on("error", ignore)
  return { socket, pushes: false }
}

const startListening = (
  server: net.Server,
  options: net.ListenOptions,
  endpoint: Endpoint
): Effect.Effect<Endpoint, NetError> =>
  Effect.callback<Endpoint, NetError>((resume) => {
    const failed = (error: unknown) => resume(Effect.fail(refuse("listen", endpoint, netReason(codeOf(error)))))
    const listening = () => {
      server.off("error", failed)
      const address = server.address()
      if (address === null || typeof address === "string") return failed(undefined)
      resume(Effect.succeed({ host: address.address, port: address.port }))
    }
    server.once("error", failed)
    server.once("listening", listening)
    try {
      server.listen(options)
    } catch (error) {
      failed(error)
    }
    return Effect.sync(() => {
      server.off("error", failed)
      server.off("listening", listening)
    })
  })

/**
 * Fails where somebody listens already. The option that lets dials leave from a
 * port would let a second listener share it too, and get some of the first one's
 * connections, without an error.
 */
const probe = (options: net.ListenOptions, endpoint: Endpoint): Effect.Effect<void, NetError> =>
  Effect.acquireUseRelease(
    Effect.sync(() => net.createServer((socket) => socket.destroy()).on("error", ignore)),
    (server) => startListening(server, options, endpoint),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )

const listen = (state: State, options: ListenOptions): Effect.Effect<SocketListener, NetError, Scope.Scope> =>
  Effect.gen(function* () {
    const endpoint = endpointOf(options)
    const bad = invalid(endpoint)
    if (bad !== undefined) return yield* refuse("listen", endpoint, bad)
    const accepting = new Inbox<NodeSocket>(options.backlog ?? 128, (task) => task())
    const server = net.createServer({
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      highWaterMark: writeSize
    })
    server.on("error", ignore)
    server.on("connection", (accepted) => {
      const both = ends(accepted)
      const { socket, stream } = open(state.shared, (onread) => adopt(accepted, onread))
      if (both === undefined || !accepting.put(stream(both.local, both.remote))) socket.resetAndDestroy()
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const socket of accepting.close()) socket.reset("its listener was closed")
        server.close(ignore)
      })
    )
    const family = net.isIP(endpoint.host)
    // An IPv6 listener takes no IPv4: so both can have the same port, and every address has the family it says.
    const asked = { ...endpoint, backlog: accepting.backlog, exclusive: true, ipv6Only: family === 6 }
    let reused = options.reusePort === true
    if (reused && endpoint.port !== 0) yield* probe(asked, endpoint)
    const local = yield* startListening(server, reused ? { ...asked, reusePort: true } : asked, endpoint).pipe(
      // Not every system can share a port.
      Effect.catchIf(
        (error) => reused && error.reason._tag === "SystemRefused",
        () => {
          reused = false
          return startListening(server, asked, endpoint)
        }
      )
    )
    if (reused) {
      const listening = { family, local }
      state.reusable.add(listening)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          state.reusable.delete(listening)
        })
      )
    }
    const closed = Effect.suspend(() => refuse("accept", local, new SocketClosed()))
    const accept = takeScoped(accepting, (socket) => socket.release, closed)
    return { local, accept }
  })

const interfaces: Effect.Effect<ReadonlyArray<InterfaceAddress>> = Effect.sync(() =>
  Object.entries(os.networkInterfaces()).flatMap(([name, list]) =>
    (list ?? []).map((address): InterfaceAddress => ({
      name,
      host: address.address,
      family: address.family === "IPv6" ? 6 : 4,
      internal: address.internal,
      prefixLength: Number(address.cidr?.split("/")[1] ?? (address.family === "IPv6" ? 128 : 32)),
      zone: zoneOf(name, address)
    }))
  )
)

const lookupError = (name: string, error: unknown): NetError =>
  refuse("lookup", undefined, lookupReason(name, codeOf(error)))

const lookup = (name: string, family: 4 | 6 | "any"): Effect.Effect<ReadonlyArray<string>, NetError> =>
  Effect.tryPromise({
    try: () => dns.promises.lookup(name, { all: true, family: family === "any" ? 0 : family, order: "verbatim" }),
    catch: (error) => lookupError(name, error)
  }).pipe(
    Effect.filterOrFail(
      (found) => found.length > 0,
      () => lookupError(name, { code: "ENOTFOUND" })
    ),
    Effect.map((found) => found.map((address) => address.address))
  )

const lookupTxt = (name: string): Effect.Effect<ReadonlyArray<string>, NetError> =>
  Effect.suspend(() => {
    const resolver = new dns.promises.Resolver()
    return Effect.tryPromise({
      try: (signal) => {
        signal.addEventListener("abort", () => resolver.cancel())
        return resolver.resolveTxt(name)
      },
      catch: (error) => lookupError(name, error)
    })
  }).pipe(Effect.map((records) => records.map((pieces) => pieces.join(""))))

/** Makes the service; {@link layer} is the usual way. */
export const make = (options?: Options): Effect.Effect<Net["Service"]> =>
  Effect.map(Scheduler.Scheduler, (scheduler) => {
    const dispatcher = scheduler.makeDispatcher()
    const state: State = {
      shared: { dispatcher, buffer: new Uint8Array(options?.readSize ?? 128 * 1024), linger: options?.linger ?? 1000 },
      reusable: new Set()
    }
    return Net.of({
      connect: (options) => connect(state, options),
      listen: (options) => listen(state, options),
      bind,
      interfaces,
      lookup,
      lookupTxt
    })
  })

export const layerWith = (options: Options): Layer.Layer<Net> => Layer.effect(Net, make(options))

/** Net on Node, with the defaults of {@link Options}. */
export const layer: Layer.Layer<Net> = layerWith({})
