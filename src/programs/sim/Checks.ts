/**
 * What must hold of all nodes together, looked at every so often while the
 * agents live, and once more after they have rested.
 */
import * as Effect from "effect/Effect"
import * as PeerId from "../../data/PeerId.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { type ActorInfo, Actors } from "../../services/Actors.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import { type AgentNode, networkOf } from "./Agent.ts"
import { type Busy, overdueMs } from "./AgentLife.ts"
import { Ledger } from "./Ledger.ts"

/** An agent does one thing at a time, a burst at most, and its neighbours do as much with it. */
const maxStreams = 400
/** Both ends may dial at once, and a dead connection is noticed only by its keep-alive. */
const maxConnectionsPerPeer = 16
/** A keep-alive after 30 seconds of silence has 10 to be answered; clocks may be a tenth slow, and closing has its grace. */
const deadAfterMs = 40_000 / 0.9 + 5000
/** An answer of identify has 10 seconds, as has the agreement on its protocol. */
const identifiedWithinMs = 10_000 / 0.9 + 3000
/** What a peer never closed is reset a minute later. */
export const restMs = 150_000

/** Mplex has no keep-alive: a connection whose peer is gone stays until something is sent on it. */
const noticesEnd = ({ muxer }: Connection): boolean => !muxer.startsWith("/mplex/")
const isOurs = ({ remotePeer }: Connection): boolean => networkOf(remotePeer.toString()) !== undefined

interface Seen {
  readonly node: SimNode<AgentNode>
  readonly connections: ReadonlyArray<Connection>
  readonly ledger: Ledger["Service"]
}

/** A connection as both ends name it. */
const key = (connection: Connection, outward: boolean) =>
  outward
    ? `${connection.localAddress.toString()} ${connection.remoteAddress.toString()}`
    : `${connection.remoteAddress.toString()} ${connection.localAddress.toString()}`

const lookAt = (nodes: ReadonlyArray<SimNode<AgentNode>>) =>
  Effect.map(
    Effect.forEach(
      nodes.filter((node) => node.running),
      (node) =>
        Effect.gen(function* () {
          const swarm = yield* node.get(Swarm)
          const seen: Seen = { node, connections: yield* swarm.connections(), ledger: yield* node.get(Ledger) }
          return [seen]
        }).pipe(Effect.catchTag("NodeDown", () => Effect.succeed([])))
    ),
    (lists) => lists.flat()
  )

/** Counts how long things have gone on, in the time that their node ran. */
class Ages {
  private ages = new Map<string, number>()
  private next = new Map<string, number>()

  /** It is still so; gives its age. */
  older(name: string, byMs: number): number {
    const age = (this.ages.get(name) ?? 0) + byMs
    this.next.set(name, age)
    return age
  }

  /** What was not named since the last time is over. */
  turn(): void {
    this.ages = this.next
    this.next = new Map()
  }
}

/** Looks at the tables again and again; says what is wrong by `wrong`. The list of nodes may change meanwhile. */
export const watch = (
  present: () => ReadonlyArray<SimNode<AgentNode>>,
  busy: ReadonlySet<Busy>,
  wrong: (what: string) => void,
  everyMs = 2000
): Effect.Effect<never> => {
  const orphans = new Ages()
  const waits = new Ages()
  const look = Effect.gen(function* () {
    const all = yield* lookAt(present())
    const there = new Set(all.flatMap(({ connections }) => connections.map((connection) => key(connection, false))))
    for (const { connections, ledger, node } of all) {
      const passed = node.place.scheduler.paused ? 0 : everyMs
      const [problem] = ledger.problems
      if (problem !== undefined) wrong(`${node.name}: ${problem}`)
      const perPeer = new Map<string, number>()
      for (const connection of connections) {
        const peer = connection.remotePeer.toString()
        perPeer.set(peer, (perPeer.get(peer) ?? 0) + 1)
        if (connection.streamCount() > maxStreams)
          wrong(`${node.name} has ${connection.streamCount()} streams on one connection`)
        if (there.has(key(connection, true)) || !noticesEnd(connection) || !isOurs(connection)) continue
        const age = orphans.older(`${node.name} ${connection.id} ${connection.openedAt}`, passed)
        if (age > deadAfterMs + everyMs)
          wrong(`${node.name} keeps a connection that its peer has not had for ${age} ms: ${key(connection, true)}`)
      }
      for (const count of perPeer.values()) {
        if (count > maxConnectionsPerPeer) wrong(`${node.name} has ${count} connections with one peer`)
      }
      for (const id of ledger.identifying) {
        if (waits.older(`${node.name} ${id}`, passed) > identifiedWithinMs + everyMs)
          wrong(`${node.name} still waits to identify connection ${id}`)
      }
    }
    orphans.turn()
    waits.turn()
    for (const action of busy) {
      if (!action.node.place.scheduler.paused) action.ageMs += everyMs
      if (action.ageMs > overdueMs) wrong(`${action.node.name}: ${action.what} does not end`)
    }
  })
  return Effect.forever(Effect.andThen(Effect.sleep(everyMs), look))
}

const flatten = (tree: ReadonlyArray<ActorInfo>): ReadonlyArray<ActorInfo> =>
  tree.flatMap((actor) => [actor, ...flatten(actor.children)])

/** After a rest nothing is left but connections that both ends have, and what they need. */
export const rested = ({ nodes, world }: Simulation<AgentNode>, wrong: (what: string) => void) =>
  Effect.gen(function* () {
    const all = yield* lookAt(nodes)
    const there = new Map(
      all.flatMap(({ connections, node }) =>
        connections.map((connection) => [key(connection, false), { connection, node }] as const)
      )
    )
    let open = 0
    for (const { connections, ledger, node } of all) {
      const say = (what: string) => wrong(`${node.name}, at rest: ${what}`)
      const [problem] = ledger.problems
      if (problem !== undefined) say(problem)
      open += connections.length
      for (const connection of connections) {
        const other = there.get(key(connection, true))
        if (other === undefined) {
          if (noticesEnd(connection)) say(`its peer does not have connection ${connection.id}`)
        } else if (!PeerId.equals(other.node.peerId, connection.remotePeer))
          say(`connection ${connection.id} is with another peer`)
        else if (other.connection.direction === connection.direction)
          say(`both ends say that they are ${connection.direction}`)
        const streams = connection.streamCount()
        if (streams > 0 && (other !== undefined || noticesEnd(connection)))
          say(`${streams} streams are left on connection ${connection.id}`)
      }
      const ids = connections.map(({ id }) => id)
      if (ids.length !== ledger.open.size || ids.some((id) => !ledger.open.has(id))) {
        say(`${ids.length} connections are open; by the events there are ${ledger.open.size}`)
      }
      const swarm = yield* node.get(Swarm)
      const counters = yield* swarm.counters
      const counts = [
        ["connections", counters.inboundOpened + counters.outboundOpened, ledger.connected()],
        ["failed dials", counters.dialsFailed, ledger.dialsFailed()],
        // In a flood not all are told.
        [
          "failed inbound connections",
          Math.min(counters.inboundFailed, ledger.inboundFailed()),
          ledger.inboundFailed()
        ],
        ["failed handlers", counters.handlersFailed, ledger.handlersFailed()]
      ] as const
      for (const [what, counted, told] of counts)
        if (counted !== told) say(`${counted} ${what} are counted, ${told} were told`)
      const tree = flatten(yield* Effect.flatMap(node.get(Actors), (actors) => actors.tree))
      const actors = tree.flatMap(({ name }) =>
        name.startsWith("connection ") ? [Number(name.slice("connection ".length))] : []
      )
      if (actors.length !== ids.length || ids.some((id) => !actors.includes(id))) {
        say(`${ids.length} connections are open, and ${actors.length} have an actor`)
      }
      for (const { mailbox, name, restarts, state } of tree) {
        if (restarts > 0 || state !== "idle" || mailbox.depth > 0)
          say(`${name} is ${state}, ${mailbox.depth} messages wait, ${restarts} restarts`)
      }
      if (tree.filter(({ name }) => name.startsWith("listener ")).length !== 1)
        say("it has other listeners than its own")
      if (!tree.some(({ detail, name }) => name === "swarm" && detail.endsWith(" 0 dials"))) say("a dial is left")
      const sockets = [...node.host.stack.sockets].length
      if (sockets !== connections.length) say(`${connections.length} connections are open, and ${sockets} sockets`)
      const store = yield* node.get(PeerStore)
      for (const other of nodes) {
        const known = yield* store.addresses(other.peerId)
        if (known.length > 32) say(`it knows ${known.length} addresses of ${other.name}`)
      }
    }
    // A keep-alive at each end of a connection, and what the simulation itself waits for.
    if (world.timeline.pending > open + 4 * nodes.length + 16) {
      wrong(`at rest, ${world.timeline.pending} timers are set for ${open} ends of connections`)
    }
  })
