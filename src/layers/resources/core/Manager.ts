/**
 * The tree of scopes. Plain code: time comes in as an argument, refusals go out
 * as values, and a refusal leaves every count as it was. The most specific scope
 * is asked first, so that a refusal names the one at fault: a peer with too many
 * streams is told so before the system is full.
 *
 * A scope is made when it is first used and dropped when nothing is in it, so
 * there are never more of them than open connections and streams; what a
 * dropped scope has refused is kept in one scope a kind, called `peer (ended)`
 * and so on.
 */
import * as Result from "effect/Result"
import * as Ip from "../../../data/IpAddress.ts"
import { ipBytes, type Multiaddr } from "../../../data/Multiaddr.ts"
import * as Subnet from "../../../data/Subnet.ts"
import {
  type ConnectionReservation,
  type LimitExceeded,
  type Limits,
  type Usage
} from "../../../services/ResourceManager.ts"
import { ConnectionLease, NamedScope, type Origin, PeerScope, type Tree } from "./Leases.ts"
import { type Place, PlaceTable } from "./Places.ts"
import { ConnectionScope, FullScope, StreamScope } from "./Scope.ts"

/** Places that are cooling down, of each kind, at most. */
const mostCooling = 65_536
/** Scopes in a table of usage, at most. */
const mostScopes = 1000

/** Names come from outside: `toString` must not be found. */
const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

/** Those of a kind to tell when there are too many: which have most of each resource, then which have refused, then the fullest. */
const fullest = <A extends StreamScope | Place>(scopes: ReadonlyArray<A>, most: number): Iterable<A> => {
  const chosen = new Map<string, { readonly scope: A; readonly used: number }>()
  const ranked = scopes.map((scope) => {
    let share = 0
    for (const { limit, refused, resource, used } of scope.meters()) {
      share = Math.max(share, (refused > 0 ? 1 : 0) + (limit > 0 ? used / limit : 0))
      if (used > (chosen.get(resource)?.used ?? 0)) chosen.set(resource, { scope, used })
    }
    return { scope, share }
  })
  const told = new Set(Array.from(chosen.values(), ({ scope }) => scope))
  for (const { scope } of ranked.toSorted((a, b) => b.share - a.share)) {
    if (told.size >= most) break
    told.add(scope)
  }
  return told
}

/** All limits and all that is in use. `now` is in milliseconds of any clock. */
export class Manager implements Tree {
  readonly limits: Limits
  readonly system: FullScope
  readonly transient: FullScope
  readonly peers = new Map<string, PeerScope>()
  readonly endedPeers: FullScope
  private readonly protocols = new Map<string, NamedScope>()
  private readonly services = new Map<string, NamedScope>()
  private readonly connections = new Set<ConnectionLease>()
  private readonly addresses: PlaceTable
  private readonly subnets: PlaceTable
  private readonly exempt: ReadonlyArray<Subnet.Subnet>
  private readonly endedConnections: ConnectionScope
  private readonly endedProtocols: StreamScope
  private readonly endedProtocolsOfPeers: StreamScope
  private readonly endedServices: StreamScope
  private readonly endedServicesOfPeers: StreamScope
  private now = 0
  private made = 0

  /** `limits` as `resolve` gives them; networks in `exempt` that cannot be read are left out. */
  constructor(limits: Limits) {
    this.limits = limits
    this.system = new FullScope("system", limits.system)
    this.transient = new FullScope("transient", limits.transient)
    this.endedPeers = new FullScope("peer (ended)", limits.peer)
    this.endedConnections = new ConnectionScope("connection (ended)", limits.connection)
    this.endedProtocols = new StreamScope("protocol (ended)", limits.protocol)
    this.endedProtocolsOfPeers = new StreamScope("protocol of peer (ended)", limits.protocolOfPeer)
    this.endedServices = new StreamScope("service (ended)", limits.service)
    this.endedServicesOfPeers = new StreamScope("service of peer (ended)", limits.serviceOfPeer)
    this.addresses = new PlaceTable("address", limits.address, mostCooling)
    this.subnets = new PlaceTable("subnet", limits.subnet, mostCooling)
    this.exempt = limits.exempt.flatMap((text) => {
      const subnet = Subnet.fromString(text)
      return Result.isSuccess(subnet) ? [subnet.success] : []
    })
  }

  /** See `ResourceManager.acceptConnection`. */
  accept(remote: Multiaddr, now: number): Result.Result<ConnectionReservation, LimitExceeded> {
    this.now = now
    const origin = this.origin(remote, now)
    const refusal =
      origin?.address.refuse(now) ??
      origin?.subnet.refuse(now) ??
      this.transient.refuseConnection(true) ??
      this.system.refuseConnection(true)
    if (refusal !== undefined) {
      if (origin !== undefined) {
        this.addresses.settle(origin.address, now)
        this.subnets.settle(origin.subnet, now)
      }
      return Result.fail(refusal)
    }
    if (origin !== undefined) {
      this.addresses.take(origin.address)
      this.subnets.take(origin.subnet)
    }
    return Result.succeed(this.open(true, origin))
  }

  /** See `ResourceManager.dialConnection`. */
  dial(now: number): Result.Result<ConnectionReservation, LimitExceeded> {
    this.now = now
    const refusal = this.transient.refuseConnection(false) ?? this.system.refuseConnection(false)
    return refusal === undefined ? Result.succeed(this.open(false, undefined)) : Result.fail(refusal)
  }

  /** Scopes in use, and places that cool down, at `now`. System and transient are always there. */
  scopeCount(now: number): number {
    this.settle(now)
    let count = 2 + this.peers.size + this.protocols.size + this.services.size + this.connections.size
    for (const peer of this.peers.values()) count += peer.protocols.size + peer.services.size
    return count + this.addresses.size + this.subnets.size
  }

  /**
   * System and transient whole; of other scopes, what is in use or has refused:
   * first what was refused by scopes that have ended, by kind, then those that
   * are in use, at most 1,000: when there are more, the fullest of each kind.
   */
  usage(now: number): ReadonlyArray<Usage> {
    this.settle(now)
    const rows: Array<Usage> = []
    for (const scope of [this.system, this.transient]) {
      for (const meter of scope.meters()) rows.push(meter.row(scope.name))
    }
    const ended = [
      this.endedPeers,
      this.endedConnections,
      this.endedProtocols,
      this.endedProtocolsOfPeers,
      this.endedServices,
      this.endedServicesOfPeers,
      this.addresses.ended,
      this.subnets.ended
    ]
    for (const scope of ended) {
      for (const meter of scope.meters()) if (meter.refused > 0) rows.push(meter.row(scope.name))
    }
    const kinds = this.kinds()
    const all = kinds.reduce((sum, { length }) => sum + length, 0) <= mostScopes
    for (const kind of kinds) {
      for (const scope of all ? kind : fullest(kind, Math.floor(mostScopes / kinds.length))) {
        for (const meter of scope.meters()) if (meter.used > 0 || meter.refused > 0) rows.push(meter.row(scope.name))
      }
    }
    return rows
  }

  /** The scopes that exist, but for system and transient, by kind. */
  private kinds(): ReadonlyArray<ReadonlyArray<StreamScope | Place>> {
    const peers = [...this.peers.values()]
    return [
      [...this.protocols.values()],
      [...this.services.values()],
      peers,
      peers.flatMap((peer) => [...peer.protocols.values()]),
      peers.flatMap((peer) => [...peer.services.values()]),
      Array.from(this.connections, ({ scope }) => scope),
      [...this.addresses.places()],
      [...this.subnets.places()]
    ]
  }

  private settle(now: number): void {
    this.now = now
    this.addresses.sweep(now)
    this.subnets.sweep(now)
  }

  private open(inbound: boolean, origin: Origin | undefined): ConnectionLease {
    this.system.takeConnection(inbound)
    this.transient.takeConnection(inbound)
    this.made++
    const scope = new ConnectionScope(`connection ${this.made}`, this.limits.connection)
    const connection = new ConnectionLease(this, scope, inbound, origin)
    this.connections.add(connection)
    return connection
  }

  /**
   * Undefined for exempt networks, for addresses that are not of IP, and for
   * relayed ones, whose address is that of the relay.
   */
  private origin(remote: Multiaddr, now: number): Origin | undefined {
    const bytes = ipBytes(remote)
    if (bytes === undefined || remote.components.some(({ name }) => name === "p2p-circuit")) return undefined
    if (this.exempt.some((subnet) => Subnet.contains(subnet, bytes))) return undefined
    const ip = Subnet.unmap(bytes)
    const addressKey = ip.length === 4 ? Ip.format4(ip) : Subnet.format(Subnet.of(ip, 64))
    const subnetKey = Subnet.format(Subnet.of(ip, ip.length === 4 ? 24 : 48))
    return { address: this.addresses.find(addressKey, now), subnet: this.subnets.find(subnetKey, now) }
  }

  // ---- for the leases -------------------------------------------------------

  /** The peer's scope, or a new one that is not in the table yet. */
  peer(key: string): PeerScope {
    return this.peers.get(key) ?? new PeerScope(`peer ${key}`, own(this.limits.peers, key) ?? this.limits.peer)
  }

  /** The scopes that a stream of a protocol is in, the most specific first. New ones are in their tables, empty. */
  named(peer: PeerScope | undefined, protocol: string, service: string | undefined): ReadonlyArray<NamedScope> {
    const scopes: Array<NamedScope> = []
    if (peer !== undefined) {
      scopes.push(peer.protocols.get(protocol) ?? this.newProtocolOf(peer, protocol))
      if (service !== undefined) scopes.push(peer.services.get(service) ?? this.newServiceOf(peer, service))
    }
    scopes.push(this.protocols.get(protocol) ?? this.newProtocol(protocol))
    if (service !== undefined) scopes.push(this.services.get(service) ?? this.newService(service))
    return scopes
  }

  connectionEnded(connection: ConnectionLease, origin: Origin | undefined): void {
    this.connections.delete(connection)
    this.endedConnections.absorb(connection.scope)
    if (origin === undefined) return
    this.addresses.give(origin.address, this.now)
    this.subnets.give(origin.subnet, this.now)
  }

  private newProtocolOf(peer: PeerScope, protocol: string): NamedScope {
    const name = `protocol ${protocol} of ${peer.name}`
    return new NamedScope(peer.protocols, protocol, name, this.limits.protocolOfPeer, this.endedProtocolsOfPeers)
  }

  private newServiceOf(peer: PeerScope, service: string): NamedScope {
    const name = `service ${service} of ${peer.name}`
    return new NamedScope(peer.services, service, name, this.limits.serviceOfPeer, this.endedServicesOfPeers)
  }

  private newProtocol(protocol: string): NamedScope {
    const limits = own(this.limits.protocols, protocol) ?? this.limits.protocol
    return new NamedScope(this.protocols, protocol, `protocol ${protocol}`, limits, this.endedProtocols)
  }

  private newService(service: string): NamedScope {
    const limits = own(this.limits.services, service) ?? this.limits.service
    return new NamedScope(this.services, service, `service ${service}`, limits, this.endedServices)
  }
}
