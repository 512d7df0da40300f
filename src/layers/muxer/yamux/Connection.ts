/** A Yamux connection: its session on the driver that all muxers share. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ByteStream } from "../../../services/ByteStream.ts"
import type { MemoryAccount } from "../../../services/ResourceManager.ts"
import type { MuxedConnection } from "../../../services/StreamMuxer.ts"
import type { Deadlines } from "../../internal/Deadlines.ts"
import * as Driver from "../internal/Driver.ts"
import type { Limits } from "./Limits.ts"
import { Session } from "./Session.ts"

export { protocol } from "./Session.ts"

export interface ConnectionOptions {
  readonly client: boolean
  readonly limits: Limits
  readonly closeGraceMs: number
  readonly deadlines: Deadlines
  readonly memory?: MemoryAccount | undefined
}

/** Multiplexes `connection` until the scope closes; the connection ends with it. */
export const make = (
  connection: ByteStream,
  { client, limits, closeGraceMs, deadlines, memory }: ConnectionOptions
): Effect.Effect<MuxedConnection, never, Scope.Scope> =>
  Driver.make(connection, {
    session: (nowMs) => new Session(client, limits, nowMs),
    maxUnsent: limits.outputHighWater * 2,
    pingTimeoutMs: limits.keepAliveTimeoutMs,
    closeGraceMs,
    deadlines,
    memory
  })
