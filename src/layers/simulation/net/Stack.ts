/**
 * The network stack of one boot of a host: its ports, its listeners, its
 * connections, and the handshake that makes them. A crash ends it; the next
 * boot has another.
 */
import { type Datagram, type Endpoint, type NetErrorReason } from "../../../services/Net.ts"
import {
  AddressInUse,
  AddressUnavailable,
  ConnectionRefused,
  ConnectTimeout,
  SystemRefused,
  Unreachable
} from "../../../services/Net.ts"
import type { Inbox } from "../../internal/Inbox.ts"
import type { Timer } from "../Timeline.ts"
import { familyOf, isAddress, isPort, isSame, text, wildcard } from "./Address.ts"
import type { Fabric, Route } from "./Fabric.ts"
import type { SimHost } from "./Host.ts"
import type { Path } from "./Link.ts"
import type { Mapping, Sent } from "./Nat.ts"
import { SimSocket, type SocketOwner } from "./SimStream.ts"

/** The handshake is tried again after 1, 2, 4, ... seconds, and given up after so long. */
const connectTimeoutMs = 60_000

export interface Listener {
  readonly local: Endpoint
  readonly reusePort: boolean
  readonly accepting: Inbox<SimSocket>
}

/** A bound datagram socket as its host sees it. */
export interface Datagrams {
  readonly local: Endpoint
  readonly reuseAddress: boolean
  readonly groups: ReadonlySet<string>
  readonly inbox: Inbox<Datagram>
  /** Whom it has sent to; a firewall lets their answers in. */
  readonly sent: Sent
}

/** A connection that is being dialled. */
export class Attempt {
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Where the remote sees it come from. */
  readonly seen: Endpoint
  readonly stack: Stack
  /** Set once it is over. */
  outcome: SimSocket | NetErrorReason | undefined
  private readonly mapping: Mapping | undefined
  private readonly route: Route
  private readonly settled: () => void
  private readonly startedAt: number
  private tries = 0
  private timer: Timer | undefined

  constructor(
    stack: Stack,
    local: Endpoint,
    remote: Endpoint,
    route: Route,
    mapping: Mapping | undefined,
    settled: () => void
  ) {
    this.stack = stack
    this.local = local
    this.remote = remote
    this.route = route
    this.mapping = mapping
    this.settled = settled
    this.seen = mapping?.outer ?? local
    this.startedAt = stack.fabric.now
    if (mapping !== undefined) mapping.users++
    stack.attempts.set(this.key, this)
    stack.used.add(this.key)
  }

  private get key(): string {
    return `${text(this.local)} ${text(this.remote)}`
  }

  private get fabric(): Fabric {
    return this.stack.fabric
  }

  /** Sends the first packet, and again for as long as nothing comes back. */
  dial(): void {
    const { fabric } = this
    const { host } = this.stack
    const deadline = this.startedAt + connectTimeoutMs
    const again = fabric.now + 1000 * 2 ** this.tries
    this.tries++
    this.timer =
      again <= deadline
        ? fabric.timeline.after(again - fabric.now, () => this.dial())
        : fabric.timeline.after(deadline - fabric.now, () => this.settle(new ConnectTimeout()))
    // For the time on the way to a NAT, any host behind it will do.
    const towards = this.route.host ?? this.route.nat.hosts[0]
    if (towards === undefined) return
    const path = fabric.path(host, towards)
    if (path.stopped || path.losses(1) > 0) return
    fabric.timeline.after(path.depart(0, fabric.now) - fabric.now, () => this.arrive(path))
  }

  /** Over without a connection, for good. */
  settle(reason: NetErrorReason): void {
    if (this.outcome !== undefined) return
    this.outcome = reason
    if (reason._tag === "ConnectionRefused") this.fabric.stats.refused++
    if (reason._tag === "ConnectTimeout") this.fabric.stats.timedOut++
    const kind = reason._tag === "ConnectionRefused" ? "net.refused" : "net.failed"
    this.fabric.note(this.stack.host.name, kind, `${text(this.remote)} ${reason._tag}`)
    this.end()
    this.giveBack()
    this.settled()
  }

  /** Nobody waits for it any more. */
  abort(): void {
    const { outcome } = this
    if (outcome instanceof SimSocket) outcome.reset("connecting was interrupted")
    if (outcome !== undefined) return
    this.outcome = new SystemRefused({ code: "ECANCELED" })
    this.end()
    this.giveBack()
  }

  private end(): void {
    this.timer?.cancel()
    this.timer = undefined
    if (this.stack.attempts.get(this.key) === this) this.stack.attempts.delete(this.key)
  }

  private giveBack(): void {
    Attempt.giveBack(this.stack, this.key, this.mapping)
  }

  private static giveBack(stack: Stack, key: string, mapping: Mapping | undefined): void {
    stack.used.delete(key)
    if (mapping !== undefined) mapping.users--
  }

  private dropped(host: SimHost | undefined, why: string): void {
    this.fabric.stats.dropped++
    this.fabric.note(host?.name ?? "", "net.dropped", `tcp ${text(this.seen)} ${text(this.remote)}: ${why}`)
  }

  /** The first packet is there. */
  private arrive(path: Path): void {
    const { fabric } = this
    if (this.outcome !== undefined || path.stopped) return
    const { nat } = this.route
    const inner = nat?.inbound("tcp", this.remote.port, this.seen, fabric.now)
    if (nat !== undefined && inner === undefined) return this.dropped(undefined, `filtered by ${nat.name}`)
    const target = inner?.host ?? this.route.host
    const at = inner?.inner ?? this.remote
    // The host may be gone, or have moved to another address.
    if (target === undefined || !target.up || !target.owns(at.host)) return
    const there = fabric.path(this.stack.host, target)
    const back = fabric.path(target, this.stack.host)
    if (there.stopped) return
    const { stack } = target
    const partner = stack.attempts.get(`${text(at)} ${text(this.seen)}`)
    if (partner !== undefined && partner !== this) {
      // Each answers the other, and again when a first packet comes again: the answer that comes first makes them meet.
      this.answer(back, () => this.meet(partner, there, back))
      return
    }
    const isOwn = target === this.stack.host
    if (target.firewall === "outbound-only" && !isOwn) return this.dropped(target, "filtered by the firewall")
    const listener = stack.listenerAt(at)
    if (listener === undefined) return this.answer(back, () => this.settle(new ConnectionRefused()))
    stack.expect(`${text(at)} ${text(this.seen)}`)
    this.answer(back, () => this.connect(stack, at, listener, there, back))
  }

  private answer(back: Path, then: () => void): void {
    if (back.stopped || back.losses(1) > 0) return
    this.fabric.timeline.after(back.sampleMs(), () => {
      if (!back.stopped && this.outcome === undefined && this.stack.alive) then()
    })
  }

  /** The answer is back: from here the connection is open. */
  private connect(stack: Stack, at: Endpoint, listener: Listener, there: Path, back: Path): void {
    const near = new SimSocket(this.fabric, this.stack, this.local, this.remote, there, back)
    const far = new SimSocket(this.fabric, stack, at, this.seen, back, there)
    const key = `${text(at)} ${text(this.seen)}`
    far.onOpen = () => {
      // The dialler has forgotten a connection of the same two ends, as after a crash, and says so.
      for (const stale of stack.sockets) {
        if (!stale.failed && isSame(stale.remote, this.seen) && isSame(stale.local, at)) stale.cut()
      }
      stack.expected.delete(key)
      if (!listener.accepting.put(far)) return false
      stack.sockets.add(far)
      // No other connection can have the same two ends: this host dials from another port.
      stack.used.add(key)
      far.onFinished = () => stack.used.delete(key)
      this.fabric.note(stack.host.name, "net.accepted", `${text(at)} ${text(this.seen)}`)
      return true
    }
    far.join(near, false)
    this.established(near)
    near.join(far, true)
  }

  /** Both sides dialled: each gets an end. */
  private meet(partner: Attempt, there: Path, back: Path): void {
    if (partner.outcome !== undefined) return
    const near = new SimSocket(this.fabric, this.stack, this.local, this.remote, there, back)
    const far = new SimSocket(this.fabric, partner.stack, partner.local, partner.remote, back, there)
    far.onOpen = () => {
      if (partner.outcome !== undefined) return false
      partner.established(far)
      return true
    }
    far.join(near, false)
    this.established(near)
    near.join(far, true)
  }

  private established(socket: SimSocket): void {
    this.outcome = socket
    this.end()
    // Not by way of the attempt, which a long connection would keep alive.
    const { key, mapping, stack } = this
    socket.onFinished = () => Attempt.giveBack(stack, key, mapping)
    this.stack.sockets.add(socket)
    this.fabric.stats.connections++
    this.fabric.note(this.stack.host.name, "net.connect", `${text(this.local)} ${text(this.remote)}`)
    this.settled()
  }
}

export class Stack implements SocketOwner {
  readonly fabric: Fabric
  readonly host: SimHost
  alive = true
  readonly listeners: Array<Listener> = []
  readonly datagrams: Array<Datagrams> = []
  readonly sockets = new Set<SimSocket>()
  readonly attempts = new Map<string, Attempt>()
  /** Connections by both ends, so that a port is not used twice towards one remote. */
  readonly used = new Set<string>()
  /** Connections that were asked for and answered, and until when: their two ends are taken from then on (SYN-RECEIVED). */
  readonly expected = new Map<string, number>()
  private nextPort = 49_152

  constructor(fabric: Fabric, host: SimHost) {
    this.fabric = fabric
    this.host = host
  }

  /** A connection of these two ends was answered. */
  expect(key: string): void {
    const { now } = this.fabric
    for (const [other, until] of this.expected) {
      if (until > now) break
      this.expected.delete(other)
    }
    this.expected.delete(key)
    this.expected.set(key, now + connectTimeoutMs)
  }

  readonly finished = (socket: SimSocket): void => {
    this.sockets.delete(socket)
  }

  /** The host is gone: nothing more leaves, nothing more is taken. */
  crash(): void {
    this.alive = false
    const sockets = [...this.sockets]
    this.sockets.clear()
    for (const socket of sockets) socket.vanish("the host crashed")
    for (const attempt of this.attempts.values()) attempt.settle(new SystemRefused({ code: "ENETDOWN" }))
    for (const listener of this.listeners.splice(0)) listener.accepting.close()
    for (const { inbox } of this.datagrams.splice(0)) inbox.close()
  }

  /** Ends what is open on addresses that the host no longer has. */
  addressesChanged(): void {
    for (const socket of this.sockets) {
      if (!this.host.owns(socket.local.host)) socket.vanish("its address went away")
    }
    for (const attempt of this.attempts.values()) {
      if (!this.host.owns(attempt.local.host)) attempt.settle(new AddressUnavailable({ code: "EADDRNOTAVAIL" }))
    }
  }

  listenerAt(at: Endpoint): Listener | undefined {
    const wild = wildcard(familyOf(at.host))
    return (
      this.listeners.find(({ local }) => local.port === at.port && local.host === at.host) ??
      this.listeners.find(({ local }) => local.port === at.port && local.host === wild)
    )
  }

  /** A port that nothing uses. */
  freePort(): number {
    for (;;) {
      const port = this.nextPort
      this.nextPort = port === 65_535 ? 49_152 : port + 1
      const taken = ({ local }: { readonly local: Endpoint }): boolean => local.port === port
      if (!this.listeners.some(taken) && !this.datagrams.some(taken)) return port
    }
  }

  /** Why it cannot listen or bind there. */
  unusable(at: Endpoint, open: ReadonlyArray<{ readonly local: Endpoint }>): NetErrorReason | undefined {
    if (!this.alive) return new SystemRefused({ code: "ENETDOWN" })
    if (!isAddress(at.host)) return new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
    if (!isPort(at.port)) return new SystemRefused({ code: "ERR_SOCKET_BAD_PORT" })
    const wild = wildcard(familyOf(at.host))
    if (at.host !== wild && !this.host.owns(at.host)) return new AddressUnavailable({ code: "EADDRNOTAVAIL" })
    const clash = open.some(
      ({ local }) =>
        local.port === at.port &&
        familyOf(local.host) === familyOf(at.host) &&
        (local.host === at.host || local.host === wild || at.host === wild)
    )
    return clash ? new AddressInUse() : undefined
  }

  /** Starts to dial. `settled` is called, later, once the outcome is there; or the reason why it cannot be tried. */
  dial(remote: Endpoint, wantedPort: number | undefined, settled: () => void): Attempt | NetErrorReason {
    if (!this.alive) return new SystemRefused({ code: "ENETDOWN" })
    if (!isAddress(remote.host)) return new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
    if (!isPort(remote.port)) return new SystemRefused({ code: "ERR_SOCKET_BAD_PORT" })
    const route = this.fabric.route(this.host, remote.host)
    const from = this.host.sourceFor(remote.host)
    if (from === undefined) return new Unreachable({ code: "ENETUNREACH" })
    if (route === undefined) return new Unreachable({ code: "EHOSTUNREACH" })
    const local = { host: from, port: this.localPort(from, remote, wantedPort) }
    const box = this.translator(route)
    const mapping = box?.outbound("tcp", this.host, local, remote, this.fabric.now)
    if (box !== undefined && mapping === undefined) return new Unreachable({ code: "ENETUNREACH" })
    const attempt = new Attempt(this, local, remote, route, mapping, settled)
    attempt.dial()
    return attempt
  }

  /** The NAT that a packet on this route leaves through. */
  translator(route: Route) {
    const { behind } = this.host
    return behind !== undefined &&
      (route.nat !== undefined || (route.host !== this.host && route.host.behind !== behind))
      ? behind
      : undefined
  }

  private localPort(from: string, remote: Endpoint, wanted: number | undefined): number {
    const free = (port: number): boolean => {
      const key = `${text({ host: from, port })} ${text(remote)}`
      return !this.used.has(key) && (this.expected.get(key) ?? 0) <= this.fabric.now
    }
    const isItself = wanted === remote.port && this.host.owns(remote.host)
    if (wanted !== undefined && !isItself && free(wanted)) {
      if (this.listenerAt({ host: from, port: wanted })?.reusePort === true) return wanted
    }
    for (;;) {
      const port = this.freePort()
      if (free(port)) return port
    }
  }
}
