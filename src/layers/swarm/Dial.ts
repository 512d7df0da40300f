/**
 * Dialling: from the addresses of a peer to an upgraded connection, or the
 * reason why each address failed.
 *
 * ```
 * addresses ─> names looked up ─> back-off, black holes ─> planner ─> one fiber an attempt
 *                                                             ^             │ connected, failed
 *                                                             └─────────────┘
 * ```
 *
 * The planner decides, and this runs what it decided: an attempt is a fiber and a
 * scope, which end when the attempt fails, loses or is given up.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { Net } from "../../services/Net.ts"
import type { ConnectionReservation, LimitExceeded } from "../../services/ResourceManager.ts"
import {
  AllFailed,
  AnotherPeer,
  type AttemptReason,
  BackingOff,
  BlackHoled,
  type DialAttempt,
  DialTimeout,
  NoTransport
} from "../../services/Swarm.ts"
import type { Transport, TransportProtocol } from "../../services/Transport.ts"
import type { Deadlines } from "../internal/Deadlines.ts"
import { Outcomes } from "../internal/Outcomes.ts"
import type { Prepared } from "./Connection.ts"
import * as Attempt from "./dial/Attempt.ts"
import * as BackOff from "./dial/BackOff.ts"
import * as BlackHole from "./dial/BlackHole.ts"
import * as Facts from "./dial/Facts.ts"
import * as Names from "./dial/Names.ts"
import * as Planner from "./dial/Planner.ts"
import { Slots } from "./dial/Slots.ts"
import * as Verdict from "./dial/Verdict.ts"
import type { Gate } from "./Gate.ts"
import type { Upgrade } from "./Upgrade.ts"
import { none as noWatch, type Watch } from "./Watch.ts"

/** Names of one dial that are looked up at once. */
const namesAtOnce = 8

export interface Options {
  /** For resolving a name; and for one address, from the first packet to a usable connection. */
  readonly addressDeadline: Duration.Duration
  /** For a whole dial. Default 1 minute. */
  readonly dialTimeout?: Duration.Duration | undefined
  /** Addresses that the whole node tries at once; dials take turns for them. Default 256. */
  readonly maxDialing?: number | undefined
  readonly planner?: Partial<Planner.Limits> | undefined
  /** One for each attempt; given back with the scope of the attempt. */
  readonly reserve: () => Result.Result<ConnectionReservation, LimitExceeded>
  /** More than one security is spoken here: a remote that lacks the preferred one is dialled again with the others. */
  readonly hasAlternatives?: boolean | undefined
  readonly gate: Pick<Gate, "dialAddress">
  readonly deadlines: Deadlines
  /** Is told of each attempt. */
  readonly watch?: Pick<Watch, "attempt"> | undefined
}

/** An address to dial, and how it is known. */
export interface Known {
  readonly address: Multiaddr.Multiaddr
  /** Asked for by the caller: tried whatever came of it before. */
  readonly given: boolean
  /** A connection was made by it before. */
  readonly proven: boolean
}

/** A dial that failed. */
export interface Failed {
  readonly _tag: "Failed"
  readonly reason: AllFailed | DialTimeout
  /** In the order in which they were tried, those not tried at the end. */
  readonly attempts: ReadonlyArray<DialAttempt>
  /** Addresses that were dialled. */
  readonly tried: number
}
/** A dial that led to a connection. */
export interface Succeeded {
  readonly _tag: "Succeeded"
  readonly prepared: Prepared
  readonly tried: number
}

/** What wakes a dial. */
type Outcome =
  | { readonly _tag: "Connected"; readonly key: string; readonly prepared: Prepared }
  | { readonly _tag: "Failed"; readonly key: string; readonly reason: AttemptReason }
  | { readonly _tag: "Resolved"; readonly from: Known; readonly addresses: ReadonlyArray<Multiaddr.Multiaddr> }
  | { readonly _tag: "Unresolved"; readonly from: Known; readonly reason: AttemptReason }
  | { readonly _tag: "Died"; readonly cause: Cause.Cause<never> }
  | { readonly _tag: "Slot" }

export const make = (net: Net["Service"], transport: Transport["Service"], upgrade: Upgrade, options: Options) => {
  const limits: Planner.Limits = { ...Planner.defaults, ...options.planner }
  const { deadlines } = options
  const addressDeadlineMs = Duration.toMillis(options.addressDeadline)
  const dialTimeoutMs = Duration.toMillis(options.dialTimeout ?? Duration.minutes(1))
  const late = Attempt.late(addressDeadlineMs)
  const resolve = Names.make(net, limits.addresses)
  const backOff = new BackOff.BackOff()
  const blackHoles = new BlackHole.BlackHoles()
  const slots = new Slots(options.maxDialing ?? 256)
  const transportOf = (address: Multiaddr.Multiaddr): TransportProtocol | undefined =>
    transport.transports.find((candidate) => candidate.canDial(address))

  const watched = (options.watch ?? noWatch).attempt
  const attempt = Attempt.make({
    transportOf,
    upgrade,
    reserve: options.reserve,
    gate: options.gate,
    hasAlternatives: options.hasAlternatives === true,
    deadlines,
    deadlineMs: addressDeadlineMs
  })

  /** The addresses that are worth a try, into the planner. */
  const intake = (peer: PeerId.PeerId | undefined, planner: Planner.Planner) => {
    const blackHole = blackHoles.dial()
    return ({ address, given, proven }: Known, now: number): void => {
      const key = Multiaddr.withoutPeer(address)?.toString() ?? ""
      const skip = (reason: AttemptReason) => planner.skip(key, address.toString(), reason)
      if (key === "" || transportOf(address) === undefined) return skip(new NoTransport({}))
      const facts = Facts.of(address)
      if (!given) {
        const retryInMs = peer === undefined ? 0 : backOff.remaining(BackOff.keyOf(peer.toString(), key), now)
        if (retryInMs > 0) return skip(new BackingOff({ retryInMs: Math.ceil(retryInMs) }))
        const kind = blackHole(facts)
        if (kind !== undefined) return skip(new BlackHoled({ kind }))
      }
      planner.add({ key, address, facts, given, proven })
    }
  }

  /**
   * Tries the addresses as the planner says; the first to succeed ends the
   * others. `addresses` may grow meanwhile. The connection belongs to a scope
   * forked from `parent`; everything else that was opened is gone at the end,
   * also when the dial is interrupted.
   */
  return Effect.fnUntraced(function* (
    peer: PeerId.PeerId | undefined,
    addresses: ReadonlyArray<Known>,
    parent: Scope.Scope
  ) {
    const planner = new Planner.Planner(limits)
    const take = intake(peer, planner)
    const outcomes = new Outcomes<Outcome>(deadlines)
    const open = new Set<Scope.Closeable>()
    /** Names that wait to be looked up, and those that ever did. */
    const names: Array<Known> = []
    const namesSeen = new Set<string>()
    const lookups = Names.lookups()
    let resolving = 0
    let taken = 0
    /** A slot that was got for the next attempt. */
    let slot = false
    let withdraw: (() => void) | undefined

    const around: Attempt.Around = {
      peer,
      parent,
      open,
      connected: (candidate) =>
        Effect.map(Attempt.nowMs, (now) => {
          planner.connected(candidate.key, now)
          blackHoles.record(candidate.facts, true)
        })
    }

    const learn = (known: Known, now: number): void => {
      const { address } = known
      const text = address.toString()
      const named = Multiaddr.peerId(address)
      if (peer !== undefined && named !== undefined && !PeerId.equals(named, peer)) {
        planner.skip(text, text, new AnotherPeer({ named: named.toString() }))
      } else if (Names.of(address) === undefined) {
        take(known, now)
      } else if (!namesSeen.has(text) && namesSeen.size < limits.addresses) {
        namesSeen.add(text)
        names.push(known)
      }
    }

    /** Runs it in a fiber of the dial; that it ended is never missed. */
    const report = (effect: Effect.Effect<Outcome>) =>
      Effect.map(Effect.forkScoped(effect, { startImmediately: true }), (fiber) =>
        fiber.addObserver((exit) =>
          outcomes.put(Exit.isSuccess(exit) ? exit.value : { _tag: "Died", cause: exit.cause })
        )
      )
    const resolveOne = (from: Known): Effect.Effect<Outcome> =>
      Effect.match(deadlines.within(resolve(from.address, peer, lookups), addressDeadlineMs, late), {
        onFailure: (reason): Outcome => ({ _tag: "Unresolved", from, reason }),
        onSuccess: (addresses): Outcome => ({ _tag: "Resolved", from, addresses })
      })
    const attemptOne = (candidate: Planner.Candidate): Effect.Effect<Outcome> =>
      Effect.match(watched(candidate.address, attempt(candidate, around)), {
        onFailure: (reason): Outcome => ({ _tag: "Failed", key: candidate.key, reason }),
        onSuccess: (prepared): Outcome => ({ _tag: "Connected", key: candidate.key, prepared })
      })

    /** A slot of the node for the next attempt; without one, the dial is woken when it has one. */
    const hasSlot = (): boolean => {
      if (slot) return true
      if (withdraw === undefined) {
        slot = slots.take()
        if (!slot) {
          withdraw = slots.ask(() => {
            slot = true
            withdraw = undefined
            outcomes.put({ _tag: "Slot" })
          })
        }
      }
      return slot
    }
    const returnSlot = (): void => {
      withdraw?.()
      withdraw = undefined
      if (slot) slots.release()
      slot = false
    }

    const backOffKey = (key: string): string | undefined =>
      peer === undefined ? undefined : BackOff.keyOf(peer.toString(), key)

    const failed = Effect.fnUntraced(function* (key: string, reason: AttemptReason, now: number) {
      const facts = planner.tried.find(({ candidate }) => candidate.key === key)?.candidate.facts
      planner.failed(key, reason)
      slots.release()
      if (facts !== undefined && Verdict.noAnswer(reason)) blackHoles.record(facts, false)
      const ofPeer = backOffKey(key)
      if (ofPeer !== undefined && Verdict.failedItself(reason)) backOff.failed(ofPeer, now, yield* Random.next)
    })

    const race = Effect.gen(function* () {
      for (;;) {
        const now = yield* Attempt.nowMs
        for (; taken < addresses.length; taken++) {
          const known = addresses[taken]
          if (known !== undefined) learn(known, now)
        }
        for (; resolving < namesAtOnce; resolving++) {
          const next = names.shift()
          if (next === undefined) break
          yield* report(resolveOne(next))
        }
        const step = planner.next(now)
        if (step._tag === "Begin" && hasSlot()) {
          slot = false
          planner.begin(step.candidate, now)
          yield* report(attemptOne(step.candidate))
          continue
        }
        if (step._tag !== "Begin") returnSlot()
        if (step._tag === "Done" && resolving === 0) return undefined
        // Also looks now and then for addresses that others have added.
        const until = step._tag === "Wait" ? (step.until ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
        const patience = Math.ceil(Math.min(limits.publicDelayMs, until - now))
        const outcome = yield* outcomes.next(patience)
        switch (outcome?._tag) {
          case undefined:
            break
          case "Connected": {
            const ofPeer = backOffKey(outcome.key)
            if (ofPeer !== undefined) backOff.succeeded(ofPeer)
            return outcome.prepared
          }
          case "Failed":
            yield* failed(outcome.key, outcome.reason, yield* Attempt.nowMs)
            break
          case "Resolved": {
            resolving--
            const at = yield* Attempt.nowMs
            for (const address of outcome.addresses) take({ ...outcome.from, address }, at)
            break
          }
          case "Unresolved": {
            resolving--
            const text = outcome.from.address.toString()
            planner.skip(text, text, outcome.reason)
            break
          }
          case "Died":
            return yield* Effect.failCause(outcome.cause)
          case "Slot":
            break
        }
      }
    })

    /** After the fibers: closes what did not win, and gives back what the node lent. */
    const cleanUp = Effect.fnUntraced(function* (winner: Prepared | undefined) {
      const now = yield* Attempt.nowMs
      returnSlot()
      for (let i = planner.inFlight; i > 0; i--) slots.release()
      // One that lost although it had the time to connect was not reached either.
      for (const { begunAt, candidate, connectedAt, reason } of planner.tried) {
        if (reason !== undefined || connectedAt !== undefined || now - begunAt < limits.publicDelayMs) continue
        blackHoles.record(candidate.facts, false)
      }
      yield* Effect.forEach(open, (scope) => (scope === winner?.scope ? Effect.void : Scope.close(scope, Exit.void)), {
        concurrency: "unbounded",
        discard: true
      })
    })

    return yield* deadlines
      .within(Effect.asSome(Effect.scoped(race)), dialTimeoutMs, () => Effect.succeedNone)
      .pipe(
        Effect.onExit((exit) => cleanUp(Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined)),
        Effect.flatMap((ended) =>
          Effect.map(Attempt.nowMs, (now): Succeeded | Failed => {
            const tried = planner.tried.length
            if (Option.isNone(ended)) {
              const reason = new DialTimeout({ afterMs: dialTimeoutMs })
              return { _tag: "Failed", reason, attempts: planner.attemptsAt(now), tried }
            }
            return ended.value === undefined
              ? { _tag: "Failed", reason: new AllFailed({}), attempts: planner.attempts(), tried }
              : { _tag: "Succeeded", prepared: ended.value, tried }
          })
        )
      )
  })
}
