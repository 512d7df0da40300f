/**
 * What a node of the scenarios sees of itself, written down and held against
 * what must be: events of connections pair up, counters agree with them, and
 * identify tells the truth of every connection.
 */
import { Context, Effect, Exit, Layer, Stream } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { Identify } from "../../services/Identify.ts"
import type { Protocols } from "../../services/Protocols.ts"
import { type Connection, Swarm, type SwarmEvent } from "../../services/Swarm.ts"

export class Ledger extends Context.Service<
  Ledger,
  {
    /** What was wrong so far; the first says most. */
    readonly problems: ReadonlyArray<string>
    /** Connections of which `Connected` was told, and not yet `Disconnected`. */
    readonly open: ReadonlySet<number>
    readonly connected: () => number
    readonly dialsFailed: () => number
    readonly inboundFailed: () => number
    readonly handlersFailed: () => number
    /** Connections whose peer was identified. */
    readonly identified: () => number
    /** Connections whose `identified` is waited for, also beyond their end. */
    readonly identifying: ReadonlySet<number>
  }
>()("effect-libp2p/sim/Ledger") {}

export interface Options {
  /** The last number of every address that the simulation gives a host may change; the rest names the node. */
  readonly networkOf: (peer: string) => string | undefined
  /** What each node speaks. */
  readonly protocols: ReadonlyArray<string>
  /** Handlers that may die. */
  readonly mayDie: ReadonlyArray<string>
}

const hostOf = (address: Multiaddr.Multiaddr): string => Multiaddr.toEndpoint(address)?.host ?? ""
const networkOfHost = (host: string): string => host.replace(/\.\d+$/, "")

export const layer = (options: Options): Layer.Layer<Ledger, never, Identify | Protocols | Swarm> =>
  Layer.effect(
    Ledger,
    Effect.gen(function* () {
      const swarm = yield* Swarm
      const identify = yield* Identify
      const problems: Array<string> = []
      const open = new Set<number>()
      const ended = new Set<number>()
      const identifying = new Set<number>()
      let connected = 0
      let dialsFailed = 0
      let inboundFailed = 0
      let handlersFailed = 0
      let identified = 0
      const wrong = (what: string) => {
        if (problems.length < 100) problems.push(what)
      }

      const take = (event: SwarmEvent) => {
        switch (event._tag) {
          case "Listening":
            return
          case "Connected":
            connected++
            if (open.has(event.connection.id) || ended.has(event.connection.id))
              wrong("Connected was told twice of a connection")
            open.add(event.connection.id)
            return
          case "Disconnected":
            if (!open.delete(event.connection.id)) wrong("Disconnected was told of a connection that was not open")
            ended.add(event.connection.id)
            if (event.end.by === "error" && !event.end.detail.startsWith("no answer to a keep-alive")) {
              wrong(`a connection ended with an error: ${event.end.detail}`)
            }
            return
          case "DialFailed":
            dialsFailed++
            return
          case "InboundFailed":
            inboundFailed++
            return
          case "HandlerFailed":
            handlersFailed++
            if (event.died && !options.mayDie.includes(event.protocol)) wrong(`the handler of ${event.protocol} died`)
        }
      }

      /** Identify is known soon after the connection, and says of it what is so. */
      const check = (connection: Connection) =>
        Effect.gen(function* () {
          identifying.add(connection.id)
          const exit = yield* Effect.exit(identify.identified(connection))
          identifying.delete(connection.id)
          const peer = connection.remotePeer.toString()
          if (Exit.isFailure(exit)) {
            const error = Exit.findErrorOption(exit)
            if (error._tag === "Some" && error.value.reason._tag === "IdentifyMalformed") wrong(error.value.message)
            return
          }
          identified++
          const { listenAddresses, observedAddress, protocols } = exit.value
          if (exit.value.peer.toString() !== peer) wrong(`identify of ${peer} names another peer`)
          if (observedAddress?.toString() !== connection.localAddress.toString()) {
            wrong(
              `identify tells ${observedAddress?.toString() ?? "nothing"} as the observed address of a connection from ${connection.localAddress.toString()}`
            )
          }
          for (const address of listenAddresses) {
            if (networkOfHost(hostOf(address)) !== options.networkOf(peer))
              wrong(`identify tells ${address.toString()} as an address of another peer`)
          }
          if (options.protocols.some((protocol) => !protocols.includes(protocol)))
            wrong("identify leaves protocols out")
        })

      yield* Effect.forkScoped(Stream.runForEach(swarm.events, (event) => Effect.sync(() => take(event))))
      const scope = yield* Effect.scope
      // Not in the scope of the connection: who waits for `identified` is told of its end.
      yield* swarm.forEachConnection((connection) => Effect.asVoid(Effect.forkIn(check(connection), scope)))
      // Nothing listens yet: the subscription is there before the first event.
      yield* Effect.sleep("1 milli")
      return Ledger.of({
        problems,
        open,
        connected: () => connected,
        dialsFailed: () => dialsFailed,
        inboundFailed: () => inboundFailed,
        handlersFailed: () => handlersFailed,
        identified: () => identified,
        identifying
      })
    })
  )
