/**
 * ConnectionManager: keeps the number of connections between two watermarks.
 * Above the high one it closes those worth least until the low one is reached.
 * What a connection is worth is the sum of its peer's tags (see PeerStore);
 * young and protected connections are spared.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerId } from "../data/PeerId.ts"

export interface Status {
  readonly connections: number
  readonly lowWater: number
  readonly highWater: number
  /** Peers that are protected or kept alive, by text. */
  readonly protected: ReadonlyArray<string>
  /** Connections that were closed to get back to the low watermark, since the start. */
  readonly trimmed: number
}

export class ConnectionManager extends Context.Service<
  ConnectionManager,
  {
    /** Spares the peer's connections until the scope closes. */
    readonly protect: (peer: PeerId) => Effect.Effect<void, never, Scope.Scope>
    /** Protects, and dials again with growing pauses whenever the peer is not connected, until the scope closes. */
    readonly keepAlive: (peer: PeerId) => Effect.Effect<void, never, Scope.Scope>
    readonly isProtected: (peer: PeerId) => boolean
    /** Trims now, whatever the watermark: down to the low one. The number of connections closed. */
    readonly trim: Effect.Effect<number>
    readonly status: Effect.Effect<Status>
  }
>()("effect-libp2p/ConnectionManager") {}
