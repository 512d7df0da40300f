/**
 * The limits of a node: defaults that scale with the machine, and how the ones
 * that a user gives are read and put in their place. docs/limits.md has the
 * table and the reasons.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as PeerId from "../../data/PeerId.ts"
import * as Subnet from "../../data/Subnet.ts"
import type { Machine } from "../../services/Machine.ts"
import {
  ConnectionScopeLimits,
  type Limits,
  PlaceLimits,
  ScopeLimits,
  StreamScopeLimits
} from "../../services/ResourceManager.ts"

/** Limits that cannot be. `path` is where: `system.connections`, `exempt[0]`. */
export class InvalidLimits extends Schema.TaggedError<InvalidLimits>()("InvalidLimits", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `limits${this.path === "" ? "" : `.${this.path}`}: ${this.detail}; see docs/limits.md`
  }
}

const MiB = 1024 * 1024

const clamp = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, Math.floor(value)))

/**
 * What one open connection with its sixteen streams is reckoned at, in bytes of
 * this process: a socket, two handshakes' worth of state and the streams' queues.
 */
const bytesPerConnection = 256 * 1024

/**
 * The limits of a node on this machine: about a quarter of its memory and half
 * of its files. However small the machine, a peer may have 4,096 streams and a
 * connection 2,048; and no peer, address or subnet alone fills the node.
 */
export const defaults = (machine: Machine): Limits => {
  const memory = clamp(machine.memory / 4, 64 * MiB, Number.MAX_SAFE_INTEGER)
  const connections = clamp(Math.min(machine.files / 2, memory / bytesPerConnection), 64, 65_536)
  const oneWay = Math.ceil((connections * 3) / 4)
  const unfinished = Math.max(32, Math.floor(connections / 4))
  const streams = Math.max(8192, connections * 16)
  const streamsOfPeer = clamp(streams / 4, 4096, 16_384)
  const both = (count: number): StreamScopeLimits => ({
    streams: count,
    streamsInbound: count,
    streamsOutbound: count
  })
  return {
    system: {
      connections,
      connectionsInbound: oneWay,
      connectionsOutbound: oneWay,
      ...both(streams),
      // So that a flood of inbound streams leaves room for our own.
      streamsInbound: Math.floor((streams * 3) / 4),
      memory
    },
    transient: {
      connections: unfinished,
      connectionsInbound: Math.ceil((unfinished * 3) / 4),
      connectionsOutbound: Math.ceil((unfinished * 3) / 4),
      ...both(Math.floor((streams * 3) / 4)),
      // More than one peer may have, and less than all: neither one that agrees on no protocol nor many of them stop
      // others, or us.
      streamsInbound: Math.floor((streams * 5) / 8),
      memory: Math.floor(memory / 4)
    },
    peer: {
      connections: 8,
      connectionsInbound: 8,
      connectionsOutbound: 8,
      ...both(streamsOfPeer),
      streamsInbound: Math.max(4096, Math.floor(streamsOfPeer / 2)),
      memory: clamp(memory / 4, 32 * MiB, 512 * MiB)
    },
    connection: {
      ...both(streamsOfPeer / 2),
      streamsInbound: 2048,
      memory: clamp(memory / 8, 16 * MiB, 256 * MiB)
    },
    protocol: both(Math.floor(streams / 2)),
    protocolOfPeer: both(streamsOfPeer / 2),
    service: both(Math.floor(streams / 2)),
    serviceOfPeer: both(streamsOfPeer / 2),
    address: {
      connections: clamp(connections / 64, 16, 64),
      pending: clamp(unfinished / 4, 8, 16),
      ratePerSecond: 2,
      burst: 32
    },
    subnet: {
      connections: clamp(connections / 8, Math.min(64, Math.floor((oneWay * 3) / 4)), 1024),
      pending: clamp(unfinished / 2, 16, 64),
      ratePerSecond: 16,
      burst: 128
    },
    exempt: ["127.0.0.0/8", "::1/128"],
    peers: {},
    protocols: {},
    services: {}
  }
}

// ---- limits that a user gives -----------------------------------------------

const partialScope = Schema.Struct({
  connections: Schema.optional(ScopeLimits.fields.connections),
  connectionsInbound: Schema.optional(ScopeLimits.fields.connectionsInbound),
  connectionsOutbound: Schema.optional(ScopeLimits.fields.connectionsOutbound),
  streams: Schema.optional(ScopeLimits.fields.streams),
  streamsInbound: Schema.optional(ScopeLimits.fields.streamsInbound),
  streamsOutbound: Schema.optional(ScopeLimits.fields.streamsOutbound),
  memory: Schema.optional(ScopeLimits.fields.memory)
})
const partialStreams = Schema.Struct({
  streams: Schema.optional(StreamScopeLimits.fields.streams),
  streamsInbound: Schema.optional(StreamScopeLimits.fields.streamsInbound),
  streamsOutbound: Schema.optional(StreamScopeLimits.fields.streamsOutbound)
})
const partialConnection = Schema.Struct({
  ...partialStreams.fields,
  memory: Schema.optional(ConnectionScopeLimits.fields.memory)
})
const partialPlace = Schema.Struct({
  connections: Schema.optional(PlaceLimits.fields.connections),
  pending: Schema.optional(PlaceLimits.fields.pending),
  ratePerSecond: Schema.optional(PlaceLimits.fields.ratePerSecond),
  burst: Schema.optional(PlaceLimits.fields.burst)
})

/**
 * The limits to change, in the shape of `Limits` with everything optional: what
 * the layer takes, and the key `limits` of a configuration file. What `peers`,
 * `protocols` and `services` leave out is as for all others.
 */
export const LimitChanges = Schema.Struct({
  system: Schema.optional(partialScope),
  transient: Schema.optional(partialScope),
  peer: Schema.optional(partialScope),
  connection: Schema.optional(partialConnection),
  protocol: Schema.optional(partialStreams),
  protocolOfPeer: Schema.optional(partialStreams),
  service: Schema.optional(partialStreams),
  serviceOfPeer: Schema.optional(partialStreams),
  address: Schema.optional(partialPlace),
  subnet: Schema.optional(partialPlace),
  exempt: Schema.optional(Schema.Array(Schema.String)),
  peers: Schema.optional(Schema.Record(Schema.String, partialScope)),
  protocols: Schema.optional(Schema.Record(Schema.String, partialStreams)),
  services: Schema.optional(Schema.Record(Schema.String, partialStreams))
})
export type LimitChanges = typeof LimitChanges.Type

const decode = Schema.decodeUnknownResult(LimitChanges)
const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** `["exempt", 0]` is `exempt[0]`; keys such as protocols, which have dots and slashes, are quoted. */
const pathOf = (keys: ReadonlyArray<unknown>): string =>
  keys
    .map((key, i) =>
      typeof key === "number"
        ? `[${key}]`
        : /^\w+$/.test(String(key))
          ? `${i === 0 ? "" : "."}${String(key)}`
          : `[${JSON.stringify(String(key))}]`
    )
    .join("")

/** What is at a path, for a message: `; got -1`. */
const got = (root: unknown, keys: ReadonlyArray<PropertyKey>): string => {
  let value = root
  for (const key of keys) {
    if (typeof value !== "object" || value === null) return ""
    value = Reflect.get(value, key)
  }
  return typeof value === "number" || typeof value === "string"
    ? `; got ${typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : value}`
    : ""
}

/** `base` with what is given in its place; `undefined` is not given. */
const over = <A extends object>(base: A, changes: { readonly [K in keyof A]?: A[K] | undefined } | undefined): A => {
  const result = { ...base }
  for (const [key, value] of Object.entries(changes ?? {})) {
    if (value !== undefined) Reflect.set(result, key, value)
  }
  return result
}

const overEach = <A extends object>(
  base: A,
  changes: Readonly<Record<string, { readonly [K in keyof A]?: A[K] | undefined }>> | undefined
): Record<string, A> => {
  const result: Record<string, A> = {}
  for (const [name, change] of Object.entries(changes ?? {})) {
    // Not an assignment: a name such as `__proto__` would vanish.
    Object.defineProperty(result, name, { value: over(base, change), enumerable: true })
  }
  return result
}

/** Every limit: the defaults of the machine with the changes in their place. Checked, whatever their type says. */
export const resolve = (machine: Machine, changes: LimitChanges = {}): Result.Result<Limits, InvalidLimits> => {
  const fail = (path: ReadonlyArray<unknown>, detail: string) =>
    Result.fail(new InvalidLimits({ path: pathOf(path), detail }))
  const decoded = decode(changes, { onExcessProperty: "error" })
  if (Result.isFailure(decoded)) {
    const issue = format(decoded.failure.issue).issues[0]
    const path = (issue?.path ?? []).map((step) => (typeof step === "object" ? step.key : step))
    return fail(path, `${issue?.message ?? "not limits"}${got(changes, path)}`)
  }
  const given = decoded.success
  const base = defaults(machine)
  for (const [i, text] of (given.exempt ?? []).entries()) {
    const subnet = Subnet.fromString(text)
    if (Result.isFailure(subnet)) return fail(["exempt", i], subnet.failure.message)
  }
  const peers: Record<string, NonNullable<LimitChanges["peers"]>[string]> = {}
  for (const [text, change] of Object.entries(given.peers ?? {})) {
    const peer = PeerId.fromString(text)
    if (Result.isFailure(peer)) return fail(["peers", text], peer.failure.message)
    // Its usual text, however it was written.
    peers[peer.success.toString()] = change
  }
  const peer = over(base.peer, given.peer)
  const protocol = over(base.protocol, given.protocol)
  const service = over(base.service, given.service)
  return Result.succeed({
    system: over(base.system, given.system),
    transient: over(base.transient, given.transient),
    peer,
    connection: over(base.connection, given.connection),
    protocol,
    protocolOfPeer: over(base.protocolOfPeer, given.protocolOfPeer),
    service,
    serviceOfPeer: over(base.serviceOfPeer, given.serviceOfPeer),
    address: over(base.address, given.address),
    subnet: over(base.subnet, given.subnet),
    exempt: given.exempt ?? base.exempt,
    peers: overEach(peer, peers),
    protocols: overEach(protocol, given.protocols),
    services: overEach(service, given.services)
  })
}
