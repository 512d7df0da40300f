/** Datagram sockets of the memory network. A datagram arrives in a later turn than it was sent; it is never lost but to a full queue. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  AddressUnavailable,
  type BindOptions,
  type Datagram,
  type DatagramSocket,
  type Endpoint,
  NetError,
  SocketClosed,
  SystemRefused,
  Unreachable
} from "../../services/Net.ts"
import { Inbox } from "../internal/Inbox.ts"
import { type Datagrams, type Fabric, familyOf, type Host, isLoopback } from "./MemoryFabric.ts"

/** The most bytes of a datagram over UDP. */
const maxSize = 65_507

const isMulticast = (host: string): boolean => {
  if (host.includes(":")) return host.toLowerCase().startsWith("ff")
  const first = Number(host.split(".")[0])
  return first >= 224 && first <= 239
}

const isWild = (host: string): boolean => host === "0.0.0.0" || host === "::"

const hears = (socket: Datagrams, to: Endpoint): boolean =>
  socket.local.port === to.port &&
  familyOf(socket.local.host) === familyOf(to.host) &&
  (isWild(socket.local.host) || socket.local.host === to.host)

export const makeDatagrams = (
  fabric: Fabric,
  host: Host,
  options: BindOptions
): Effect.Effect<DatagramSocket, NetError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const asked: Endpoint = { host: options.host, port: options.port }
      const reuseAddress = options.reuseAddress === true
      // Sockets that all share their port do not stand in each other's way.
      const rivals = host.datagrams.filter((other) => !(reuseAddress && other.reuseAddress))
      const reason = host.unusable(asked, rivals)
      if (reason !== undefined) return yield* new NetError({ operation: "bind", endpoint: asked, reason })
      const local = asked.port === 0 ? { host: asked.host, port: host.freePort() } : asked
      const groups = new Set<string>()
      let loopback = true
      /** The interface that multicast leaves by. */
      let via: string | undefined
      const inbox = new Inbox<Datagram>(options.backlog ?? 256, fabric.schedule)
      const socket: Datagrams = { local, reuseAddress, groups, inbox }
      yield* Effect.acquireRelease(
        Effect.sync(() => host.datagrams.push(socket)),
        () =>
          Effect.sync(() => {
            host.datagrams.splice(host.datagrams.indexOf(socket), 1)
            inbox.close()
          })
      )

      const closed = (operation: NetError["operation"]) =>
        new NetError({ operation, endpoint: local, reason: new SocketClosed() })

      const deliver = (bytes: Uint8Array, from: Endpoint, to: Endpoint): void => {
        if (isMulticast(to.host)) {
          // What is sent by the loopback interface stays on it.
          const hosts = isLoopback(from.host) ? [host] : new Set([host, ...fabric.hosts.values()])
          for (const target of hosts) {
            if (target === host && !loopback) continue
            for (const other of target.datagrams) {
              if (other.local.port === to.port && other.groups.has(to.host))
                other.inbox.put({ bytes: new Uint8Array(bytes), from })
            }
          }
          return
        }
        const target = fabric.find(host, to.host)
        // The one bound to the very address comes before one bound to all.
        const found = target?.datagrams.filter((other) => hears(other, to)) ?? []
        const best = found.find((other) => other.local.host === to.host) ?? found[0]
        best?.inbox.put({ bytes, from })
      }

      const send = (bytes: Uint8Array, to: Endpoint): Effect.Effect<void, NetError> =>
        Effect.suspend(() => {
          const refused = (reason: NetError["reason"]) =>
            Effect.fail(new NetError({ operation: "send", endpoint: to, reason }))
          if (inbox.closed) return refused(new SocketClosed())
          if (bytes.length > maxSize) return refused(new SystemRefused({ code: "EMSGSIZE" }))
          const source = isWild(local.host)
            ? isMulticast(to.host)
              ? via !== undefined && host.owns(via)
                ? via
                : host.addresses.find((address) => familyOf(address) === familyOf(to.host))
              : host.sourceFor(to.host)
            : local.host
          if (source === undefined || familyOf(local.host) !== familyOf(to.host))
            return refused(new Unreachable({ code: "ENETUNREACH" }))
          const copy = new Uint8Array(bytes)
          fabric.schedule(() => deliver(copy, { host: source, port: local.port }, to))
          return Effect.void
        })

      const receive: Effect.Effect<Datagram, NetError> = Effect.suspend(() => {
        const datagram = inbox.take()
        if (datagram !== undefined) return Effect.succeed(datagram)
        return inbox.closed ? Effect.fail(closed("receive")) : Effect.flatMap(inbox.arrived, () => receive)
      })

      const change = (group: string, via: string | undefined, f: () => void): Effect.Effect<void, NetError> =>
        Effect.suspend(() => {
          const refused = (reason: NetError["reason"]) =>
            Effect.fail(new NetError({ operation: "join", endpoint: local, reason }))
          if (inbox.closed) return Effect.fail(closed("join"))
          if (!isMulticast(group)) return refused(new SystemRefused({ code: "EINVAL" }))
          if (via !== undefined && !isWild(via) && !host.owns(via))
            return refused(new AddressUnavailable({ code: "EADDRNOTAVAIL" }))
          f()
          return Effect.void
        })

      return {
        local,
        send,
        receive,
        join: (group, via) => change(group, via, () => groups.add(group)),
        leave: (group, via) => change(group, via, () => groups.delete(group)),
        setMulticast: (options) =>
          Effect.sync(() => {
            loopback = options.loopback ?? loopback
            via = options.via ?? via
          })
      }
    })
  )
