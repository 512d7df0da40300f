/**
 * Address translators. A NAT gives each flow that leaves it a public endpoint
 * (its mapping) and decides who may send to that endpoint (its filtering), in
 * the words of RFC 4787.
 */
import type { Endpoint } from "../../../services/Net.ts"
import type { Prng } from "../Prng.ts"
import { familyOf, text } from "./Address.ts"
import type { SimHost } from "./Host.ts"

/**
 * `none`: every inbound packet goes to the first host behind it, on the same port.
 * `endpoint-independent`: one public port for an inner one; whoever sends to it gets in (full cone).
 * `address-dependent`: only addresses that were sent to get in.
 * `address-port-dependent`: only endpoints that were sent to get in.
 * `symmetric`: the last, and another public port, at random, for each destination.
 */
export type NatKind = "none" | "endpoint-independent" | "address-dependent" | "address-port-dependent" | "symmetric"

/** What a host lets in: everything, or only the answers to what it sent. */
export type Firewall = "none" | "outbound-only"

export interface NatOptions {
  readonly name: string
  /** Its public address. */
  readonly address: string
  readonly kind: NatKind
  /** A mapping of datagrams that sent nothing for so long is forgotten. Default 2 minutes. */
  readonly mappingTimeoutMs?: number | undefined
}

export type Transport = "tcp" | "udp"

/** Filter entries of one table; the oldest go first. */
const maxPeers = 4096
const defaultTimeoutMs = 120_000

/** Who was sent to, and when last: who may answer. */
export class Sent {
  private readonly times = new Map<string, number>()

  add(key: string, now: number): void {
    this.times.delete(key)
    this.times.set(key, now)
    if (this.times.size <= maxPeers) return
    for (const oldest of this.times.keys()) {
      this.times.delete(oldest)
      return
    }
  }

  has(key: string, since: number): boolean {
    const at = this.times.get(key)
    return at !== undefined && at >= since
  }
}

export interface Mapping {
  readonly transport: Transport
  readonly host: SimHost
  readonly inner: Endpoint
  readonly outer: Endpoint
  readonly sent: Sent
  lastUsed: number
  /** Open connections, which keep it alive. */
  users: number
}

export class NatBox {
  readonly name: string
  readonly address: string
  readonly kind: NatKind
  readonly mappingTimeoutMs: number
  /** The hosts behind it. */
  readonly hosts: Array<SimHost> = []
  private readonly random: Prng
  private readonly byInner = new Map<string, Mapping>()
  private readonly byPort = new Map<string, Mapping>()
  private nextPort = 40_000

  constructor(options: NatOptions, random: Prng) {
    this.name = options.name
    this.address = options.address
    this.kind = options.kind
    this.mappingTimeoutMs = options.mappingTimeoutMs ?? defaultTimeoutMs
    this.random = random
  }

  /** The host behind it that has this address. */
  find(address: string): SimHost | undefined {
    return this.hosts.find((host) => host.owns(address))
  }

  /** What a packet from `inner` to `to` becomes; undefined for a family that it does not translate. */
  outbound(transport: Transport, host: SimHost, inner: Endpoint, to: Endpoint, now: number): Mapping | undefined {
    if (familyOf(to.host) !== familyOf(this.address)) return undefined
    const destination = this.kind === "symmetric" ? ` ${text(to)}` : ""
    const key = `${transport} ${host.name} ${text(inner)}${destination}`
    let mapping = this.byInner.get(key)
    if (mapping === undefined || this.expired(mapping, now)) {
      if (mapping !== undefined) this.forget(mapping)
      mapping = this.map(transport, host, inner, this.freePort(transport, inner.port, now), now)
      this.byInner.set(key, mapping)
    }
    mapping.lastUsed = now
    mapping.sent.add(this.filterKey(to), now)
    return mapping
  }

  /** Where a packet from `from` to a public port goes; undefined when it is not let in. */
  inbound(transport: Transport, port: number, from: Endpoint, now: number): Mapping | undefined {
    const mapping = this.byPort.get(`${transport} ${port}`)
    if (mapping === undefined || this.expired(mapping, now)) {
      const host = this.hosts[0]
      const address = host?.addresses.find((one) => familyOf(one) === familyOf(this.address))
      if (this.kind !== "none" || host === undefined || address === undefined) return undefined
      return this.map(transport, host, { host: address, port }, port, now)
    }
    if (this.kind === "none" || this.kind === "endpoint-independent") return mapping
    return mapping.sent.has(this.filterKey(from), now - this.mappingTimeoutMs) ? mapping : undefined
  }

  private filterKey(endpoint: Endpoint): string {
    if (this.kind === "address-dependent") return endpoint.host
    return this.kind === "address-port-dependent" || this.kind === "symmetric" ? text(endpoint) : "any"
  }

  private map(transport: Transport, host: SimHost, inner: Endpoint, port: number, now: number): Mapping {
    const outer = { host: this.address, port }
    const mapping: Mapping = { transport, host, inner, outer, sent: new Sent(), lastUsed: now, users: 0 }
    this.byPort.set(`${transport} ${port}`, mapping)
    return mapping
  }

  private expired(mapping: Mapping, now: number): boolean {
    return mapping.users === 0 && now - mapping.lastUsed > this.mappingTimeoutMs
  }

  private forget(mapping: Mapping): void {
    const key = `${mapping.transport} ${mapping.outer.port}`
    if (this.byPort.get(key) === mapping) this.byPort.delete(key)
  }

  private freePort(transport: Transport, wanted: number, now: number): number {
    const free = (port: number): boolean => {
      const mapping = this.byPort.get(`${transport} ${port}`)
      if (mapping === undefined) return true
      if (!this.expired(mapping, now)) return false
      this.byPort.delete(`${transport} ${port}`)
      return true
    }
    if (this.kind !== "symmetric" && free(wanted)) return wanted
    // A box that is out of ports takes one from another flow, as real ones do.
    for (let tries = 0; tries < 64; tries++) {
      const port = this.kind === "symmetric" ? 1024 + this.random.below(64_000) : this.nextPort++
      if (this.nextPort > 65_535) this.nextPort = 40_000
      if (free(port)) return port
    }
    return this.nextPort
  }
}
