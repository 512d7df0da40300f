/** The lives of hostile nodes, and of honest ones who have to do with them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { protocol as pingProtocol } from "../../services/Ping.ts"
import { Swarm } from "../../services/Swarm.ts"
import type { AgentNode } from "./Agent.ts"
import { type Busy, kindOf } from "./AgentLife.ts"
import * as Attacker from "./Attacker.ts"
import * as Attacks from "./Attacks.ts"

export interface Hostility {
  /** Mean time between two attacks of one attacker. */
  readonly everyMs: number
  /** An attack that goes on is ended after so long at most. */
  readonly lastsMs: number
  /** Mean time between two visits of an honest node to a hostile one. */
  readonly visitEveryMs: number
  /** Only these attacks. */
  readonly only?: ReadonlyArray<string> | undefined
}

/** How many of so many nodes are hostile: a quarter to a half, as the seed has it. */
export const shareOf = (random: Prng, nodes: number): number => {
  const least = Math.max(1, nodes >> 2)
  return Math.min(nodes - 2, least + random.below((nodes >> 1) - least + 1))
}

const exponential = (random: Prng, mean: number): number => -Math.log(1 - random.nextDoubleUnsafe()) * mean

/** Attacks honest nodes again and again, several at a time, until it is interrupted; then all that it opened is gone. */
const assail = (
  simulation: Simulation<AgentNode>,
  attacker: Attacker.Attacker,
  { everyMs, lastsMs, only = Attacks.names }: Hostility
) =>
  Effect.gen(function* () {
    const { nodes, sometimes, world } = simulation
    const { random } = attacker
    let number = 0
    for (;;) {
      yield* Effect.sleep(exponential(random, everyMs))
      const target = random.pick(nodes)
      const name = random.pick(only)
      const attack = name === undefined ? undefined : Attacks.attacks[name]
      if (target === undefined || name === undefined || attack === undefined) continue
      const situation: Attacks.Situation = {
        attacker,
        target,
        host: random.pick(attacker.hosts),
        persona: random.pick(attacker.personas),
        random: random.fork(`attack ${number++}`)
      }
      const patience = 1000 + random.below(lastsMs)
      const whole = Effect.timeoutOption(Effect.scoped(attack(situation)), patience).pipe(
        Effect.exit,
        Effect.tap((exit) => {
          const outcome = Exit.isSuccess(exit)
            ? Option.isSome(exit.value)
              ? "ended"
              : "went on"
            : Cause.hasDies(exit.cause)
              ? `died: ${String(Cause.squash(exit.cause))}`
              : kindOf(Option.getOrUndefined(Cause.findErrorOption(exit.cause)))
          world.note(attacker.name, "attack", `${target.name} ${name}: ${outcome}`)
          if (outcome.startsWith("died")) world.fail(`${attacker.name}: ${name} ${outcome}`)
          return sometimes(`attack: ${name}`)
        })
      )
      yield* Effect.forkChild(whole)
    }
  })

/** Listens, also after its host has crashed. */
const receive = ({ sometimes }: Simulation<AgentNode>, attacker: Attacker.Attacker) =>
  Effect.forever(
    Effect.andThen(
      Effect.ignore(Effect.scoped(Attacks.receive(attacker, (what) => sometimes(what)))),
      Effect.sleep("1 second")
    )
  )

/** Dials attackers, whoever answers: it must end, and end with the peer that was dialled or a typed error. */
const visit = (
  simulation: Simulation<AgentNode>,
  index: number,
  attackers: ReadonlyArray<Attacker.Attacker>,
  { visitEveryMs }: Hostility,
  busy: Set<Busy>
) =>
  Effect.gen(function* () {
    const { nodes, sometimes, world } = simulation
    const node = nodes[index] ?? nodes[0]
    const random = world.random.fork(`visits of ${node.name}`)
    for (;;) {
      yield* Effect.sleep(exponential(random, visitEveryMs))
      const attacker = random.pick(attackers)
      if (attacker === undefined || !node.running) continue
      // Sometimes as a peer that it has, but is not there; sometimes as an honest one, whose address this is not.
      const other = random.pick(nodes)
      const claimed =
        random.chance(0.15) && other !== undefined && other !== node ? other : random.pick(attacker.personas)
      const address = Attacker.addressOf(attacker)
      const now: Busy = { node, what: `visit to ${attacker.name}`, ageMs: 0 }
      busy.add(now)
      const visiting = Effect.gen(function* () {
        const swarm = yield* Swarm
        const connection = yield* swarm.dial({ peer: claimed.peerId, addresses: [address] })
        if (connection.remotePeer.toString() !== claimed.peerId.toString())
          world.fail(`${node.name} dialled ${claimed.peerId.toString()} and has ${connection.remotePeer.toString()}`)
        if (other === claimed && Multiaddr.equals(connection.remoteAddress, address))
          world.fail(`${node.name} takes ${attacker.name} for ${other.name}`)
        const stream = yield* connection.openStream(pingProtocol)
        yield* stream.write(random.bytes(32))
        yield* stream.read
      })
      const exit = yield* node
        .run(Effect.timeoutOption(Effect.scoped(visiting), 20_000))
        .pipe(Effect.exit, Effect.ensuring(Effect.sync(() => busy.delete(now))))
      const error = Exit.isSuccess(exit) ? Option.none() : Cause.findErrorOption(exit.cause)
      if (Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        world.fail(`${node.name}: a visit died: ${String(Cause.squash(exit.cause))}`)
      const outcome = Exit.isSuccess(exit)
        ? Option.isSome(exit.value)
          ? "ends"
          : "goes on"
        : kindOf(Option.getOrUndefined(error))
      world.note(node.name, "agent.visit", `${attacker.name} ${outcome}`)
      yield* sometimes(`visit: ${outcome}`)
    }
  })

/** All of it, until it is interrupted. */
export const rage = (simulation: Simulation<AgentNode>, count: number, hostility: Hostility, busy: Set<Busy>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const attackers = yield* Effect.forEach(Array.from({ length: count }), (_, i) => Attacker.make(simulation, i))
      const lives = attackers.flatMap((attacker) => [
        assail(simulation, attacker, hostility),
        receive(simulation, attacker)
      ])
      const visits = simulation.nodes.map((_, index) => visit(simulation, index, attackers, hostility, busy))
      yield* Effect.all([...lives, ...visits], { concurrency: "unbounded", discard: true })
    })
  )
