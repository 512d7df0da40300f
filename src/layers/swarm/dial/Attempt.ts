/**
 * One attempt: from an address to an upgraded connection, within a deadline. It
 * has a scope of its own; what it opened is gone when it fails or is given up.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import { NegotiationError } from "../../../services/Protocols.ts"
import type { ConnectionReservation, LimitExceeded } from "../../../services/ResourceManager.ts"
import {
  type AttemptReason,
  DeadlineExceeded,
  NegotiationFailed,
  NoTransport,
  TransportFailed
} from "../../../services/Swarm.ts"
import type { TransportProtocol } from "../../../services/Transport.ts"
import type { Deadlines } from "../../internal/Deadlines.ts"
import type { Prepared } from "../Connection.ts"
import type { Gate } from "../Gate.ts"
import type { Upgrade } from "../Upgrade.ts"
import type { Candidate } from "./Planner.ts"

export const nowMs: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** How a wait of an attempt fails that has not ended in time. */
export const late = (deadlineMs: number) => () =>
  Effect.fail(new DeadlineExceeded({ stage: "dialing", afterMs: deadlineMs }))

/** How the handshake of two dialers ends: the one that notices resets the other. */
const mayHaveMet = (reason: AttemptReason): boolean =>
  reason._tag === "NegotiationFailed" ||
  (reason._tag === "SecurityFailed" &&
    (reason.cause.reason._tag === "BadHandshake" || reason.cause.reason._tag === "HandshakeInterrupted"))

/** The proposals of several securities that were all refused, as one. */
const neither = (first: AttemptReason, second: AttemptReason): AttemptReason =>
  first._tag === "NegotiationFailed" && second._tag === "NegotiationFailed" && isNo(second)
    ? new NegotiationFailed({
        cause: new NegotiationError({
          proposed: [...first.cause.proposed, ...second.cause.proposed],
          reason: second.cause.reason
        })
      })
    : second

/** The remote does not speak what was proposed. */
const isNo = (reason: AttemptReason): boolean =>
  reason._tag === "NegotiationFailed" && reason.cause.reason._tag === "NoCommonProtocol"

/**
 * Whether the remote lacks the security that was proposed alone. It has said so,
 * or has begun to and its refusal was lost behind a reset. One that went away
 * without a word has other reasons, and is left alone.
 */
const lacks = (reason: AttemptReason): boolean =>
  isNo(reason) ||
  (reason._tag === "NegotiationFailed" &&
    reason.cause.reason._tag === "NegotiationInterrupted" &&
    reason.cause.reason.begun)

type Offer = "preferred" | "others"

export interface Options {
  readonly transportOf: (address: Multiaddr.Multiaddr) => TransportProtocol | undefined
  readonly upgrade: Upgrade
  /** One for each connection; given back with its scope. */
  readonly reserve: () => Result.Result<ConnectionReservation, LimitExceeded>
  readonly gate: Pick<Gate, "dialAddress">
  /** More than one security is spoken here. */
  readonly hasAlternatives: boolean
  /** From the question to the gater to a usable connection. */
  readonly deadlineMs: number
  readonly deadlines: Deadlines
}

/** What an attempt has to do with the dial that it belongs to. */
export interface Around {
  readonly peer: PeerId | undefined
  /** What succeeds lives in a scope forked from it. */
  readonly parent: Scope.Scope
  /** The scopes of attempts that are open, also of one that has just succeeded. */
  readonly open: Set<Scope.Closeable>
  /** The network has connected an address. */
  readonly connected: (candidate: Candidate) => Effect.Effect<void>
}

export const make = ({ deadlineMs, deadlines, gate, hasAlternatives, reserve, transportOf, upgrade }: Options) =>
  Effect.fnUntraced(function* (candidate: Candidate, around: Around) {
    const { address } = candidate
    const expectedPeer = around.peer ?? Multiaddr.peerId(address)
    const until = (yield* nowMs) + deadlineMs
    const left = Effect.map(nowMs, (now) => Math.max(0, until - now))
    let shared = false

    const connect = Effect.fnUntraced(function* (scope: Scope.Closeable, sharePort: boolean, offer: Offer) {
      const protocol = transportOf(address)
      if (protocol === undefined) return yield* Effect.fail(new NoTransport({}))
      const reservation = yield* Effect.acquireRelease(Effect.fromResult(reserve()), ({ release }) =>
        Effect.sync(release)
      )
      const dialling = Effect.mapError(protocol.dial(address, { sharePort }), (cause) => new TransportFailed({ cause }))
      const raw = yield* deadlines.within(dialling, yield* left, late(deadlineMs))
      shared = raw.sharesPort === true
      yield* around.connected(candidate)
      const upgraded = yield* upgrade(raw, {
        role: "dialer",
        expectedPeer,
        reservation,
        offer,
        deadline: Duration.millis(yield* left)
      }).pipe(
        Effect.mapError((reason) =>
          reason._tag === "DeadlineExceeded"
            ? new DeadlineExceeded({ stage: reason.stage, afterMs: deadlineMs, network: reason.network })
            : reason
        )
      )
      const prepared: Prepared = { scope, raw, upgraded, direction: "outbound", reservation }
      return prepared
    })

    const once = (sharePort: boolean, offer: Offer): Effect.Effect<Prepared, AttemptReason> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.fork(around.parent)
          around.open.add(scope)
          return yield* restore(Scope.provide(connect(scope, sharePort, offer), scope)).pipe(
            Effect.onExit((exit) => {
              if (Exit.isSuccess(exit)) return Effect.void
              around.open.delete(scope)
              return Scope.close(scope, exit)
            })
          )
        })
      )

    yield* deadlines.within(gate.dialAddress(expectedPeer, address), deadlineMs, late(deadlineMs))
    // When two nodes dial each other at once from the ports that they listen on, TCP makes a single connection of
    // it, on which both are dialers: no handshake can succeed. Then another port is left from.
    const connected = (offer: Offer) =>
      once(true, offer).pipe(
        Effect.catch((reason) =>
          shared && mayHaveMet(reason) && !(hasAlternatives && lacks(reason)) ? once(false, offer) : Effect.fail(reason)
        )
      )
    // The preferred security is proposed with the first bytes of its handshake, without waiting for an answer: nearly
    // every remote speaks it. One that does not is dialled once more, and offered the others.
    return yield* connected("preferred").pipe(
      Effect.catch((reason) =>
        hasAlternatives && lacks(reason)
          ? Effect.mapError(connected("others"), (other) => neither(reason, other))
          : Effect.fail(reason)
      )
    )
  })
