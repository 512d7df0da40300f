/**
 * Whether a DHT answers others: a server has the handler of the protocol, and
 * identify tells others so; a client has none. Decides as the core says, by
 * what is known of this node's addresses.
 *
 * Part of the actor, which alone calls it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Identify } from "../../services/Identify.ts"
import type { KadMode } from "../../services/Kad.ts"
import type { Protocols } from "../../services/Protocols.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Mode from "./core/Mode.ts"
import * as Realm from "./Realm.ts"
import * as Server from "./Server.ts"

export interface Options {
  readonly protocol: string
  readonly addresses: Realm.Addresses
  readonly wanted: Mode.Wanted
  readonly identify: Identify["Service"]
  readonly protocols: Protocols["Service"]
  readonly server: Server.Server
  /** Of the run of the actor. */
  readonly scope: Scope.Scope
  /** Told when it has begun or ceased to answer. */
  readonly changed: (mode: KadMode) => void
}

export interface Serving {
  /** Finds out what the mode is to be now, and makes it so. */
  readonly decide: Effect.Effect<void>
}

/** A client, until it is decided otherwise. */
export const make = (options: Options): Serving => {
  const { addresses: which, changed, identify, protocol, protocols, server, wanted } = options
  const modeOptions: Mode.Options = { wanted, network: which === "public" ? "wan" : "lan" }
  let mode = Mode.start(modeOptions)
  let serving: Scope.Closeable | undefined

  const serve = Effect.gen(function* () {
    const scope = yield* Scope.fork(options.scope)
    yield* protocols
      .handle(protocol, server.serve, { maxStreamsPerConnection: Server.maxStreamsPerConnection, service: "kad" })
      .pipe(
        Scope.provide(scope),
        Effect.matchEffect({
          onSuccess: () =>
            Effect.sync(() => {
              serving = scope
              changed("server")
            }),
          onFailure: (error) =>
            Effect.andThen(Effect.logError("the DHT answers nobody", error), Scope.close(scope, Exit.void))
        })
      )
  })

  return {
    decide: Effect.gen(function* () {
      const confirmed = (yield* identify.observed).filter(({ confirmed }) => confirmed)
      const facts: Mode.Facts = {
        reachability: "unknown",
        confirmedAddresses: Realm.filter(
          which,
          confirmed.map(({ address }) => address),
          undefined
        ).length
      }
      mode = Mode.next(mode, facts, yield* monotonicMs, modeOptions)
      if (mode.mode === (serving === undefined ? "client" : "server")) return
      if (serving === undefined) return yield* serve
      changed("client")
      // Identify tells the others.
      yield* Scope.close(serving, Exit.void)
      serving = undefined
    })
  }
}
