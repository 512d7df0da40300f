/**
 * What the swarm asks of the connection gater. A stage that has no gater costs
 * nothing; the caller bounds each question by the deadline of its own stage. A
 * gater that dies refuses, and is logged.
 */
import * as Effect from "effect/Effect"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { type Candidate, type ConnectionGater, Denied, type Stage } from "../../services/ConnectionGater.ts"

/** The stages of a gater, as effects of the swarm. */
export interface Gate {
  readonly dialPeer: (peer: PeerId) => Effect.Effect<void, Denied>
  readonly dialAddress: (peer: PeerId | undefined, address: Multiaddr) => Effect.Effect<void, Denied>
  readonly accept: (remote: Multiaddr) => Effect.Effect<void, Denied>
  readonly secured: (candidate: Candidate) => Effect.Effect<void, Denied>
  readonly upgraded: (candidate: Candidate) => Effect.Effect<void, Denied>
}

const decide = (stage: Stage, decision: () => Effect.Effect<void, string>): Effect.Effect<void, Denied> =>
  // Suspended: what the gater throws before it gives an effect is a defect of it too.
  Effect.suspend(decision).pipe(
    Effect.mapError((because) => new Denied({ stage, because })),
    Effect.catchDefect((defect) =>
      Effect.andThen(
        Effect.logError(`the connection gater died at stage ${stage}, which refuses the connection`, defect),
        Effect.fail(new Denied({ stage, because: "the gater died; see the log" }))
      )
    )
  )

const one = <A>(stage: Stage, ask: ((about: A) => Effect.Effect<void, string>) | undefined) =>
  ask === undefined ? () => Effect.void : (about: A) => decide(stage, () => ask(about))

export const make = (gater: ConnectionGater): Gate => {
  const { dialAddress } = gater
  return {
    dialPeer: one("dialPeer", gater.dialPeer),
    dialAddress:
      dialAddress === undefined
        ? () => Effect.void
        : (peer, address) => decide("dialAddress", () => dialAddress(peer, address)),
    accept: one("accept", gater.accept),
    secured: one("secured", gater.secured),
    upgraded: one("upgraded", gater.upgraded)
  }
}
