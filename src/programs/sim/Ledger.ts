/**
 * What a node of the scenarios sees of itself, written down and held against
 * what must be: events of connections pair up, counters agree with them,
 * identify tells the truth of every connection with a peer of the scenario, and
 * no connection with a protected peer is closed to make room.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { Identify } from "../../services/Identify.ts"
import type { Protocols } from "../../services/Protocols.ts"
import type { LimitExceeded } from "../../services/ResourceManager.ts"
import { type AttemptReason, type Connection, Swarm, type SwarmEvent } from "../../services/Swarm.ts"

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
    /** Peers that are protected, and whose connections are not closed by this node's agent. */
    readonly wards: Set<string>
    /** Connections are closed on purpose from now on. */
    readonly closing: () => void
    /** For what lasts as long as the node runs. */
    readonly scope: Scope.Scope
    /** What was met since this was last asked, for `sometimes`. */
    readonly met: () => ReadonlyArray<string>
  }
>()("effect-libp2p/sim/Ledger") {}

export interface Options {
  /**
   * The last number of every address that the simulation gives a host may change; the rest names the node.
   * Undefined for a peer that is none of the scenario's own, and may say and do what it likes.
   */
  readonly networkOf: (peer: string) => string | undefined
  /** What each node speaks. */
  readonly protocols: ReadonlyArray<string>
  /** Handlers that may die. */
  readonly mayDie: ReadonlyArray<string>
}

const hostOf = (address: Multiaddr.Multiaddr): string => Multiaddr.toEndpoint(address)?.host ?? ""
const networkOfHost = (host: string): string => host.replace(/\.\d+$/, "")

/** A scope or resource as a kind, without the names of what is in it: `peer 12D3… ` is `peer`. */
export const kindOfLimit = ({ resource, scope }: Pick<LimitExceeded, "resource" | "scope">): string =>
  `${scope
    .replace(" (ended)", "")
    .replace(/^(\w+)( .*?)?( of peer .*)?$/, (_, kind: string, __, of?: string) =>
      of === undefined || kind === "connection" ? kind : `${kind} of peer`
    )} ${resource}`

/** Why a connection could not be made, as a kind. */
const kindOfRefusal = (reason: AttemptReason): string => {
  switch (reason._tag) {
    case "LimitExceeded":
      return `limit of ${kindOfLimit(reason)}`
    case "NegotiationFailed":
    case "SecurityFailed":
      return reason.cause.reason._tag
    case "DeadlineExceeded":
      return `deadline of ${reason.stage}`
    default:
      return reason._tag
  }
}

/** Connections with a protected peer that end within so long of each other were one to the other's place. */
const besideMs = 5000

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
      const wards = new Set<string>()
      const scope = yield* Effect.scope
      const clock = yield* Clock.Clock
      const nowMs = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      /** Open connections by peer, and when one was last closed. */
      const byPeer = new Map<string, { open: number; endedAt: number }>()
      let met = new Set<string>()
      let closing = false
      let connected = 0
      let dialsFailed = 0
      let inboundFailed = 0
      let handlersFailed = 0
      let identified = 0
      const wrong = (what: string) => {
        if (problems.length < 100) problems.push(what)
      }

      const isOurs = (peer: string) => options.networkOf(peer) !== undefined
      const meeting = (peer: string) => {
        const known = byPeer.get(peer) ?? { open: 0, endedAt: Number.NEGATIVE_INFINITY }
        byPeer.set(peer, known)
        return known
      }

      const closed = ({ connection, end }: Extract<SwarmEvent, { readonly _tag: "Disconnected" }>) => {
        const peer = connection.remotePeer.toString()
        const known = meeting(peer)
        const now = nowMs()
        known.open--
        if (end.by === "local" && end.detail === "closed" && !closing && wards.has(peer)) {
          // One of two that were dialled at once is closed for the other.
          if (known.open === 0 && now - known.endedAt > besideMs) wrong("the connection of a protected peer was closed")
        }
        known.endedAt = now
        if (known.open === 0 && !wards.has(peer)) byPeer.delete(peer)
        if (end.by !== "error") return
        met.add(`ended: ${end.detail.replaceAll(/12D3\w+|\d+/g, "#").slice(0, 80)}`)
        // A remote that is gone is noticed by its silence, or because it takes nothing.
        if (isOurs(peer) && !/^no answer to a keep-alive|^nothing of what was sent was taken/.test(end.detail)) {
          wrong(`a connection ended with an error: ${end.detail}`)
        }
      }

      const take = (event: SwarmEvent) => {
        switch (event._tag) {
          case "Listening":
            return
          case "Connected":
            connected++
            meeting(event.connection.remotePeer.toString()).open++
            if (open.has(event.connection.id) || ended.has(event.connection.id))
              wrong("Connected was told twice of a connection")
            open.add(event.connection.id)
            return
          case "Disconnected":
            if (!open.delete(event.connection.id)) wrong("Disconnected was told of a connection that was not open")
            ended.add(event.connection.id)
            closed(event)
            return
          case "DialFailed":
            dialsFailed++
            for (const { reason } of event.error.attempts) met.add(`dial: ${kindOfRefusal(reason)}`)
            return
          case "InboundFailed":
            inboundFailed++
            met.add(`inbound: ${kindOfRefusal(event.reason)}`)
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
            if (error._tag !== "Some") return
            met.add(`identify: ${error.value.reason._tag}`)
            if (isOurs(peer) && error.value.reason._tag === "IdentifyMalformed") wrong(error.value.message)
            return
          }
          identified++
          if (exit.value.peer.toString() !== peer) wrong(`identify of ${peer} names another peer`)
          if (!isOurs(peer)) return
          const { listenAddresses, observedAddress, protocols } = exit.value
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
        identifying,
        wards,
        closing: () => {
          closing = true
        },
        scope,
        met: () => {
          const all = [...met]
          met = new Set()
          return all
        }
      })
    })
  )
