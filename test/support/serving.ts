/** Handlers on simulated nodes, for what other nodes ask them. */
import { Effect } from "effect"
import { Protocols } from "../../src/services/Protocols.ts"
import type { ProtocolStream } from "../../src/services/ProtocolStream.ts"

interface Runs<E> {
  readonly run: <A>(effect: Effect.Effect<A, never, Protocols>) => Effect.Effect<A, E>
}

/** Handles a protocol for as long as the node runs. */
export const serving = <E>(
  node: Runs<E>,
  protocol: string,
  handler: (stream: ProtocolStream) => Effect.Effect<unknown, unknown>
) =>
  Effect.andThen(
    Effect.forkChild(
      node.run(
        Effect.scoped(
          Effect.flatMap(Protocols, ({ handle }) =>
            Effect.andThen(Effect.orDie(handle(protocol, (stream) => Effect.asVoid(handler(stream)))), Effect.never)
          )
        )
      )
    ),
    Effect.sleep(1)
  )
