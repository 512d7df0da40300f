/** Datagrams of the simulated network: they can be lost, doubled, overtaken, too large, or filtered on the way. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  AddressUnavailable,
  type BindOptions,
  type Datagram,
  type DatagramSocket,
  type Endpoint,
  NetError,
  type NetErrorReason,
  SocketClosed,
  SystemRefused,
  Unreachable
} from "../../../services/Net.ts"
import { Inbox } from "../../internal/Inbox.ts"
import { familyOf, isLoopback, isMulticast, isPort, isWild, text } from "./Address.ts"
import type { Fabric } from "./Fabric.ts"
import type { SimHost } from "./Host.ts"
import type { Path } from "./Link.ts"
import { Sent } from "./Nat.ts"
import type { Datagrams, Stack } from "./Stack.ts"

/** The most bytes of a datagram over UDP. */
const maxSize = 65_507
/** Datagrams that a held path keeps. */
const maxHeld = 10_000
/** Bytes that may wait at the downlink of a host. */
const downlinkQueueBytes = 256 * 1024
/** How long a firewall lets answers in. */
const answerMs = 120_000

const hears = (socket: Datagrams, to: Endpoint): boolean =>
  socket.local.port === to.port &&
  familyOf(socket.local.host) === familyOf(to.host) &&
  (isWild(socket.local.host) || socket.local.host === to.host)

/** One datagram on its way. */
interface Packet {
  readonly bytes: Uint8Array
  /** As the receiver sees it. */
  readonly from: Endpoint
  readonly to: Endpoint
}

const drop = (fabric: Fabric, host: string, packet: Packet, why: string): void => {
  fabric.stats.dropped++
  fabric.note(host, "net.dropped", `udp ${text(packet.from)} ${text(packet.to)} ${packet.bytes.length}: ${why}`)
}

/** Puts a packet on a path; `arrive` runs where it gets to, once for each copy. */
const transmit = (fabric: Fabric, path: Path, packet: Packet, arrive: (packet: Packet) => void): void => {
  const { link } = path
  const sender = path.from.name
  const size = packet.bytes.length
  fabric.stats.datagrams++
  if (fabric.traceSegments) fabric.note(sender, "net.datagram", `${text(packet.from)} ${text(packet.to)} ${size}`)
  if (path.blocked) return drop(fabric, sender, packet, "partitioned")
  if (link.mtu !== undefined && size > link.mtu) return drop(fabric, sender, packet, "larger than the MTU")
  if (!path.fits(size, fabric.now)) return drop(fabric, sender, packet, "the queue is full")
  const delay = path.depart(size, fabric.now) - fabric.now
  if (path.losesDatagram) return drop(fabric, sender, packet, "lost")
  const land = (copy: Packet): void => {
    if (path.blocked) return drop(fabric, sender, copy, "partitioned")
    if (path.held) {
      if (path.waiting.size >= maxHeld) return drop(fabric, sender, copy, "too many are held")
      path.waiting.add({ opened: () => land(copy) })
      return
    }
    if (path.corrupt(copy.bytes)) fabric.stats.corrupted++
    arrive(copy)
  }
  fabric.timeline.after(delay + path.reorderMs(), () => land(packet))
  if (!path.duplicatesDatagram) return
  fabric.stats.duplicated++
  const twin = { ...packet, bytes: new Uint8Array(packet.bytes) }
  fabric.timeline.after(delay + path.reorderMs(), () => land(twin))
}

/** Hands a packet to the sockets of a host that it is for. */
const hand = (fabric: Fabric, host: SimHost, packet: Packet, sockets: ReadonlyArray<Datagrams>): void => {
  if (sockets.length === 0) return drop(fabric, host.name, packet, "nobody is bound there")
  for (const { inbox } of sockets) {
    const bytes = sockets.length === 1 ? packet.bytes : new Uint8Array(packet.bytes)
    if (inbox.put({ bytes, from: packet.from })) fabric.stats.bytes += bytes.length
    else drop(fabric, host.name, packet, "the backlog is full")
  }
}

/** A packet is at a host. */
const land = (fabric: Fabric, host: SimHost, packet: Packet, own: boolean): void => {
  if (!host.up) return drop(fabric, host.name, packet, "the host is down")
  const deliver = (): void => {
    const { datagrams } = host.stack
    if (isMulticast(packet.to.host)) {
      const joined = datagrams.filter(
        ({ groups, local }) => local.port === packet.to.port && groups.has(packet.to.host)
      )
      return hand(fabric, host, packet, joined)
    }
    if (!host.owns(packet.to.host)) return drop(fabric, host.name, packet, "the address is gone")
    // The one bound to the very address comes before one bound to all.
    const found = datagrams.filter((socket) => hears(socket, packet.to))
    const best = found.find(({ local }) => local.host === packet.to.host) ?? found[0]
    if (best !== undefined && host.firewall === "outbound-only" && !own) {
      if (!best.sent.has(text(packet.from), fabric.now - answerMs))
        return drop(fabric, host.name, packet, "filtered by the firewall")
    }
    hand(fabric, host, packet, best === undefined ? [] : [best])
  }
  const { downlink } = host
  if (downlink === undefined || own) return deliver()
  if (downlink.queued(fabric.now) + packet.bytes.length > downlinkQueueBytes)
    return drop(fabric, host.name, packet, "the downlink is full")
  const at = downlink.pass(packet.bytes.length, fabric.now, fabric.now)
  fabric.timeline.after(at - fabric.now, deliver)
}

const sendMulticast = (stack: Stack, packet: Packet, loopback: boolean): void => {
  const { fabric, host } = stack
  // Those who share its wire: the hosts behind the same NAT, or those behind none.
  for (const target of fabric.hosts) {
    if (target.behind !== host.behind || (target === host && !loopback)) continue
    // What is sent by the loopback interface stays on it.
    if (target !== host && isLoopback(packet.from.host)) continue
    if (
      !target.stack.datagrams.some(({ groups, local }) => local.port === packet.to.port && groups.has(packet.to.host))
    )
      continue
    const copy = { ...packet, bytes: new Uint8Array(packet.bytes) }
    transmit(fabric, fabric.path(host, target), copy, (arrived) => land(fabric, target, arrived, true))
  }
}

const sendOne = (stack: Stack, packet: Packet): NetErrorReason | undefined => {
  const { fabric, host } = stack
  const { from, to } = packet
  const route = fabric.route(host, to.host)
  // As on the Internet: it is sent, and nobody gets it.
  if (route === undefined) {
    drop(fabric, host.name, packet, "no route")
    return undefined
  }
  const box = stack.translator(route)
  const mapping = box?.outbound("udp", host, from, to, fabric.now)
  if (box !== undefined && mapping === undefined) return new Unreachable({ code: "ENETUNREACH" })
  const seen = { ...packet, from: mapping?.outer ?? from }
  if (route.host !== undefined) {
    const target = route.host
    transmit(fabric, fabric.path(host, target), seen, (arrived) => land(fabric, target, arrived, target === host))
    return undefined
  }
  const { nat } = route
  // For the time on the way to a NAT, any host behind it will do.
  const first = nat.hosts[0]
  if (first === undefined) {
    drop(fabric, host.name, packet, "no route")
    return undefined
  }
  transmit(fabric, fabric.path(host, first), seen, (arrived) => {
    const inner = nat.inbound("udp", arrived.to.port, arrived.from, fabric.now)
    if (inner === undefined) return drop(fabric, nat.name, arrived, "filtered")
    if (fabric.path(host, inner.host).blocked) return drop(fabric, nat.name, arrived, "partitioned")
    land(fabric, inner.host, { ...arrived, to: inner.inner }, inner.host === host)
  })
  return undefined
}

/** The `bind` of a host. */
export const bind = (stack: Stack, options: BindOptions): Effect.Effect<DatagramSocket, NetError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { fabric, host } = stack
      const asked: Endpoint = { host: options.host, port: options.port }
      const reuseAddress = options.reuseAddress === true
      // Sockets that all share their port do not stand in each other's way.
      const rivals = stack.datagrams.filter((other) => !(reuseAddress && other.reuseAddress))
      const reason = stack.unusable(asked, rivals)
      if (reason !== undefined) return yield* new NetError({ operation: "bind", endpoint: asked, reason })
      const local = asked.port === 0 ? { host: asked.host, port: stack.freePort() } : asked
      const groups = new Set<string>()
      let loopback = true
      /** The interface that multicast leaves by. */
      let via: string | undefined
      const inbox = new Inbox<Datagram>(options.backlog ?? 256, (task) => host.schedule(task))
      const socket: Datagrams = { local, reuseAddress, groups, inbox, sent: new Sent() }
      yield* Effect.acquireRelease(
        Effect.sync(() => stack.datagrams.push(socket)),
        () =>
          Effect.sync(() => {
            const at = stack.datagrams.indexOf(socket)
            if (at >= 0) stack.datagrams.splice(at, 1)
            inbox.close()
          })
      )

      const closed = (operation: NetError["operation"]) =>
        new NetError({ operation, endpoint: local, reason: new SocketClosed() })

      const send = (bytes: Uint8Array, to: Endpoint): Effect.Effect<void, NetError> =>
        Effect.suspend(() => {
          const refused = (reason: NetErrorReason) =>
            Effect.fail(new NetError({ operation: "send", endpoint: to, reason }))
          if (inbox.closed) return refused(new SocketClosed())
          if (bytes.length > maxSize) return refused(new SystemRefused({ code: "EMSGSIZE" }))
          if (!isPort(to.port) || to.port === 0) return refused(new SystemRefused({ code: "ERR_SOCKET_BAD_PORT" }))
          const multicast = isMulticast(to.host)
          const any =
            via !== undefined && host.owns(via)
              ? via
              : host.addresses.find((address) => familyOf(address) === familyOf(to.host))
          const source = !isWild(local.host) ? local.host : multicast ? any : host.sourceFor(to.host)
          if (source === undefined || familyOf(local.host) !== familyOf(to.host))
            return refused(new Unreachable({ code: "ENETUNREACH" }))
          const packet: Packet = { bytes: new Uint8Array(bytes), from: { host: source, port: local.port }, to }
          if (!isLoopback(source) && !host.owns(to.host)) fabric.overheard?.(host, packet.bytes)
          if (multicast) {
            sendMulticast(stack, packet, loopback)
            return Effect.void
          }
          socket.sent.add(text(to), fabric.now)
          const failed = sendOne(stack, packet)
          return failed === undefined ? Effect.void : refused(failed)
        })

      const receive: Effect.Effect<Datagram, NetError> = Effect.suspend(() => {
        const datagram = inbox.take()
        if (datagram !== undefined) return Effect.succeed(datagram)
        return inbox.closed ? Effect.fail(closed("receive")) : Effect.flatMap(inbox.arrived, () => receive)
      })

      const change = (group: string, via: string | undefined, f: () => void): Effect.Effect<void, NetError> =>
        Effect.suspend(() => {
          const refused = (reason: NetErrorReason) =>
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
        setMulticast: (changes) =>
          Effect.sync(() => {
            loopback = changes.loopback ?? loopback
            via = changes.via ?? via
          })
      }
    })
  )
