/**
 * Whether a DHT answers others: a server has the handler of the protocol, and
 * identify tells others so; a client has none. Decides as the core says, by
 * where this node listens and who came to it.
 *
 * Part of the actor, which alone calls it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { KadMode } from "../../services/Kad.ts"
import type { Protocols } from "../../services/Protocols.ts"
import type { Connection, Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Diversity from "./core/Diversity.ts"
import * as Mode from "./core/Mode.ts"
import { Reachability } from "./core/Reachability.ts"
import * as Realm from "./Realm.ts"
import * as Server from "./Server.ts"

export interface Options {
  readonly protocol: string
  readonly addresses: Realm.Addresses
  readonly wanted: Mode.Wanted
  readonly protocols: Protocols["Service"]
  readonly swarm: Swarm["Service"]
  readonly server: Server.Server
  /** Of the run of the actor. */
  readonly scope: Scope.Scope
  /** Told when it has begun or ceased to answer. */
  readonly changed: (mode: KadMode) => void
}

export interface Serving {
  /** There is a new connection. */
  readonly met: (connection: Connection) => Effect.Effect<void>
  /** Finds out what the mode is to be now, and makes it so. */
  readonly decide: Effect.Effect<void>
}

/** The network of who is at the other end, if it is one of the public ones and no relay is between. */
const networkOf = ({ kind, remoteAddress }: Connection): string | undefined =>
  kind._tag === "Direct" ? Diversity.groups([remoteAddress])[0] : undefined

/** A client, until it is decided otherwise. */
export const make = (options: Options): Serving => {
  const { addresses: which, changed, protocol, protocols, server, swarm, wanted } = options
  const modeOptions: Mode.Options = { wanted, network: which === "public" ? "wan" : "lan" }
  let mode = Mode.start(modeOptions)
  const reachability = new Reachability()
  let serving: Scope.Closeable | undefined

  /** What is known now, of the connections that are open too. */
  const facts: Effect.Effect<Mode.Facts> = Effect.gen(function* () {
    const now = yield* monotonicMs
    for (const connection of yield* swarm.connections()) {
      const network = networkOf(connection)
      if (network === undefined) continue
      if (connection.direction === "outbound") reachability.called(network, now)
      else reachability.stayed(network, now)
    }
    const listening = yield* swarm.listenAddresses
    const own = {
      hasPublicAddress: Realm.filter("public", listening, undefined).length > 0,
      serves: serving !== undefined
    }
    return { reachability: reachability.assess(own, now) }
  })

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
    met: (connection) =>
      Effect.map(monotonicMs, (now) => {
        const network = networkOf(connection)
        if (network === undefined) return
        if (connection.direction === "outbound") reachability.called(network, now)
        else reachability.came(network, now)
      }),
    decide: Effect.gen(function* () {
      mode = Mode.next(mode, yield* facts, yield* monotonicMs, modeOptions)
      if (mode.mode === (serving === undefined ? "client" : "server")) return
      if (serving === undefined) return yield* serve
      changed("client")
      // Identify tells the others.
      yield* Scope.close(serving, Exit.void)
      serving = undefined
    })
  }
}
