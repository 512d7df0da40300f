/**
 * Meters and scopes: what one scope holds of each resource, and whether there
 * is room for more. Checking and taking are apart, so that a reservation that
 * spans several scopes asks all of them first and changes none when one refuses.
 */
import {
  type ConnectionScopeLimits,
  LimitExceeded,
  type ScopeLimits,
  type StreamScopeLimits,
  type Usage
} from "../../../services/ResourceManager.ts"

/** One resource of one scope. */
export class Meter {
  readonly resource: string
  readonly limit: number
  used = 0
  peak = 0
  refused = 0

  constructor(resource: string, limit: number) {
    this.resource = resource
    this.limit = limit
  }

  /** Takes without asking. */
  take(amount: number): void {
    this.used += amount
    if (this.used > this.peak) this.peak = this.used
  }

  give(amount: number): void {
    this.used -= amount
  }

  /** Counts a refusal and words it. */
  refuse(scope: string): LimitExceeded {
    this.refused++
    return new LimitExceeded({ scope, resource: this.resource, limit: this.limit, current: this.used })
  }

  /** Takes over what is worth keeping of a meter that is dropped. */
  absorb(ended: Meter): void {
    this.refused += ended.refused
    if (ended.peak > this.peak) this.peak = ended.peak
  }

  row(scope: string): Usage {
    const { limit, peak, refused, resource, used } = this
    return { scope, resource, limit, current: Math.ceil(used), peak: Math.ceil(peak), refused }
  }
}

/** A scope that holds streams: of a protocol or service, of all peers or of one. */
export class StreamScope {
  name: string
  readonly streams: Meter
  readonly streamsInbound: Meter
  readonly streamsOutbound: Meter

  constructor(name: string, limits: StreamScopeLimits) {
    this.name = name
    this.streams = new Meter("streams", limits.streams)
    this.streamsInbound = new Meter("inbound streams", limits.streamsInbound)
    this.streamsOutbound = new Meter("outbound streams", limits.streamsOutbound)
  }

  /** Why one more stream does not fit; nothing is taken. */
  refuseStream(inbound: boolean): LimitExceeded | undefined {
    const directed = inbound ? this.streamsInbound : this.streamsOutbound
    if (directed.used >= directed.limit) return directed.refuse(this.name)
    return this.streams.used >= this.streams.limit ? this.streams.refuse(this.name) : undefined
  }

  takeStreams(inbound: number, outbound: number): void {
    this.streams.take(inbound + outbound)
    this.streamsInbound.take(inbound)
    this.streamsOutbound.take(outbound)
  }

  giveStreams(inbound: number, outbound: number): void {
    this.streams.give(inbound + outbound)
    this.streamsInbound.give(inbound)
    this.streamsOutbound.give(outbound)
  }

  isIdle(): boolean {
    return this.streams.used === 0
  }

  meters(): ReadonlyArray<Meter> {
    return [this.streams, this.streamsInbound, this.streamsOutbound]
  }

  /** Takes over the counts of a scope of this kind that is dropped. */
  absorb(ended: StreamScope): void {
    const theirs = ended.meters()
    this.meters().forEach((meter, i) => {
      const other = theirs[i]
      if (other !== undefined) meter.absorb(other)
    })
  }
}

/** A scope of one connection: streams and memory. */
export class ConnectionScope extends StreamScope {
  readonly memory: Meter

  constructor(name: string, limits: ConnectionScopeLimits) {
    super(name, limits)
    this.memory = new Meter("memory", limits.memory)
  }

  refuseMemory(bytes: number): LimitExceeded | undefined {
    return this.memory.used + bytes > this.memory.limit ? this.memory.refuse(this.name) : undefined
  }

  override isIdle(): boolean {
    return super.isIdle() && this.memory.used === 0
  }

  override meters(): ReadonlyArray<Meter> {
    return [...super.meters(), this.memory]
  }
}

/** A scope that holds everything: system, transient, a peer. */
export class FullScope extends ConnectionScope {
  readonly connections: Meter
  readonly connectionsInbound: Meter
  readonly connectionsOutbound: Meter

  constructor(name: string, limits: ScopeLimits) {
    super(name, limits)
    this.connections = new Meter("connections", limits.connections)
    this.connectionsInbound = new Meter("inbound connections", limits.connectionsInbound)
    this.connectionsOutbound = new Meter("outbound connections", limits.connectionsOutbound)
  }

  refuseConnection(inbound: boolean): LimitExceeded | undefined {
    const directed = inbound ? this.connectionsInbound : this.connectionsOutbound
    if (directed.used >= directed.limit) return directed.refuse(this.name)
    return this.connections.used >= this.connections.limit ? this.connections.refuse(this.name) : undefined
  }

  /** Why a connection that holds this already does not fit as a whole. */
  refuseAll(inbound: boolean, held: ConnectionScope): LimitExceeded | undefined {
    const over = (mine: Meter, more: Meter) => more.used > 0 && mine.used + more.used > mine.limit
    const refusal = this.refuseConnection(inbound)
    if (refusal !== undefined) return refusal
    if (over(this.streamsInbound, held.streamsInbound)) return this.streamsInbound.refuse(this.name)
    if (over(this.streamsOutbound, held.streamsOutbound)) return this.streamsOutbound.refuse(this.name)
    if (over(this.streams, held.streams)) return this.streams.refuse(this.name)
    return over(this.memory, held.memory) ? this.memory.refuse(this.name) : undefined
  }

  takeConnection(inbound: boolean): void {
    this.connections.take(1)
    const directed = inbound ? this.connectionsInbound : this.connectionsOutbound
    directed.take(1)
  }

  giveConnection(inbound: boolean): void {
    this.connections.give(1)
    const directed = inbound ? this.connectionsInbound : this.connectionsOutbound
    directed.give(1)
  }

  override isIdle(): boolean {
    return super.isIdle() && this.connections.used === 0
  }

  override meters(): ReadonlyArray<Meter> {
    return [this.connections, this.connectionsInbound, this.connectionsOutbound, ...super.meters()]
  }
}
