/**
 * The Net service in memory: hosts with addresses on one network, stream sockets
 * made of {@link file://../internal/Pipe.ts}, datagrams, multicast groups and a table of
 * names. No latency and no faults: what is sent arrives. Everything that one
 * host does to another goes through the scheduler, so runs can be repeated.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import {
  ConnectionRefused,
  type ConnectOptions,
  type Endpoint,
  type InterfaceAddress,
  type ListenOptions,
  NameNotFound,
  Net,
  NetError,
  type NetErrorReason,
  type Socket,
  SocketClosed,
  type SocketListener,
  SystemRefused,
  Unreachable
} from "../../services/Net.ts"
import { Inbox, takeScoped } from "../internal/Inbox.ts"
import { makeDatagrams } from "./MemoryDatagram.ts"
import {
  Fabric,
  familyOf,
  Host,
  isAddress,
  type Listener,
  type MemorySocket,
  type NameRecord,
  type NetworkOptions
} from "./MemoryFabric.ts"
import * as Pipe from "../internal/Pipe.ts"

export type { NameRecord, NetworkOptions }

/** A network that hosts can be put on. */
export interface Network {
  /** The Net of a host that has these addresses and loopback. An address that another host has moves to this one. */
  readonly host: (addresses: ReadonlyArray<string>) => Layer.Layer<Net>
}

const refuse = (operation: NetError["operation"], endpoint: Endpoint | undefined, reason: NetErrorReason): NetError =>
  new NetError({ operation, endpoint, reason })

const text = (at: Endpoint): string => `${at.host} ${at.port}`

/** Both ends of a new connection, or why there is none. */
const join = (fabric: Fabric, host: Host, options: ConnectOptions): MemorySocket | NetErrorReason => {
  const remote: Endpoint = { host: options.host, port: options.port }
  if (!isAddress(remote.host)) return new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
  const target = fabric.find(host, remote.host)
  const from = host.sourceFor(remote.host)
  if (target === undefined || from === undefined) return new Unreachable({ code: "EHOSTUNREACH" })
  const listener = target.listenerAt(remote)
  if (listener === undefined) return new ConnectionRefused()
  const local = { host: from, port: localPort(host, from, remote, options.localPort) }
  const [near, far] = Pipe.makeUnsafe(fabric.dispatcher, { capacity: fabric.capacity })
  const accepted: MemorySocket = Object.assign(far, { local: remote, remote: local })
  host.connections.add(`${text(local)} ${text(remote)}`)
  if (!listener.accepting.put(accepted)) far.reset("too many connections wait to be accepted")
  return Object.assign(near, { local, remote })
}

const localPort = (host: Host, from: string, remote: Endpoint, wanted: number | undefined): number => {
  const free = (port: number): boolean => !host.connections.has(`${text({ host: from, port })} ${text(remote)}`)
  if (wanted !== undefined && wanted !== remote.port && free(wanted)) {
    if (host.listenerAt({ host: from, port: wanted })?.reusePort === true) return wanted
  }
  for (;;) {
    const port = host.freePort()
    if (free(port)) return port
  }
}

const connect = (fabric: Fabric, host: Host, options: ConnectOptions): Effect.Effect<Socket, NetError, Scope.Scope> =>
  // As with a real network, nothing is known before the turn is over.
  Effect.andThen(
    Effect.yieldNow,
    Effect.uninterruptible(
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        const socket = join(fabric, host, options)
        if ("_tag" in socket) return yield* refuse("connect", { host: options.host, port: options.port }, socket)
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            host.connections.delete(`${text(socket.local)} ${text(socket.remote)}`)
            socket.release()
          })
        )
        return socket
      })
    )
  )

const listen = (
  fabric: Fabric,
  host: Host,
  options: ListenOptions
): Effect.Effect<SocketListener, NetError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const asked: Endpoint = { host: options.host, port: options.port }
      const reason = host.unusable(asked, host.listeners)
      if (reason !== undefined) return yield* refuse("listen", asked, reason)
      const local = asked.port === 0 ? { host: asked.host, port: host.freePort() } : asked
      const accepting = new Inbox<MemorySocket>(options.backlog ?? 128, fabric.schedule)
      const listener: Listener = { local, reusePort: options.reusePort === true, accepting }
      yield* Effect.acquireRelease(
        Effect.sync(() => host.listeners.push(listener)),
        () =>
          Effect.sync(() => {
            host.listeners.splice(host.listeners.indexOf(listener), 1)
            for (const socket of accepting.close()) socket.reset("its listener was closed")
          })
      )
      const closed = Effect.suspend(() => refuse("accept", local, new SocketClosed()))
      const accept = takeScoped(accepting, (socket) => Effect.sync(socket.release), closed)
      return { local, accept }
    })
  )

const interfacesOf = (host: Host): ReadonlyArray<InterfaceAddress> => {
  const loopback = (address: string, prefixLength: number): InterfaceAddress => ({
    name: "lo",
    host: address,
    family: familyOf(address),
    internal: true,
    prefixLength
  })
  const own = host.addresses.map((address): InterfaceAddress => ({
    name: "eth0",
    host: address,
    family: familyOf(address),
    internal: false,
    prefixLength: familyOf(address) === 6 ? 64 : 24
  }))
  return [loopback("127.0.0.1", 8), loopback("::1", 128), ...own]
}

const record = (
  fabric: Fabric,
  name: string,
  pick: (found: NameRecord) => ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, NetError> =>
  Effect.suspend(() => {
    const found = pick(fabric.names.get(name) ?? {})
    return found.length > 0
      ? Effect.succeed(found)
      : Effect.fail(refuse("lookup", undefined, new NameNotFound({ name })))
  })

const makeNet = (fabric: Fabric, host: Host): Net["Service"] =>
  Net.of({
    connect: (options) => connect(fabric, host, options),
    listen: (options) => listen(fabric, host, options),
    bind: (options) => makeDatagrams(fabric, host, options),
    interfaces: Effect.sync(() => interfacesOf(host)),
    lookup: (name, family) =>
      record(fabric, name, ({ addresses = [] }) =>
        addresses.filter((address) => family === "any" || familyOf(address) === family)
      ),
    lookupTxt: (name) => record(fabric, name, ({ txt = [] }) => txt)
  })

const hostLayer = (fabric: Fabric, addresses: ReadonlyArray<string>): Layer.Layer<Net> =>
  Layer.effect(
    Net,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const host = new Host(addresses)
          for (const address of addresses) fabric.hosts.set(address, host)
          return host
        }),
        (host) =>
          Effect.sync(() => {
            for (const address of addresses) if (fabric.hosts.get(address) === host) fabric.hosts.delete(address)
          })
      ),
      (host) => makeNet(fabric, host)
    )
  )

/**
 * A network of its own.
 *
 * ```
 * const network = yield* MemoryNet.makeNetwork()
 * const left = node.pipe(Layer.provide(network.host(["10.0.0.1"])))
 * const right = node.pipe(Layer.provide(network.host(["10.0.0.2"])))
 * ```
 */
export const makeNetwork = (options?: NetworkOptions): Effect.Effect<Network> =>
  Effect.map(Scheduler.Scheduler, (scheduler) => {
    const fabric = new Fabric(scheduler.makeDispatcher(), options)
    return { host: (addresses) => hostLayer(fabric, addresses) }
  })

/** A network with one host, 10.0.0.1: all that build on this layer meet on it. */
export const layer = (options?: NetworkOptions): Layer.Layer<Net> =>
  Layer.unwrap(Effect.map(makeNetwork(options), (network) => network.host(["10.0.0.1", "fd00::1"])))
