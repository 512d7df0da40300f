/**
 * Leases: what a connection and a stream hold in the scopes that they are in,
 * and how they move between them. Their functions may be passed on alone.
 */
import * as Result from "effect/Result"
import type { PeerId } from "../../../data/PeerId.ts"
import {
  type ConnectionReservation,
  type Direction,
  LimitExceeded,
  type StreamReservation,
  type StreamScopeLimits
} from "../../../services/ResourceManager.ts"
import { LazyMap, LazySet } from "../../internal/Lazy.ts"
import type { Place } from "./Places.ts"
import { type ConnectionScope, FullScope, StreamScope } from "./Scope.ts"

type NamedScopes = Pick<LazyMap<string, NamedScope>, "delete"> & {
  readonly set: (key: string, scope: NamedScope) => unknown
}

/** The scope of a protocol or service: in its table from the start, out of it once nothing is in it. */
export class NamedScope extends StreamScope {
  private readonly table: NamedScopes
  private readonly key: string
  private readonly ended: StreamScope

  constructor(table: NamedScopes, key: string, name: string, limits: StreamScopeLimits, ended: StreamScope) {
    super(name, limits)
    this.table = table
    this.key = key
    this.ended = ended
    table.set(key, this)
  }

  /** Leaves the table if nothing is in it; its counts are kept with its kind. */
  dropIfIdle(): void {
    if (this.isIdle() && this.table.delete(this.key)) this.ended.absorb(this)
  }
}

/** A peer, with its share of protocols and services. */
export class PeerScope extends FullScope {
  readonly protocols = new LazyMap<string, NamedScope>()
  readonly services = new LazyMap<string, NamedScope>()
}

/** Where an inbound connection comes from. */
export interface Origin {
  readonly address: Place
  readonly subnet: Place
}

/** What leases need of the tree that they are part of. */
export interface Tree {
  readonly system: FullScope
  readonly transient: FullScope
  readonly peers: Map<string, PeerScope>
  readonly endedPeers: FullScope
  readonly peer: (key: string) => PeerScope
  readonly named: (
    peer: PeerScope | undefined,
    protocol: string,
    service: string | undefined
  ) => ReadonlyArray<NamedScope>
  readonly connectionEnded: (connection: ConnectionLease, origin: Origin | undefined) => void
}

const none: ReadonlyArray<NamedScope> = []

/** A stream that is open. Without a protocol it is in the transient scope. */
class StreamLease implements StreamReservation {
  readonly inbound: boolean
  private readonly connection: ConnectionLease
  private protocol: string | undefined
  private service: string | undefined
  private scopes = none
  private live = true

  constructor(connection: ConnectionLease, inbound: boolean) {
    this.connection = connection
    this.inbound = inbound
  }

  readonly setProtocol = (protocol: string, service?: string): LimitExceeded | undefined => {
    if (!this.live) return undefined
    const { peer, tree } = this.connection
    const refusal = this.enter(tree.named(peer, protocol, service))
    if (refusal !== undefined) return refusal
    if (this.protocol === undefined) this.give(tree.transient)
    this.protocol = protocol
    this.service = service
    return undefined
  }

  readonly release = (): void => {
    if (!this.live) return
    this.live = false
    if (this.protocol === undefined) this.give(this.connection.tree.transient)
    else this.enter(none)
    this.connection.streamEnded(this)
  }

  /** Goes to the scopes of the same protocol of another peer. */
  moveTo(peer: PeerScope | undefined): LimitExceeded | undefined {
    if (this.protocol === undefined) return undefined
    return this.enter(this.connection.tree.named(peer, this.protocol, this.service))
  }

  private give(scope: StreamScope): void {
    scope.giveStreams(this.inbound ? 1 : 0, this.inbound ? 0 : 1)
  }

  /** From the scopes that it is in to `next`, or stays where it is. */
  private enter(next: ReadonlyArray<NamedScope>): LimitExceeded | undefined {
    const before = this.scopes
    let refusal: LimitExceeded | undefined
    for (const scope of next) {
      if (!before.includes(scope)) refusal ??= scope.refuseStream(this.inbound)
    }
    if (refusal !== undefined) {
      for (const scope of next) scope.dropIfIdle()
      return refusal
    }
    for (const scope of before) this.give(scope)
    for (const scope of next) scope.takeStreams(this.inbound ? 1 : 0, this.inbound ? 0 : 1)
    for (const scope of before) scope.dropIfIdle()
    this.scopes = next
    return undefined
  }
}

/** A connection that is open, or being made. */
export class ConnectionLease implements ConnectionReservation {
  readonly tree: Tree
  readonly scope: ConnectionScope
  readonly inbound: boolean
  /** Undefined while it is not known who the remote is: then it is in the transient scope. */
  peer: PeerScope | undefined
  private peerKey = ""
  private readonly name: string
  private readonly origin: Origin | undefined
  private readonly streams = new LazySet<StreamLease>()
  private live = true

  constructor(tree: Tree, scope: ConnectionScope, inbound: boolean, origin: Origin | undefined) {
    this.tree = tree
    this.name = scope.name
    this.scope = scope
    this.inbound = inbound
    this.origin = origin
  }

  readonly setPeer = (peer: PeerId): LimitExceeded | undefined => {
    if (!this.live) return this.gone("connections")
    const key = peer.toString()
    if (key === this.peerKey) return undefined
    const { scope, tree } = this
    const from = this.peer
    const to = tree.peer(key)
    const refusal = to.refuseAll(this.inbound, scope) ?? this.moveStreams(from, to)
    if (refusal !== undefined) {
      if (to.isIdle()) tree.endedPeers.absorb(to)
      return refusal
    }
    to.takeConnection(this.inbound)
    to.takeStreams(scope.streamsInbound.used, scope.streamsOutbound.used)
    to.memory.take(scope.memory.used)
    tree.peers.set(key, to)
    if (from === undefined) this.leaveTransient()
    else this.leavePeer(from)
    this.peer = to
    this.peerKey = key
    scope.name = `${this.name} of ${to.name}`
    return undefined
  }

  readonly openStream = (direction: Direction): Result.Result<StreamReservation, LimitExceeded> => {
    if (!this.live) return Result.fail(this.gone("streams"))
    const { peer, scope, tree } = this
    const inbound = direction === "inbound"
    const refusal =
      scope.refuseStream(inbound) ??
      peer?.refuseStream(inbound) ??
      tree.transient.refuseStream(inbound) ??
      tree.system.refuseStream(inbound)
    if (refusal !== undefined) return Result.fail(refusal)
    const more = inbound ? 1 : 0
    scope.takeStreams(more, 1 - more)
    peer?.takeStreams(more, 1 - more)
    tree.transient.takeStreams(more, 1 - more)
    tree.system.takeStreams(more, 1 - more)
    const stream = new StreamLease(this, inbound)
    this.streams.add(stream)
    return Result.succeed(stream)
  }

  readonly memory = { resize: (bytes: number): LimitExceeded | undefined => this.resize(bytes) }

  readonly release = (): void => {
    if (!this.live) return
    // Streams and memory first: they are counted in the scopes of this connection.
    for (const stream of this.streams) stream.release()
    this.resize(0)
    this.live = false
    const { peer, tree } = this
    if (peer === undefined) this.leaveTransient()
    else this.leavePeer(peer)
    tree.system.giveConnection(this.inbound)
    tree.connectionEnded(this, this.origin)
  }

  streamEnded(stream: StreamLease): void {
    if (!this.streams.delete(stream)) return
    const more = stream.inbound ? 1 : 0
    this.scope.giveStreams(more, 1 - more)
    this.peer?.giveStreams(more, 1 - more)
    this.tree.system.giveStreams(more, 1 - more)
  }

  /** What is not a count of bytes counts as none. */
  private resize(bytes: number): LimitExceeded | undefined {
    if (!this.live) return undefined
    const { scope, tree } = this
    const holder = this.peer ?? tree.transient
    const more = (bytes > 0 ? bytes : 0) - scope.memory.used
    if (more > 0) {
      const refusal = scope.refuseMemory(more) ?? holder.refuseMemory(more) ?? tree.system.refuseMemory(more)
      if (refusal !== undefined) return refusal
    }
    scope.memory.take(more)
    holder.memory.take(more)
    tree.system.memory.take(more)
    return undefined
  }

  /** All streams that have a protocol, or none of them. */
  private moveStreams(from: PeerScope | undefined, to: PeerScope): LimitExceeded | undefined {
    const moved: Array<StreamLease> = []
    for (const stream of this.streams) {
      const refusal = stream.moveTo(to)
      if (refusal === undefined) {
        moved.push(stream)
        continue
      }
      // They fitted there a moment ago, so going back is not refused.
      for (const back of moved) back.moveTo(from)
      return refusal
    }
    return undefined
  }

  /** Its streams stay: one without a protocol is in the transient scope also when its peer is known. */
  private leaveTransient(): void {
    const { origin, scope, tree } = this
    tree.transient.giveConnection(this.inbound)
    tree.transient.memory.give(scope.memory.used)
    origin?.address.pending.give(1)
    origin?.subnet.pending.give(1)
  }

  private leavePeer(from: PeerScope): void {
    const { scope, tree } = this
    from.giveConnection(this.inbound)
    from.giveStreams(scope.streamsInbound.used, scope.streamsOutbound.used)
    from.memory.give(scope.memory.used)
    if (!from.isIdle()) return
    tree.peers.delete(this.peerKey)
    tree.endedPeers.absorb(from)
  }

  private gone(resource: string): LimitExceeded {
    return new LimitExceeded({ scope: `${this.scope.name} (ended)`, resource, limit: 0, current: 0 })
  }
}
