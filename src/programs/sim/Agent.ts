/**
 * What the nodes of the scenarios do: each picks a neighbour and something to
 * do with it, again and again, and holds every outcome against what it may be.
 */
import { Cause, Effect, Exit, Layer, Stream } from "effect"
import * as Bytes from "../../data/Bytes.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import { wholeNode } from "../../layers/simulation/Nodes.ts"
import type { NodeInfo, SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { Ping } from "../../services/Ping.ts"
import * as Protocols from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import { Swarm } from "../../services/Swarm.ts"

const echo = "/sim/echo/1.0.0"
const stuck = "/sim/stuck/1.0.0"

/** A whole node that also echoes, and that has a handler which stops reading. */
export const layer = (node: NodeInfo) =>
  Layer.mergeAll(
    Protocols.layerHandler(echo, (stream) => Stream.run(stream.readable, stream.writable)),
    Protocols.layerHandler(stuck, (stream) => Effect.andThen(stream.read, Effect.sleep("45 seconds")))
  ).pipe(Layer.provideMerge(wholeNode(node)))

export type AgentNode = Layer.Success<ReturnType<typeof layer>>

/** What an agent may do, and how often relative to the rest. */
export interface Habits {
  readonly ping?: number | undefined
  /** Sends up to 64 KiB and compares what comes back. */
  readonly echo?: number | undefined
  /** Sends 2 MiB to a reader that has stopped. */
  readonly stuck?: number | undefined
  /** Closes its connections with the neighbour. */
  readonly disconnect?: number | undefined
}

/** Every action ends within this, whatever goes wrong. */
const patienceMs = 60_000

/** Bytes that came back were not those that were sent: the one thing that may never happen. */
const readBack = Effect.fnUntraced(function*(stream: ProtocolStream, sent: Uint8Array, wrong: (detail: string) => void) {
  let offset = 0
  while (offset < sent.length) {
    const batch = yield* stream.read
    if (batch === null) return
    if (!Bytes.equals(batch, sent.subarray(offset, offset + batch.length))) {
      wrong(`an echo differed after ${offset} bytes`)
      return
    }
    offset += batch.length
  }
})

const actions = (
  random: Prng,
  wrong: (detail: string) => void
): Readonly<Record<keyof Habits, (target: SimNode<AgentNode>) => Effect.Effect<void, unknown, AgentNode>>> => ({
  ping: (target: SimNode<AgentNode>) =>
    Effect.gen(function*() {
      const ping = yield* Ping
      yield* Stream.runDrain(ping.ping({ peer: target.peerId, addresses: target.addresses() }, { count: 1 }))
    }),
  echo: (target: SimNode<AgentNode>) =>
    Effect.gen(function*() {
      const swarm = yield* Swarm
      const bytes = random.bytes(1 + random.below(64 * 1024))
      const stream = yield* swarm.openStream({ peer: target.peerId, addresses: target.addresses() }, echo)
      yield* Effect.all([
        Effect.andThen(stream.write(bytes), stream.closeWrite),
        readBack(stream, bytes, wrong)
      ], { concurrency: 2 })
    }).pipe(Effect.scoped),
  stuck: (target: SimNode<AgentNode>) =>
    Effect.gen(function*() {
      const swarm = yield* Swarm
      const stream = yield* swarm.openStream({ peer: target.peerId, addresses: target.addresses() }, stuck)
      yield* Effect.timeoutOption(stream.write(new Uint8Array(2 * 1024 * 1024)), "20 seconds")
      yield* stream.reset("it took too long")
    }).pipe(Effect.scoped),
  disconnect: (target: SimNode<AgentNode>) => Effect.flatMap(Swarm, (swarm) => swarm.disconnect(target.peerId))
})

const pickHabit = (random: Prng, habits: Habits): keyof Habits => {
  const weighted = [
    ["ping", habits.ping ?? 0],
    ["echo", habits.echo ?? 0],
    ["stuck", habits.stuck ?? 0],
    ["disconnect", habits.disconnect ?? 0]
  ] as const
  let left = random.nextDoubleUnsafe() * weighted.reduce((sum, [, weight]) => sum + weight, 0)
  return weighted.find(([, weight]) => (left -= weight) < 0)?.[0] ?? "ping"
}

/** One node's life: it acts every `paceMs` on average, until it is interrupted. */
export const live = (
  simulation: Simulation<AgentNode>,
  node: SimNode<AgentNode>,
  neighbours: ReadonlyArray<SimNode<AgentNode>>,
  habits: Habits,
  paceMs: number
): Effect.Effect<never> => {
  const { sometimes, world } = simulation
  const random = world.random.fork(`agent of ${node.name}`)
  const wrong = (detail: string) => world.fail(`${node.name}: ${detail}`)
  const can = actions(random, wrong)

  const act = Effect.gen(function*() {
    yield* Effect.sleep(random.nextDoubleUnsafe() * 2 * paceMs)
    const target = random.pick(neighbours)
    if (target === undefined || !node.running) return
    const habit = pickHabit(random, habits)
    const began = world.timeline.now
    const exit = yield* Effect.exit(node.run(can[habit](target)))
    const took = world.timeline.now - began
    world.note(node.name, `agent.${habit}`, `${target.name} ${Exit.isSuccess(exit) ? "ok" : failure(exit.cause)}`)
    if (took > patienceMs + slackMs && !node.place.scheduler.paused) {
      wrong(`${habit} with ${target.name} took ${Math.round(took)} ms`)
    }
    if (Exit.isSuccess(exit)) {
      yield* sometimes(`${habit} succeeds`)
      return
    }
    if (Cause.hasDies(exit.cause)) wrong(`${habit} with ${target.name} died: ${String(Cause.squash(exit.cause))}`)
    yield* sometimes(`${habit} fails`)
    const error = Cause.findErrorOption(exit.cause)
    if (error._tag === "Some") yield* sometimes(`${kindOf(error.value)}`)
  })
  return Effect.forever(act)
}

/** Pauses, drifting clocks and the grace of closing add to what an action may take. */
const slackMs = 90_000

/** The innermost tag of a failure: the same in every run, unlike its message. */
const kindOf = (error: unknown): string => {
  let kind = "unknown"
  for (let inner = error; typeof inner === "object" && inner !== null && "_tag" in inner;) {
    kind = String(inner._tag)
    const next: unknown = "reason" in inner ? inner.reason : "cause" in inner ? inner.cause : undefined
    inner = next
  }
  return kind
}

const failure = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some" ? kindOf(error.value) : Cause.hasDies(cause) ? "died" : "interrupted"
}

/** After everything was mended, every node must reach every neighbour. */
export const reachAll = (
  node: SimNode<AgentNode>,
  neighbours: ReadonlyArray<SimNode<AgentNode>>
) =>
  Effect.forEach(neighbours, (target) =>
    node.run(Effect.gen(function*() {
      const ping = yield* Ping
      yield* Stream.runDrain(
        ping.ping({ peer: target.peerId, addresses: target.addresses() }, { count: 1, deadline: "5 seconds" })
      )
    })), { discard: true })

