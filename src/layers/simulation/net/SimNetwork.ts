/**
 * A simulated network: hosts with addresses, links with latency, bandwidth and
 * loss, NATs, and faults. Each host's `net` is a layer for Net; streams and
 * datagrams run on virtual time, and whatever a node does on account of them
 * runs in that node's turn. Two runs with one seed are the same.
 *
 * ```
 * const network = new SimNetwork({ timeline, random, note, link: Presets.wan })
 * const left = network.addHost({ name: "left", addresses: ["10.0.0.1"], schedule })
 * const right = network.addHost({ name: "right", addresses: ["10.0.0.2"], schedule })
 * network.partition([left], [right])
 * ```
 */
import { Fabric, type NameRecord, type SimNetworkOptions, type Stats } from "./Fabric.ts"
import { type HostOptions, SimHost } from "./Host.ts"
import { type LinkOptions, Rate } from "./Link.ts"
import { NatBox, type NatOptions } from "./Nat.ts"

export type { NameRecord, SimNetworkOptions, Stats } from "./Fabric.ts"
export type { HostOptions, SimHost } from "./Host.ts"
export type { LinkOptions } from "./Link.ts"
export type { Firewall, NatBox, NatKind, NatOptions } from "./Nat.ts"

interface Partition {
  readonly left: ReadonlySet<SimHost>
  readonly right: ReadonlySet<SimHost>
  readonly oneWay: boolean
}

export class SimNetwork {
  readonly stats: Stats
  private readonly fabric: Fabric
  private readonly links = new Map<SimHost, Map<SimHost, LinkOptions>>()
  private matrix: (from: SimHost, to: SimHost) => LinkOptions
  private readonly partitions = new Map<string, Partition>()
  private readonly slowHosts = new Set<SimHost>()

  constructor(options: SimNetworkOptions) {
    this.fabric = new Fabric(options)
    this.stats = this.fabric.stats
    const link = options.link ?? {}
    this.matrix = () => link
    this.fabric.linkOf = (from, to) => this.links.get(from)?.get(to) ?? this.matrix(from, to)
    this.fabric.blocks = (from, to) => {
      for (const { left, oneWay, right } of this.partitions.values()) {
        if (left.has(from) && right.has(to)) return true
        if (!oneWay && left.has(to) && right.has(from)) return true
      }
      return false
    }
  }

  /** All hosts, in the order in which they were added. */
  get hosts(): ReadonlyArray<SimHost> {
    return [...this.fabric.hosts]
  }

  /** Puts a host on the network, up. An address that another host has moves to this one. */
  addHost(options: HostOptions): SimHost {
    const host = new SimHost(this.fabric, options)
    this.fabric.hosts.add(host)
    return host
  }

  /** Takes a host off the network for good, as a crash does, and forgets its links. What is sent to it finds nobody. */
  removeHost(host: SimHost): void {
    host.crash()
    host.setAddresses([])
    this.fabric.forget(host)
    this.links.delete(host)
    for (const links of this.links.values()) links.delete(host)
    this.slowHosts.delete(host)
  }

  /** Puts a NAT on the network; hosts are added `behind` it. */
  addNat(options: NatOptions): NatBox {
    const nat = new NatBox(options, this.fabric.random.fork(`nat ${options.name}`))
    this.fabric.nats.set(nat.address, nat)
    return nat
  }

  /** Adds, changes or (with `undefined`) removes a name. */
  setName(name: string, record: NameRecord | undefined): void {
    if (record === undefined) this.fabric.names.delete(name)
    else this.fabric.names.set(name, record)
  }

  /** Sets the link of one direction. What is under way is not touched. */
  setLink(from: SimHost, to: SimHost, options: LinkOptions): void {
    let links = this.links.get(from)
    if (links === undefined) this.links.set(from, (links = new Map()))
    links.set(to, options)
    from.paths.get(to)?.setLink(options)
  }

  /** The links of all pairs that have none of their own; asked once for each that is used. */
  setLinks(options: (from: SimHost, to: SimHost) => LinkOptions): void {
    this.matrix = options
    for (const { from, path, to } of this.fabric.paths) if (from !== to) path.setLink(this.fabric.linkOf(from, to))
  }

  /** Somebody hears all that hosts send each other, as it leaves them: datagrams whole, streams in pieces. `undefined` ends it. */
  overhear(listener: ((from: SimHost, bytes: Uint8Array) => void) | undefined): void {
    this.fabric.overheard = listener
  }

  // ---- Faults.

  /** Nothing passes between the two sides; with `oneWay`, only from left to right. */
  partition(
    left: ReadonlyArray<SimHost>,
    right: ReadonlyArray<SimHost>,
    options?: { readonly oneWay?: boolean | undefined }
  ): void {
    const oneWay = options?.oneWay === true
    const names = (hosts: ReadonlyArray<SimHost>) => hosts.map(({ name }) => name).join(" ")
    const key = `${names(left)} ${oneWay ? "->" : "|"} ${names(right)}`
    this.partitions.set(key, { left: new Set(left), right: new Set(right), oneWay })
    this.update()
  }

  /** Nothing gets to or from the host, not even answers to its questions for names. */
  isolate(host: SimHost): void {
    this.fabric.isolated.add(host)
    this.update()
  }

  /** Ends all faults. Lost segments are sent again when their senders next try; held ones arrive at once. */
  heal(): void {
    this.partitions.clear()
    this.fabric.isolated.clear()
    this.fabric.deaf.clear()
    this.fabric.allDeaf = false
    for (const { path } of this.fabric.paths) {
      path.extraMs = 0
      path.corruption = 0
      path.held = false
    }
    for (const host of this.slowHosts) this.slowReads(host, Number.POSITIVE_INFINITY)
    this.update()
  }

  /** Makes one direction slower by so much; 0 ends it. */
  clog(from: SimHost, to: SimHost, extraLatencyMs: number): void {
    this.fabric.path(from, to).extraMs = Math.max(0, extraLatencyMs)
  }

  /** Packets of one direction wait, in their order, until `release`. */
  hold(from: SimHost, to: SimHost): void {
    this.fabric.path(from, to).held = true
  }

  release(from: SimHost, to: SimHost): void {
    const path = this.fabric.path(from, to)
    path.held = false
    path.openIfClear()
  }

  /** Flips a bit of a segment or datagram with this probability, as a broken box on the way does; 0 ends it. */
  corrupt(from: SimHost, to: SimHost, probability: number): void {
    this.fabric.path(from, to).corruption = probability
  }

  /** Resets the connections of a host, or those between two, at both ends; gives their number. */
  resetConnections(a: SimHost, b?: SimHost): number {
    let count = 0
    for (const socket of a.stack.sockets) {
      if (socket.failed || (b !== undefined && socket.remoteHost !== b)) continue
      socket.cut()
      count++
    }
    this.stats.resets += count
    return count
  }

  /** The host takes data off its connections only so fast, all together; Infinity ends it. */
  slowReads(host: SimHost, bytesPerSecond: number): void {
    const waiting = host.slow?.waiting ?? new Set()
    if (Number.isFinite(bytesPerSecond)) {
      const rate = Math.max(1, bytesPerSecond)
      host.slow = { bytesPerSecond: rate, rate: new Rate(rate * 8), waiting: new Set() }
      this.slowHosts.add(host)
    } else {
      host.slow = undefined
      this.slowHosts.delete(host)
    }
    for (const socket of waiting) socket.reconsider()
  }

  /** Names cannot be looked up, by one host or (`undefined`) by all. */
  failDns(host: SimHost | undefined, on: boolean): void {
    if (host === undefined) this.fabric.allDeaf = on
    else if (on) this.fabric.deaf.add(host)
    else this.fabric.deaf.delete(host)
  }

  /** How many faults are on; 0 after `heal`. */
  faultsAlive(): number {
    const { allDeaf, deaf, isolated, paths } = this.fabric
    let count = this.partitions.size + isolated.size + deaf.size + (allDeaf ? 1 : 0) + this.slowHosts.size
    for (const { path } of paths) {
      count += (path.held ? 1 : 0) + (path.extraMs > 0 ? 1 : 0) + (path.corruption > 0 ? 1 : 0)
    }
    return count
  }

  /** Looks at all paths again after the partitions have changed. */
  private update(): void {
    for (const { from, path, to } of this.fabric.paths) path.blocked = this.fabric.isBlocked(from, to)
    for (const { path } of this.fabric.paths) path.openIfClear()
  }
}
