/**
 * What is known of the peer of each open connection. It goes with the
 * connection object: no fiber waits for the end of a connection to forget it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Identify as Message } from "../../data/messages/Identify.ts"
import {
  IdentifyDisconnected,
  IdentifyError,
  type IdentifyErrorReason,
  type IdentifyInfo
} from "../../services/Identify.ts"
import type { Connection } from "../../services/Swarm.ts"

export interface Known {
  /** The first answer, or why there is none. */
  readonly answer: Deferred.Deferred<IdentifyInfo, IdentifyError>
  /** The latest. */
  info: IdentifyInfo | undefined
  /** Which edition of what this node says of itself the peer was told last, if any. */
  told: number | undefined
  /** Something changed before it was known whether the peer wants to be told. */
  due: boolean
  /** What the peer pushed and is not yet looked at. */
  pushed: Message | undefined
  /** When the next push may be looked at, in milliseconds of the monotonic clock. */
  nextPushAt: number
  /** By when as many could have come as were looked at, had they come no more often than they may in the long run. */
  pushesPaidAt: number
}

export const failed = (connection: Pick<Connection, "remotePeer">, reason: IdentifyErrorReason) =>
  new IdentifyError({ peer: connection.remotePeer.toString(), reason })

export class Table {
  readonly #known = new WeakMap<Connection, Known>()

  of(connection: Connection): Known {
    const held = this.#known.get(connection)
    if (held !== undefined) return held
    const fresh: Known = {
      answer: Deferred.makeUnsafe(),
      info: undefined,
      told: undefined,
      due: false,
      pushed: undefined,
      nextPushAt: 0,
      pushesPaidAt: 0
    }
    this.#known.set(connection, fresh)
    return fresh
  }

  /** Waits for the answer, or the end of the connection. */
  readonly identified = (connection: Connection): Effect.Effect<IdentifyInfo, IdentifyError> =>
    Effect.suspend(() => {
      const { answer, info } = this.of(connection)
      if (info !== undefined) return Effect.succeed(info)
      return Effect.raceFirst(
        Deferred.await(answer),
        Effect.flatMap(connection.awaitClosed, () => Effect.fail(failed(connection, new IdentifyDisconnected({}))))
      )
    })
}
