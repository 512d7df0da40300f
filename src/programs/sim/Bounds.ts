/**
 * What a node may hold, looked at while it is attacked and once more when all is
 * over: limits that are never passed, tables that follow from the connections,
 * and reservations that are given back.
 */
import * as Effect from "effect/Effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { type ActorInfo, Actors } from "../../services/Actors.ts"
import { ConnectionManager } from "../../services/ConnectionManager.ts"
import { Identify } from "../../services/Identify.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { ResourceManager, type Usage } from "../../services/ResourceManager.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type AgentNode, networkOf } from "./Agent.ts"
import { kindOfLimit, Ledger } from "./Ledger.ts"

export interface Bounds {
  /** Peers that the store may know. */
  readonly peers: number
  /** How often a node is looked at. */
  readonly everyMs: number
}

const flatten = (tree: ReadonlyArray<ActorInfo>): ReadonlyArray<ActorInfo> =>
  tree.flatMap((actor) => [actor, ...flatten(actor.children)])

const countBy = <A>(all: ReadonlyArray<A>, key: (one: A) => string): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const one of all) counts.set(key(one), (counts.get(key(one)) ?? 0) + 1)
  return counts
}

const hostOf = (address: Multiaddr.Multiaddr): string => Multiaddr.toEndpoint(address)?.host ?? ""

const current = (usage: ReadonlyArray<Usage>, scope: string, resource: string): number =>
  usage.find((row) => row.scope === scope && row.resource === resource)?.current ?? 0

/** What is wrong with one node at this moment, if anything; and what was met. */
const look = (
  node: SimNode<AgentNode>,
  bounds: Bounds,
  above: Map<string, number>,
  wrong: (what: string) => void,
  met: (what: string) => void
) =>
  Effect.gen(function* () {
    const say = (what: string) => wrong(`${node.name}: ${what}`)
    const resources = yield* node.get(ResourceManager)
    const swarm = yield* node.get(Swarm)
    const { limits } = resources
    const usage = yield* resources.usage
    for (const row of usage) {
      if (row.refused > 0) met(`limit: ${kindOfLimit(row)}`)
      if (row.current < 0) say(`${row.current} ${row.resource} of ${row.scope} are in use`)
      const burst =
        row.resource !== "inbound connections a second"
          ? row.limit
          : row.scope.startsWith("address")
            ? limits.address.burst
            : limits.subnet.burst
      if (row.peak > burst) say(`there were ${row.peak} ${row.resource} of ${row.scope}, whose limit is ${burst}`)
    }
    // The same from what there is, whatever the counts say.
    const connections = yield* swarm.connections()
    const most = (what: string, counts: ReadonlyMap<string, number>, limit: number) => {
      for (const [name, count] of counts)
        if (count > limit) say(`${count} ${what} ${name} are open, and the limit is ${limit}`)
    }
    const inbound = connections.filter(({ direction }) => direction === "inbound")
    most("connections", new Map([["of all", connections.length]]), limits.system.connections)
    most("inbound connections", new Map([["of all", inbound.length]]), limits.system.connectionsInbound)
    most(
      "connections with",
      countBy(connections, ({ remotePeer }) => remotePeer.toString()),
      limits.peer.connections
    )
    most(
      "connections from",
      countBy(inbound, ({ remoteAddress }) => hostOf(remoteAddress)),
      limits.address.connections
    )
    const subnet = (one: { readonly remoteAddress: Multiaddr.Multiaddr }) =>
      hostOf(one.remoteAddress).replace(/\d+$/, "0/24")
    most("connections from", countBy(inbound, subnet), limits.subnet.connections)
    // Before they are connections of the swarm. At two looks in a row: they pile up while the node is paused.
    const sockets = [...node.host.stack.sockets].filter(
      ({ failed, remote }) => !failed && remote.host.startsWith("172.")
    )
    const from = countBy(sockets, ({ remote }) => remote.host)
    const piled = `${node.name} sockets`
    if (![...from.values()].some((count) => count > limits.address.connections + visiting)) above.delete(piled)
    else if (above.has(piled)) most("sockets from", from, limits.address.connections + visiting)
    else above.set(piled, 0)
    // Streams of a connection that is ending are gone before it is.
    const streams = connections.map((connection) => connection.streamCount())
    for (const count of streams)
      if (count > limits.connection.streams) say(`${count} streams are open on one connection`)
    if (connections.length > current(usage, "system", "connections"))
      say(`${connections.length} connections are open, and ${current(usage, "system", "connections")} are counted`)
    // Two of system and transient; of each connection its scope, peer, address, subnet, and its streams' protocols.
    const protocols = 4 * current(usage, "system", "streams")
    const scopes = 2 + 4 * current(usage, "system", "connections") + protocols + cooling
    if (resources.scopeCount() > scopes)
      say(`there are ${resources.scopeCount()} scopes for ${connections.length} connections`)

    const actors = flatten(yield* Effect.flatMap(node.get(Actors), ({ tree }) => tree))
    const ofConnections = actors.filter(({ name }) => name.startsWith("connection ")).length
    if (ofConnections > limits.system.connections) say(`${ofConnections} connections have an actor`)
    if (actors.length - ofConnections > 8)
      say(`there are ${actors.length - ofConnections} actors besides those of connections`)
    for (const { name, restarts } of actors) if (restarts > 0) say(`${name} was started again`)

    const store = yield* node.get(PeerStore)
    const known = yield* store.size
    if (known > bounds.peers) say(`${known} peers are known, and the limit is ${bounds.peers}`)
    if (known === bounds.peers) met("the peer store is full")
    for (const peer of yield* store.peers()) {
      const addresses = yield* store.addresses(peer)
      if (addresses.length > 32) say(`${addresses.length} addresses of one peer are known`)
      if (addresses.length === 32) met("a peer's addresses are full")
    }
    const announced = yield* Effect.flatMap(node.get(Identify), (identify) => identify.announced)
    for (const address of announced) {
      if (
        hostOf(address) !== "127.0.0.1" &&
        hostOf(address).replace(/\.\d+$/, "") !== networkOf(node.peerId.toString())
      )
        say(`it announces ${address.toString()}, which is not its own`)
    }
    const status = yield* Effect.flatMap(node.get(ConnectionManager), (manager) => manager.status)
    if (status.trimmed > 0) met("connections are trimmed")
    const spared = connections.filter(({ remotePeer }) => status.protected.includes(remotePeer.toString())).length
    if (status.connections > Math.max(status.highWater, spared)) {
      met("above the high watermark")
      above.set(node.name, (above.get(node.name) ?? 0) + bounds.everyMs)
      if ((above.get(node.name) ?? 0) > trimWithinMs + bounds.everyMs)
        say(
          `${status.connections} connections are open for ${trimWithinMs} ms, above the high watermark of ${status.highWater}`
        )
    } else above.delete(node.name)
    for (const what of (yield* node.get(Ledger)).met()) met(what)
  }).pipe(Effect.catchTag("NodeDown", () => Effect.void))

/** Sockets that the node has dialled itself, to one attacker. */
const visiting = 4
/** Addresses and subnets of one node's attackers and neighbours that may be remembered for how fast they came. */
const cooling = 200

/** A second between two trims, a second of grace for closing, on a slow clock and with connections that go on coming. */
const trimWithinMs = 10_000

/** Looks again and again. */
export const watch = (
  { nodes, sometimes }: Simulation<AgentNode>,
  bounds: Bounds,
  wrong: (what: string) => void
): Effect.Effect<never, unknown> => {
  /** For how many milliseconds a node has had too many connections. */
  const above = new Map<string, number>()
  return Effect.forever(
    Effect.gen(function* () {
      yield* Effect.sleep(bounds.everyMs)
      const met = new Set<string>()
      for (const node of nodes)
        if (node.running && !node.place.scheduler.paused)
          yield* look(node, bounds, above, wrong, (what) => met.add(what))
      for (const what of met) yield* sometimes(what)
    })
  )
}

/**
 * After a rest: what is in use is what the open connections explain. Then all of
 * them are closed, and nothing is in use.
 */
export const givenBack = ({ nodes, sometimes }: Simulation<AgentNode>, wrong: (what: string) => void) =>
  Effect.gen(function* () {
    for (const node of nodes) {
      const say = (what: string) => wrong(`${node.name}, at rest: ${what}`)
      const usage = yield* Effect.flatMap(node.get(ResourceManager), (resources) => resources.usage)
      const connections = yield* Effect.flatMap(node.get(Swarm), (swarm) => swarm.connections())
      // Left on connections whose peer is gone, where the muxer cannot notice that; see Checks.
      const streams = connections.reduce((sum, connection) => sum + connection.streamCount(), 0)
      for (const { current, resource, scope } of usage) {
        const explained =
          resource === "connections" && scope === "system"
            ? current === connections.length
            : scope === "transient" || resource.includes("streams") || resource === "memory"
              ? current === 0 || (streams > 0 && (resource === "memory" || current <= streams))
              : true
        if (!explained)
          say(`${current} ${resource} of ${scope} are in use, and ${connections.length} connections are open`)
      }
      for (const connection of connections) {
        if (networkOf(connection.remotePeer.toString()) === undefined)
          say(`a connection with an attacker is left: ${connection.remoteAddress.toString()}`)
      }
    }
    for (const node of nodes) (yield* node.get(Ledger)).closing()
    yield* Effect.forEach(
      nodes,
      (node) =>
        node.run(
          Effect.gen(function* () {
            const swarm = yield* Swarm
            yield* Effect.forEach(yield* swarm.connections(), (connection) => connection.close, {
              concurrency: "unbounded"
            })
          })
        ),
      { concurrency: "unbounded", discard: true }
    )
    // For the buckets of addresses to fill again.
    yield* Effect.sleep("2 minutes")
    for (const node of nodes) {
      const resources = yield* node.get(ResourceManager)
      for (const { current, resource, scope } of yield* resources.usage) {
        if (current !== 0) wrong(`${node.name}, alone: ${current} ${resource} of ${scope} are in use`)
      }
      if (resources.scopeCount() !== 2) wrong(`${node.name}, alone: there are ${resources.scopeCount()} scopes`)
    }
    yield* sometimes("all is given back")
  })
