/** What an agent can do with a neighbour, and how often it does each; what comes back is compared with what was sent. */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import { ConnectionManager } from "../../services/ConnectionManager.ts"
import { Identify } from "../../services/Identify.ts"
import { PeerStore } from "../../services/PeerStore.ts"
import { Ping } from "../../services/Ping.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type AgentNode, broken, digest, echo, stuck } from "./Agent.ts"
import * as Ledger from "./Ledger.ts"

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

export interface Situation {
  readonly self: SimNode<AgentNode>
  readonly random: Prng
  readonly wrong: (detail: string) => void
  /** Milliseconds that no round trip takes less than. */
  readonly leastRttMs: number
}

type Action = (target: SimNode<AgentNode>) => Effect.Effect<void, unknown, AgentNode>

export const at = (target: SimNode<AgentNode>) => ({ peer: target.peerId, addresses: target.addresses() })

const echoOnce = (target: SimNode<AgentNode>, bytes: Uint8Array, wrong: Situation["wrong"]) =>
  Effect.gen(function* () {
    const swarm = yield* Swarm
    const stream = yield* swarm.openStream(at(target), echo)
    yield* Effect.all([Effect.andThen(stream.write(bytes), stream.closeWrite), readBack(stream, bytes, wrong)], {
      concurrency: 2
    })
  }).pipe(Effect.scoped)

export const actions = ({ leastRttMs, random, self, wrong }: Situation): Readonly<Record<keyof Habits, Action>> => ({
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

export const pickHabit = (random: Prng, habits: Habits): keyof Habits => {
  const weighted = kinds.map((kind) => [kind, habits[kind] ?? 0] as const)
  let left = random.nextDoubleUnsafe() * weighted.reduce((sum, [, weight]) => sum + weight, 0)
  return weighted.find(([, weight]) => (left -= weight) < 0)?.[0] ?? "ping"
}
