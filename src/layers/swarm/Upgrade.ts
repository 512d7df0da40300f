/**
 * Upgrading: a raw connection becomes a secured and multiplexed one. On each
 * step the dialer proposes and the listener answers.
 *
 * Specification: connections/README.md, "Connection upgrade";
 * connections/inlined-muxer-negotiation.md.
 */
import { Duration, Effect, type Scope } from "effect"
import type { ByteStream } from "../../services/ByteStream.ts"
import type { ConnectionSecurity, Role, SecuredConnection } from "../../services/ConnectionSecurity.ts"
import type { MuxedConnection, StreamMuxer } from "../../services/StreamMuxer.ts"
import { type AttemptReason, DeadlineExceeded, NegotiationFailed, SecurityFailed } from "../../services/Swarm.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { answer, propose } from "./negotiation/NegotiatedStream.ts"

export interface Upgraded {
  readonly secured: SecuredConnection
  readonly muxed: MuxedConnection
}

export interface UpgradeOptions {
  readonly role: Role
  readonly expectedPeer: PeerId | undefined
  /** For the whole upgrade. */
  readonly deadline: Duration.Duration
}

export const make = (
  security: ConnectionSecurity["Service"],
  muxer: StreamMuxer["Service"]
): ((raw: ByteStream, options: UpgradeOptions) => Effect.Effect<Upgraded, AttemptReason, Scope.Scope>) => {
  const securities = new Map(security.protocols.map((protocol) => [protocol.id, protocol]))
  const muxers = new Map(muxer.protocols.map((protocol) => [protocol.id, protocol]))
  const securityIds = [...securities.keys()]
  const muxerIds = [...muxers.keys()]

  /** Agrees on one of `ids`, as this end's role has it. */
  const agree = (role: Role, stream: ByteStream, ids: ReadonlyArray<string>) =>
    Effect.mapError(
      role === "dialer"
        ? propose(stream, ids)
        : answer(
            stream,
            (id) => ids.includes(id),
            () => ids
          ),
      (cause) => new NegotiationFailed({ cause })
    )

  return (raw, { role, expectedPeer, deadline }) =>
    Effect.suspend(() => {
      let stage: DeadlineExceeded["stage"] = "securing"
      return Effect.gen(function* () {
        const agreed = yield* agree(role, raw, securityIds)
        const protocol = securities.get(agreed.protocol)
        if (protocol === undefined) return yield* Effect.die(`agreed on an unknown security ${agreed.protocol}`)
        const secured = yield* Effect.mapError(
          protocol.secure(agreed.stream, { role, expectedPeer, muxers: muxerIds }),
          (cause) => new SecurityFailed({ cause })
        )
        stage = "multiplexing"
        const multiplexing =
          secured.earlyMuxer === undefined
            ? yield* agree(role, secured, muxerIds)
            : { protocol: secured.earlyMuxer, stream: secured }
        const muxerProtocol = muxers.get(multiplexing.protocol)
        if (muxerProtocol === undefined) return yield* Effect.die(`agreed on an unknown muxer ${multiplexing.protocol}`)
        const muxed = yield* muxerProtocol.make(multiplexing.stream, { role })
        const upgraded: Upgraded = { secured, muxed }
        return upgraded
      }).pipe(
        Effect.timeoutOrElse({
          duration: deadline,
          orElse: () => Effect.fail(new DeadlineExceeded({ stage, afterMs: Duration.toMillis(deadline) }))
        })
      )
    })
}
