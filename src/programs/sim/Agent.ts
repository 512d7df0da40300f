/**
 * What the nodes of the scenarios do: each picks a neighbour and something to
 * do with it, again and again, and holds every outcome against what it may be.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as ActorsLayer from "../../layers/actors/Actors.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { Crypto } from "../../services/Crypto.ts"
import type { NodeInfo, NodeServices, SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import * as ConnectionManagerLayer from "../../layers/connections/ConnectionManager.ts"
import * as IdentifyLayer from "../../layers/identify/Identify.ts"
import * as PingLayer from "../../layers/ping/Ping.ts"
import * as ProtocolsLayer from "../../layers/swarm/Protocols.ts"
import * as ResourceManagerLayer from "../../layers/resources/ResourceManager.ts"
import * as SwarmLayer from "../../layers/swarm/Swarm.ts"
import type { Actors } from "../../services/Actors.ts"
import type { StreamError } from "../../services/ByteStream.ts"
import { ConnectionManager } from "../../services/ConnectionManager.ts"
import type { ConnectionSecurity } from "../../services/ConnectionSecurity.ts"
import { Identify, protocol as identifyProtocol } from "../../services/Identify.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { Ping, protocol as pingProtocol } from "../../services/Ping.ts"
import * as Protocols from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import type { ResourceManager } from "../../services/ResourceManager.ts"
import type { StreamMuxer } from "../../services/StreamMuxer.ts"
import { DialError, Swarm } from "../../services/Swarm.ts"
import type { Transport } from "../../services/Transport.ts"
import * as Ledger from "./Ledger.ts"

export const echo = "/sim/echo/1.0.0"
export const stuck = "/sim/stuck/1.0.0"
const digest = "/sim/digest/1.0.0"
const broken = "/sim/broken/1.0.0"

/** Reads to the end, says nothing meanwhile, and answers with a hash of it all. */
const answerDigest = (stream: ProtocolStream): Effect.Effect<void, StreamError> =>
  Effect.gen(function* () {
    const hash = sha256.create()
    for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) hash.update(batch)
    // The other end has half-closed long ago when this leaves.
    yield* Effect.sleep("200 millis")
    yield* stream.write(hash.digest())
  })

/** Fails, dies, or ends in order in the middle of what it is sent, as its first byte says. */
const break_ = (stream: ProtocolStream) =>
  Effect.flatMap(stream.read, (batch) => {
    const how = batch?.[0]
    return how === 0 ? Effect.fail("a handler that fails") : how === 1 ? Effect.die("a handler that dies") : Effect.void
  })

/** Below the swarm, and beside it: what a node is made of, so that a test can put something else in its place. */
export interface Parts {
  readonly below?: Layer.Layer<Transport | ConnectionSecurity | StreamMuxer, never, NodeServices> | undefined
  readonly beside?: Layer.Layer<Actors | Protocols.Protocols | PeerStore, never, Crypto> | undefined
  readonly resources?: Layer.Layer<ResourceManager, unknown> | undefined
  readonly manager?: Layer.Layer<ConnectionManager, unknown, Actors | PeerStore | ResourceManager | Swarm> | undefined
  readonly swarm?: SwarmLayer.Options | undefined
}

export const beside = Layer.mergeAll(ActorsLayer.layer, ProtocolsLayer.layer, MemoryPeerStore.layer())

/** Hosts of a node share all but the last number of their addresses, which no other node has. */
const networks = new Map<string, string>()

/** Where the peer's addresses are; undefined for one that is none of the scenario's own. */
export const networkOf = (peer: string): string | undefined => networks.get(peer)

/** A whole node that also speaks the protocols of the scenarios, and writes down what it sees. */
export const layerOf = (of: Parts | ((node: NodeInfo) => Parts)) => (node: NodeInfo) => {
  const parts = typeof of === "function" ? of(node) : of
  networks.set(node.peerId.toString(), (node.hosts[0] ?? "").replace(/\.\d+$/, ""))
  return Libp2p.layerListen(["/ip4/0.0.0.0/tcp/4001"]).pipe(
    Layer.provideMerge(
      Ledger.layer({
        networkOf,
        protocols: [echo, stuck, digest, broken, identifyProtocol, pingProtocol],
        mayDie: [broken]
      })
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        IdentifyLayer.layer(),
        PingLayer.layer,
        parts.manager ?? ConnectionManagerLayer.layer(),
        Protocols.layerHandler(echo, (stream) => Stream.run(stream.readable, stream.writable)),
        Protocols.layerHandler(stuck, (stream) => Effect.andThen(stream.read, Effect.sleep("45 seconds"))),
        Protocols.layerHandler(digest, answerDigest),
        Protocols.layerHandler(broken, break_)
      )
    ),
    Layer.provideMerge(SwarmLayer.layer(parts.swarm)),
    Layer.provideMerge(parts.resources ?? ResourceManagerLayer.layer()),
    Layer.provideMerge(parts.beside ?? beside),
    Layer.provide(parts.below ?? Libp2p.layerTcp)
  )
}

export const layer = layerOf({})

export type AgentNode = Layer.Success<ReturnType<typeof layer>>

/** What an agent may do, and how often relative to the rest. */
export interface Habits {
  readonly ping?: number | undefined
  /** Sends up to 64 KiB and compares what comes back. */
  readonly echo?: number | undefined
  /** Sends up to 512 KiB, half-closes, and compares the hash that comes back. */
  readonly upload?: number | undefined
  /** Many small echoes at once, on one connection. */
  readonly burst?: number | undefined
  /** Sends 2 MiB to a reader that has stopped. */
  readonly stuck?: number | undefined
  /** Uses a handler that fails, dies or ends early. */
  readonly broken?: number | undefined
  /** Dials, and does not wait for the outcome. */
  readonly abandon?: number | undefined
  /** Both dial each other at once. */
  readonly together?: number | undefined
  /** Listens on another port for a while, which the neighbour dials. */
  readonly listen?: number | undefined
  /** Asks who the neighbour is. */
  readonly identify?: number | undefined
  /** Closes its connections with the neighbour. */
  readonly disconnect?: number | undefined
  /** Opens many streams and holds them for a while. */
  readonly crowd?: number | undefined
  /** Gives the neighbour a value, for a while. */
  readonly tag?: number | undefined
  /** Protects the neighbour, for as long as the node runs. */
  readonly protect?: number | undefined
}

const kinds = [
  "ping",
  "echo",
  "upload",
  "burst",
  "stuck",
  "broken",
  "abandon",
  "together",
  "listen",
  "identify",
  "disconnect",
  "crowd",
  "tag",
  "protect"
] as const satisfies ReadonlyArray<keyof Habits>

/** Every action is interrupted after this, whatever goes wrong. */
const patienceMs = 60_000
/** The same where nothing is wrong: the slowest action waits for 20 seconds, on purpose. */
const calmPatienceMs = 30_000
/** How long it may take to end then, on a clock that may be a tenth slow: closing has a grace of a second. */
export const overdueMs = patienceMs / 0.9 + 10_000

/** Failures that no fault of the network can bring about. */
const impossible = new Set([
  "WrongPeer",
  "BadIdentity",
  "MuxerViolation",
  "StreamLimit",
  "WrongEcho",
  "ProtocolNotSupported",
  "IdentifyMalformed",
  "DialSelf",
  "NoAddresses",
  "WriteClosed",
  "ProtocolTaken",
  "ActorRestarted"
])

/** Bytes that came back were not those that were sent: the one thing that may never happen. */
const readBack = Effect.fnUntraced(function* (
  stream: ProtocolStream,
  sent: Uint8Array,
  wrong: (detail: string) => void
) {
  let offset = 0
  for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) {
    if (!Bytes.equals(batch, sent.subarray(offset, offset + batch.length))) {
      wrong(`an echo differed after ${offset} bytes`)
      return
    }
    offset += batch.length
  }
  if (offset < sent.length) wrong(`an echo ended in order after ${offset} of ${sent.length} bytes`)
})

interface Situation {
  readonly self: SimNode<AgentNode>
  readonly random: Prng
  readonly wrong: (detail: string) => void
  /** Milliseconds that no round trip takes less than. */
  readonly leastRttMs: number
}

type Action = (target: SimNode<AgentNode>) => Effect.Effect<void, unknown, AgentNode>

const at = (target: SimNode<AgentNode>) => ({ peer: target.peerId, addresses: target.addresses() })

const echoOnce = (target: SimNode<AgentNode>, bytes: Uint8Array, wrong: Situation["wrong"]) =>
  Effect.gen(function* () {
    const swarm = yield* Swarm
    const stream = yield* swarm.openStream(at(target), echo)
    yield* Effect.all([Effect.andThen(stream.write(bytes), stream.closeWrite), readBack(stream, bytes, wrong)], {
      concurrency: 2
    })
  }).pipe(Effect.scoped)

const actions = ({ leastRttMs, random, self, wrong }: Situation): Readonly<Record<keyof Habits, Action>> => ({
  ping: (target) =>
    Effect.gen(function* () {
      const ping = yield* Ping
      yield* Stream.runForEach(ping.ping(at(target), { count: 1 + random.below(2) }), (ms) =>
        Effect.sync(() => {
          if (ms < leastRttMs) wrong(`a ping took ${ms} ms, less than the link takes`)
        })
      )
    }),
  echo: (target) => Effect.suspend(() => echoOnce(target, random.bytes(1 + random.below(64 * 1024)), wrong)),
  upload: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const bytes = random.bytes(1 + random.below(512 * 1024))
      const stream = yield* swarm.openStream(at(target), digest)
      yield* Effect.andThen(stream.write(bytes), stream.closeWrite)
      yield* Effect.sleep(random.below(1000))
      const parts: Array<Uint8Array> = []
      for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) parts.push(batch)
      if (!Bytes.equals(Bytes.concat(parts), sha256(bytes)))
        wrong(`an upload of ${bytes.length} bytes came to another hash`)
    }).pipe(Effect.scoped),
  burst: (target) =>
    Effect.forEach(
      Array.from({ length: 4 + random.below(28) }, () => random.bytes(1 + random.below(2048))),
      (bytes) => echoOnce(target, bytes, wrong),
      { concurrency: "unbounded", discard: true }
    ),
  stuck: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const stream = yield* swarm.openStream(at(target), stuck)
      yield* Effect.timeoutOption(stream.write(new Uint8Array(2 * 1024 * 1024)), "20 seconds")
      yield* stream.reset("it took too long")
    }).pipe(Effect.scoped),
  broken: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const stream = yield* swarm.openStream(at(target), broken)
      const how = random.below(3)
      yield* stream.write(new Uint8Array([how, 1, 2, 3]))
      const answer = yield* stream.read
      if (answer !== null) wrong("a handler that writes nothing was read from")
      else if (how < 2) wrong("the stream of a handler that failed ended in order")
    }).pipe(Effect.scoped),
  abandon: (target) =>
    Effect.suspend(() => Effect.timeoutOption(echoOnce(target, random.bytes(4096), wrong), random.below(400))),
  together: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      yield* Effect.all([swarm.dial(at(target)), target.run(Effect.flatMap(Swarm, (other) => other.dial(at(self))))], {
        concurrency: 2,
        discard: true
      })
    }),
  listen: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const addresses = yield* swarm.listen(Multiaddr.fromStringUnsafe(`/ip4/0.0.0.0/tcp/${5000 + random.below(1000)}`))
      const known = yield* swarm.listenAddresses
      if (addresses.some((address) => !known.some((other) => other.toString() === address.toString()))) {
        wrong("an address that was just listened on is not among those of the node")
      }
      yield* Effect.sleep(random.below(50))
      const dialled = target.run(Effect.flatMap(Swarm, (other) => other.dial({ peer: self.peerId, addresses })))
      yield* Effect.timeoutOption(dialled, random.below(1000))
    }).pipe(Effect.scoped),
  identify: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const identify = yield* Identify
      const info = yield* identify.identified(yield* swarm.dial(at(target)))
      if (!info.protocols.includes(echo)) wrong(`${target.name} does not say that it echoes`)
    }),
  disconnect: (target) =>
    Effect.gen(function* () {
      const { wards } = yield* Ledger.Ledger
      if (!wards.has(target.peerId.toString())) yield* (yield* Swarm).disconnect(target.peerId)
    }),
  crowd: (target) =>
    Effect.gen(function* () {
      const swarm = yield* Swarm
      for (let left = 8 + random.below(24); left > 0; left--) yield* swarm.openStream(at(target), [echo, stuck])
      yield* Effect.sleep(random.below(3000))
    }).pipe(Effect.scoped),
  tag: (target) =>
    Effect.flatMap(PeerStore, (store) =>
      store.setTag(target.peerId, `tag ${random.below(4)}`, {
        value: random.below(100),
        decay: random.pick([
          { shape: "linear", over: "1 minute" },
          { shape: "exponential", over: "10 seconds" }
        ])
      })
    ),
  protect: (target) =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      const peer = target.peerId.toString()
      if (ledger.wards.has(peer)) return
      yield* Scope.provide((yield* ConnectionManager).protect(target.peerId), ledger.scope)
      ledger.wards.add(peer)
    })
})

const pickHabit = (random: Prng, habits: Habits): keyof Habits => {
  const weighted = kinds.map((kind) => [kind, habits[kind] ?? 0] as const)
  let left = random.nextDoubleUnsafe() * weighted.reduce((sum, [, weight]) => sum + weight, 0)
  return weighted.find(([, weight]) => (left -= weight) < 0)?.[0] ?? "ping"
}

/** What an agent is at now; for the watch that nothing takes for ever. */
export interface Busy {
  readonly node: SimNode<AgentNode>
  readonly what: string
  /** Milliseconds that the node has run since it began. */
  ageMs: number
}

/** One node's life: it acts every `paceMs` on average, until it is interrupted. */
export const live = (
  simulation: Simulation<AgentNode>,
  node: SimNode<AgentNode>,
  neighbours: ReadonlyArray<SimNode<AgentNode>>,
  habits: Habits,
  paceMs: number,
  leastRttMs: number,
  /** Nothing is done to the network or the nodes: nothing may fail or take long. */
  calm: boolean,
  busy: Set<Busy>
): Effect.Effect<never> => {
  const { sometimes, world } = simulation
  const random = world.random.fork(`agent of ${node.name}`)
  const wrong = (detail: string) => world.fail(`${node.name}: ${detail}`)
  const can = actions({ self: node, random, wrong, leastRttMs })

  const act = Effect.gen(function* () {
    yield* Effect.sleep(random.nextDoubleUnsafe() * 2 * paceMs)
    const target = random.pick(neighbours)
    if (target === undefined || !node.running) return
    const habit = pickHabit(random, habits)
    const now: Busy = { node, what: `${habit} with ${target.name}`, ageMs: 0 }
    busy.add(now)
    const exit = yield* node
      .run(Effect.timeoutOption(can[habit](target), calm ? calmPatienceMs : patienceMs))
      .pipe(Effect.exit, Effect.ensuring(Effect.sync(() => busy.delete(now))))
    const late = Exit.isSuccess(exit) && exit.value._tag === "None"
    const outcome = late ? "late" : Exit.isSuccess(exit) ? "ok" : failure(exit.cause)
    world.note(node.name, `agent.${habit}`, `${target.name} ${outcome}`)
    if (calm && outcome !== "ok" && habit !== "broken") wrong(`${now.what} is ${outcome}, though nothing was wrong`)
    if (Exit.isSuccess(exit)) {
      yield* sometimes(`${habit} ${late ? "is late" : "succeeds"}`)
      return
    }
    if (Cause.hasDies(exit.cause)) wrong(`${habit} with ${target.name} died: ${String(Cause.squash(exit.cause))}`)
    yield* sometimes(`${habit} fails`)
    const error = Cause.findErrorOption(exit.cause)
    if (error._tag === "None") return
    yield* sometimes(kindOf(error.value))
    if (impossible.has(kindOf(error.value)))
      wrong(`${habit} with ${target.name} failed with ${kindOf(error.value)}: ${String(error.value)}`)
  })
  return Effect.forever(act)
}

const isOwn = ({ address }: { readonly address: string }): boolean => !address.startsWith("/ip4/172.")

/** The innermost tag of a failure: the same in every run, unlike its message. */
export const kindOf = (error: unknown): string => {
  let kind = "unknown"
  for (let inner = error; typeof inner === "object" && inner !== null && "_tag" in inner;) {
    kind = String(inner._tag)
    const next: unknown = "reason" in inner ? inner.reason : "cause" in inner ? inner.cause : undefined
    // Of a dial that failed everywhere, the first address says most; those of attackers came from a dial that was shared.
    const first = inner instanceof DialError ? (inner.attempts.find(isOwn) ?? inner.attempts[0])?.reason : undefined
    inner = first ?? next
  }
  return kind
}

const failure = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some" ? kindOf(error.value) : Cause.hasDies(cause) ? "died" : "interrupted"
}

/** After everything was mended, every node must reach every neighbour. */
export const reachAll = (node: SimNode<AgentNode>, neighbours: ReadonlyArray<SimNode<AgentNode>>) =>
  Effect.forEach(
    neighbours,
    (target) =>
      node.run(
        Effect.gen(function* () {
          const ping = yield* Ping
          yield* Stream.runDrain(ping.ping(at(target), { count: 1, deadline: "5 seconds" }))
        })
      ),
    { discard: true }
  )
