/**
 * Upgrading: a raw connection becomes a secured and multiplexed one. On each
 * step the dialer proposes and the listener answers; the gater and the limits
 * are asked as soon as there is something to ask about.
 *
 * ```
 * gater: accept (inbound) → security → gater: secured → limits of the peer → muxer → gater: upgraded
 * ```
 *
 * Specification: connections/README.md, "Connection upgrade";
 * connections/inlined-muxer-negotiation.md.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ByteStream, OutsideNetwork } from "../../services/ByteStream.ts"
import type { Candidate } from "../../services/ConnectionGater.ts"
import type { ConnectionSecurity, Role, SecuredConnection, SecurityError } from "../../services/ConnectionSecurity.ts"
import {
  MalformedNegotiation,
  NegotiationError,
  type NegotiationErrorReason,
  NegotiationInterrupted,
  NoCommonProtocol
} from "../../services/Protocols.ts"
import type { ConnectionReservation } from "../../services/ResourceManager.ts"
import type { MuxedConnection, StreamMuxer } from "../../services/StreamMuxer.ts"
import { type AttemptReason, DeadlineExceeded, NegotiationFailed, SecurityFailed } from "../../services/Swarm.ts"
import type { RawConnection } from "../../services/Transport.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { Deadlines } from "../internal/Deadlines.ts"
import type { Gate } from "./Gate.ts"
import { answer, type Negotiated, propose } from "./negotiation/NegotiatedStream.ts"

export interface Upgraded {
  readonly secured: SecuredConnection
  readonly muxed: MuxedConnection
}

export interface UpgradeOptions {
  readonly role: Role
  readonly expectedPeer: PeerId | undefined
  /** For the whole upgrade, the gater's time to think included. */
  readonly deadline: Duration.Duration
  /**
   * What a dialer offers: the security that it prefers, which costs no round
   * trip, or the others, to a remote that does not speak that one. Default:
   * all, which costs a round trip if there are several.
   */
  readonly offer?: "preferred" | "others" | undefined
  /** What the connection counts for. It is told the peer, and given back by whoever made it. */
  readonly reservation: ConnectionReservation
}

/** Upgrades; the connection ends with the scope. */
export type Upgrade = (
  raw: RawConnection,
  options: UpgradeOptions
) => Effect.Effect<Upgraded, AttemptReason, Scope.Scope>

/**
 * What a failed agreement on a security means in a private network: who does not begin as all begin is not in it. Nor,
 * most likely, is a remote that was dialled and ends the connection at our first bytes.
 */
const seenFrom = (network: string, role: Role, reason: NegotiationErrorReason): NegotiationErrorReason => {
  if (reason._tag === "MalformedNegotiation" && !reason.begun) {
    return new OutsideNetwork({ network, detail: reason.detail })
  }
  if (reason._tag !== "NegotiationInterrupted" || reason.begun) return reason
  const cause = reason.cause.reason
  if (cause._tag === "OutsideNetwork") return cause
  return role === "dialer"
    ? new OutsideNetwork({ network, detail: `or it refuses this node: ${reason.cause.message}` })
    : reason
}

export const make = (
  security: ConnectionSecurity["Service"],
  muxer: StreamMuxer["Service"],
  gate: Gate,
  deadlines: Deadlines,
  /** The private network that raw connections come from, if any. */
  network?: string
): Upgrade => {
  const securities = new Map(security.protocols.map((protocol) => [protocol.id, protocol]))
  const muxers = new Map(muxer.protocols.map((protocol) => [protocol.id, protocol]))
  const securityIds = [...securities.keys()]
  const offers = { preferred: securityIds.slice(0, 1), others: securityIds.slice(1) }
  const muxerIds = [...muxers.keys()]

  /** Agrees on one of `ids`, as this end's role has it. */
  const agree = (role: Role, stream: ByteStream, ids: ReadonlyArray<string>) =>
    role === "dialer"
      ? propose(stream, ids)
      : answer(
          stream,
          (id) => ids.includes(id),
          () => ids
        )

  /** The failure to agree on a security. */
  const unagreed = (role: Role, proposed: ReadonlyArray<string>, reason: NegotiationErrorReason): NegotiationFailed =>
    new NegotiationFailed({
      cause: new NegotiationError({
        proposed,
        reason: network === undefined ? reason : seenFrom(network, role, reason)
      })
    })

  /** Proposed alone, it was refused, or never answered: the handshake that was begun says less than that. */
  const notAgreed = (
    role: Role,
    { answer, protocol }: Negotiated,
    cause: SecurityError
  ): NegotiationFailed | SecurityFailed => {
    if (cause.reason._tag !== "HandshakeInterrupted") return new SecurityFailed({ cause })
    const stream = cause.reason.cause
    const reason =
      stream.reason._tag === "ProtocolNotSupported"
        ? new NoCommonProtocol({})
        : stream.reason._tag === "ProtocolViolation"
          ? new MalformedNegotiation({ detail: stream.reason.detail, begun: answer() !== "foreign" })
          : new NegotiationInterrupted({ cause: stream, begun: answer() === "begun" })
    return unagreed(role, [protocol], reason)
  }

  return (raw, { role, expectedPeer, deadline, offer, reservation }) =>
    Effect.suspend(() => {
      let stage: DeadlineExceeded["stage"] = "securing"
      let hasAgreed = () => false
      const upgrading = Effect.gen(function* () {
        if (role === "listener") yield* gate.accept(raw.remoteAddress)
        const agreed = yield* Effect.mapError(
          agree(role, raw, offer === undefined ? securityIds : offers[offer]),
          ({ proposed, reason }) => unagreed(role, proposed, reason)
        )
        hasAgreed = () => agreed.answer() === "agreed"
        const protocol = securities.get(agreed.protocol)
        if (protocol === undefined) return yield* Effect.die(`agreed on an unknown security ${agreed.protocol}`)
        const secured = yield* Effect.mapError(
          protocol.secure(agreed.stream, { role, expectedPeer, muxers: muxerIds }),
          (cause) => (agreed.answer() === "agreed" ? new SecurityFailed({ cause }) : notAgreed(role, agreed, cause))
        )
        const candidate: Candidate = {
          direction: role === "dialer" ? "outbound" : "inbound",
          remotePeer: secured.remotePeer,
          remoteAddress: raw.remoteAddress
        }
        yield* gate.secured(candidate)
        const refusal = reservation.setPeer(secured.remotePeer)
        if (refusal !== undefined) return yield* Effect.fail(refusal)
        stage = "multiplexing"
        const multiplexing =
          secured.earlyMuxer === undefined
            ? yield* Effect.mapError(agree(role, secured, muxerIds), (cause) => new NegotiationFailed({ cause }))
            : { protocol: secured.earlyMuxer, stream: secured }
        const muxerProtocol = muxers.get(multiplexing.protocol)
        if (muxerProtocol === undefined) return yield* Effect.die(`agreed on an unknown muxer ${multiplexing.protocol}`)
        const muxed = yield* muxerProtocol.make(multiplexing.stream, { role, memory: reservation.memory })
        yield* gate.upgraded(candidate)
        const upgraded: Upgraded = { secured, muxed }
        return upgraded
      })
      const afterMs = Duration.toMillis(deadline)
      return deadlines.within(upgrading, afterMs, () =>
        // Some remotes without the key wait for more, since to them what we say is the beginning of a long message.
        Effect.fail(new DeadlineExceeded({ stage, afterMs, network: hasAgreed() ? undefined : network }))
      )
    })
}
