/** Net's datagram sockets on `node:dgram`. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as dgram from "node:dgram"
import * as net from "node:net"
import * as os from "node:os"
import {
  type BindOptions,
  type Datagram,
  type DatagramSocket,
  type Endpoint,
  NetError,
  SocketClosed,
  SystemRefused
} from "../../services/Net.ts"
import { Inbox } from "../internal/Inbox.ts"
import { codeOf, netReason } from "./NodeErrors.ts"

const refuse = (operation: NetError["operation"], endpoint: Endpoint | undefined, error: unknown): NetError =>
  new NetError({ operation, endpoint, reason: netReason(codeOf(error)) })

/** What stands behind the `%` of addresses of an interface. Windows names zones by number. */
export const zoneOf = (name: string, address: os.NetworkInterfaceInfo): string =>
  os.platform() === "win32" && address.family === "IPv6" ? String(address.scopeid) : name

/** IPv6 groups are joined by interface, not by address: `::%name` for the interface that has the address `via`. */
const interfaceFor = (family: number, via: string | undefined): string | undefined => {
  if (via === undefined || family === 4) return via
  const zone = via.indexOf("%")
  if (zone >= 0) return `::${via.slice(zone)}`
  for (const [name, list] of Object.entries(os.networkInterfaces())) {
    for (const address of list ?? []) {
      if (address.address !== via) continue
      return `::%${zoneOf(name, address)}`
    }
  }
  return via
}

const open = (socket: dgram.Socket, options: BindOptions, endpoint: Endpoint): Effect.Effect<Endpoint, NetError> =>
  Effect.callback<Endpoint, NetError>((resume) => {
    const failed = (error: unknown) => resume(Effect.fail(refuse("bind", endpoint, error)))
    socket.once("error", failed)
    socket.once("listening", () => {
      socket.off("error", failed)
      const { address, port } = socket.address()
      resume(Effect.succeed({ host: address, port }))
    })
    try {
      socket.bind({ address: options.host, port: options.port, exclusive: true })
    } catch (error) {
      failed(error)
    }
  })

export const bind = (options: BindOptions): Effect.Effect<DatagramSocket, NetError, Scope.Scope> =>
  Effect.gen(function* () {
    const endpoint = { host: options.host, port: options.port }
    const family = net.isIP(options.host)
    if (family === 0) {
      return yield* new NetError({
        operation: "bind",
        endpoint,
        reason: new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
      })
    }
    const inbox = new Inbox<Datagram>(options.backlog ?? 256, (task) => task())
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() =>
        dgram.createSocket({
          type: family === 6 ? "udp6" : "udp4",
          reuseAddr: options.reuseAddress === true,
          ipv6Only: family === 6
        })
      ),
      (socket) =>
        Effect.callback<void>((resume) => {
          inbox.close()
          // The handle closes soon after; nothing waits on the network.
          socket.close(() => resume(Effect.void))
        })
    )
    // An 'error' that nobody hears would end the process. What matters of it comes with the call that caused it.
    socket.on("error", () => {})
    socket.on("close", () => inbox.close())
    socket.on("message", (bytes, from) => inbox.put({ bytes, from: { host: from.address, port: from.port } }))
    const local = yield* open(socket, options, endpoint)

    const attempt = (operation: NetError["operation"], f: () => void): Effect.Effect<void, NetError> =>
      Effect.try({ try: f, catch: (error) => refuse(operation, local, error) })

    const receive: Effect.Effect<Datagram, NetError> = Effect.suspend(() => {
      const datagram = inbox.take()
      if (datagram !== undefined) return Effect.succeed(datagram)
      if (inbox.closed)
        return Effect.fail(new NetError({ operation: "receive", endpoint: local, reason: new SocketClosed() }))
      return Effect.flatMap(inbox.arrived, () => receive)
    })

    return {
      local,
      receive,
      send: (bytes, to) =>
        Effect.callback<void, NetError>((resume) => {
          const sent = (error: unknown) =>
            resume(error === null || error === undefined ? Effect.void : Effect.fail(refuse("send", to, error)))
          // A name would be looked up.
          if (net.isIP(to.host) === 0) return sent({ code: "ERR_INVALID_IP_ADDRESS" })
          try {
            socket.send(bytes, to.port, to.host, sent)
          } catch (error) {
            sent(error)
          }
        }),
      join: (group, via) => attempt("join", () => socket.addMembership(group, interfaceFor(family, via))),
      leave: (group, via) => attempt("join", () => socket.dropMembership(group, interfaceFor(family, via))),
      setMulticast: ({ loopback, ttl, via }) =>
        attempt("join", () => {
          if (ttl !== undefined) socket.setMulticastTTL(ttl)
          if (loopback !== undefined) socket.setMulticastLoopback(loopback)
          const on = interfaceFor(family, via)
          if (on !== undefined) socket.setMulticastInterface(on)
        })
    }
  })
