/**
 * What the nodes of the scenarios do: each picks a neighbour and something to
 * do with it, again and again, and holds every outcome against what it may be.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { Ping } from "../../services/Ping.ts"
import { DialError } from "../../services/Swarm.ts"
import type { AgentNode } from "./Agent.ts"
import { actions, at, type Habits, pickHabit } from "./AgentActions.ts"

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
