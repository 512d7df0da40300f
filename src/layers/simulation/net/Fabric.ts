/** What all hosts of a simulated network share: time, chance, routes, links, names. */
import type { Prng } from "../Prng.ts"
import type { Timeline } from "../Timeline.ts"
import type { SimHost } from "./Host.ts"
import { type LinkOptions, Path } from "./Link.ts"
import type { NatBox } from "./Nat.ts"

/** What a name stands for. */
export interface NameRecord {
  readonly addresses?: ReadonlyArray<string> | undefined
  readonly txt?: ReadonlyArray<string> | undefined
}

/** Plain counters of a network. */
export interface Stats {
  /** Pieces of streams that arrived. */
  segments: number
  /** Datagrams sent; a multicast one counts for each receiver. */
  datagrams: number
  /** Payload bytes that arrived. */
  bytes: number
  /** Datagrams and connection attempts that were dropped, for any reason. */
  dropped: number
  duplicated: number
  corrupted: number
  /** Segments that were lost and sent again. */
  retransmitted: number
  /** Connections established. */
  connections: number
  refused: number
  /** Connects and connections given up. */
  timedOut: number
  resets: number
  lookups: number
}

export interface SimNetworkOptions {
  readonly timeline: Timeline
  readonly random: Prng
  /** Takes what happened into the trace; `node` is the name of the host, or empty. */
  readonly note: (node: string, kind: string, detail: string) => void
  /** The link between any two hosts that no other is set for. */
  readonly link?: LinkOptions | undefined
  /** The table of names. */
  readonly names?: Readonly<Record<string, NameRecord>> | undefined
  /** Note every segment and datagram too. */
  readonly traceSegments?: boolean | undefined
  /** Bytes that one direction of a connection may hold unread or under way. Default 256 KiB. */
  readonly windowBytes?: number | undefined
}

/** Where an address leads: to a host, or into a NAT. */
export type Route =
  | { readonly host: SimHost; readonly nat?: undefined }
  | { readonly nat: NatBox; readonly host?: undefined }

const loopbackLink: LinkOptions = { latencyMs: 0.02 }

export class Fabric {
  readonly timeline: Timeline
  readonly random: Prng
  readonly note: (node: string, kind: string, detail: string) => void
  readonly traceSegments: boolean
  readonly windowBytes: number
  readonly names: Map<string, NameRecord>
  readonly hosts = new Set<SimHost>()
  readonly nats = new Map<string, NatBox>()
  readonly isolated = new Set<SimHost>()
  /** Hosts that names are not looked up for. */
  readonly deaf = new Set<SimHost>()
  allDeaf = false
  /** Whether a partition is between two hosts. */
  blocks: (from: SimHost, to: SimHost) => boolean = () => false
  /** The link of two hosts. */
  linkOf: (from: SimHost, to: SimHost) => LinkOptions
  /** Hears what a host puts on a wire. */
  overheard: ((from: SimHost, bytes: Uint8Array) => void) | undefined
  /** Every path that was ever used, in the order of first use. */
  readonly paths: Array<{ readonly from: SimHost; readonly to: SimHost; readonly path: Path }> = []
  readonly stats: Stats = {
    segments: 0,
    datagrams: 0,
    bytes: 0,
    dropped: 0,
    duplicated: 0,
    corrupted: 0,
    retransmitted: 0,
    connections: 0,
    refused: 0,
    timedOut: 0,
    resets: 0,
    lookups: 0
  }
  /** Public addresses. */
  private readonly byAddress = new Map<string, SimHost>()

  constructor(options: SimNetworkOptions) {
    this.timeline = options.timeline
    this.random = options.random
    this.note = options.note
    this.traceSegments = options.traceSegments === true
    this.windowBytes = Math.max(1, options.windowBytes ?? 256 * 1024)
    this.names = new Map(Object.entries(options.names ?? {}))
    const link = options.link ?? {}
    this.linkOf = () => link
  }

  get now(): number {
    return this.timeline.now
  }

  path(from: SimHost, to: SimHost): Path {
    const known = from.paths.get(to)
    if (known !== undefined) return known
    const link = from === to ? loopbackLink : this.linkOf(from, to)
    const path = new Path(from, to, this.random.fork(`${from.name}>${to.name}`), link)
    path.blocked = this.isBlocked(from, to)
    from.paths.set(to, path)
    this.paths.push({ from, to, path })
    return path
  }

  /** Lets go of a host that is gone for good. */
  forget(host: SimHost): void {
    this.hosts.delete(host)
    this.isolated.delete(host)
    this.deaf.delete(host)
    for (const other of this.hosts) other.paths.delete(host)
    const left = this.paths.filter(({ from, to }) => from !== host && to !== host)
    this.paths.splice(0, this.paths.length, ...left)
  }

  isBlocked(from: SimHost, to: SimHost): boolean {
    return from !== to && (this.isolated.has(from) || this.isolated.has(to) || this.blocks(from, to))
  }

  /** Where a packet of `from` to an address goes. */
  route(from: SimHost, address: string): Route | undefined {
    if (from.owns(address)) return { host: from }
    const beside = from.behind?.find(address)
    if (beside !== undefined) return { host: beside }
    const host = this.byAddress.get(address)
    if (host !== undefined) return { host }
    const nat = this.nats.get(address)
    return nat === undefined ? undefined : { nat }
  }

  /** Makes addresses known to all; the host that had one before loses it. */
  announce(host: SimHost, addresses: ReadonlyArray<string>): void {
    for (const address of addresses) this.byAddress.set(address, host)
  }

  withdraw(host: SimHost, addresses: ReadonlyArray<string>): void {
    for (const address of addresses) if (this.byAddress.get(address) === host) this.byAddress.delete(address)
  }
}
