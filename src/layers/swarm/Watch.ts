/**
 * What the swarm tells those who watch it: its meter, and spans. Around what it
 * does, not inside it; and nothing at all when nobody watches.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { ConnectionSecurity, Role } from "../../services/ConnectionSecurity.ts"
import { Meter, none as noMeter, type Traffic } from "../../services/Meter.ts"
import type { StreamMuxer } from "../../services/StreamMuxer.ts"
import type { AttemptReason, DialErrorReason } from "../../services/Swarm.ts"
import * as Tracing from "../../services/Tracing.ts"
import type { RawConnection } from "../../services/Transport.ts"
import type { Upgrade } from "./Upgrade.ts"

export interface Watch {
  readonly meter: Meter
  readonly trace: Tracing.Trace
  /** The span of the caller, for what another fiber does on its behalf. */
  readonly span: Effect.Effect<Tracer.AnySpan | undefined>
  /** Tells when `effect` has ended, and after how many milliseconds. */
  readonly timed: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    done: (exit: Exit.Exit<A, E>, ms: number) => void
  ) => Effect.Effect<A, E, R>
  readonly security: (of: ConnectionSecurity["Service"]) => ConnectionSecurity["Service"]
  readonly muxer: (of: StreamMuxer["Service"]) => StreamMuxer["Service"]
  readonly upgrade: (upgrade: Upgrade) => Upgrade
  /** A dial of a peer; `parent` is the span of whoever asked for it first. */
  readonly dial: <R>(
    peer: PeerId | undefined,
    parent: Tracer.AnySpan | undefined,
    dial: Effect.Effect<DialResult & R>
  ) => Effect.Effect<DialResult & R>
  readonly attempt: <A>(address: Multiaddr, attempt: Effect.Effect<A, AttemptReason>) => Effect.Effect<A, AttemptReason>
}

/** What a watcher wants to know of a dial. */
type DialResult =
  | { readonly _tag: "Succeeded"; readonly tried: number }
  | { readonly _tag: "Failed"; readonly tried: number; readonly reason: DialErrorReason }

const directionOf = (role: Role) => (role === "dialer" ? "outbound" : "inbound")

/** The tag of the error; a defect is one too, and an interruption is how a deadline ends it. */
export const failure = (exit: Exit.Exit<unknown, { readonly _tag: string }>): string | undefined =>
  Exit.isSuccess(exit)
    ? undefined
    : Option.match(Exit.findErrorOption(exit), { onNone: () => "Interrupted", onSome: ({ _tag }) => _tag })

/** A dial that failed is a value, not a failure: its span would look well. */
const tellFailure = (result: DialResult): Effect.Effect<void> =>
  result._tag === "Failed" ? Effect.annotateCurrentSpan("error.type", result.reason._tag) : Effect.void

/** The same connection; what it carries is added up, once a batch. */
const counted = (raw: RawConnection, traffic: Traffic): RawConnection => ({
  get localAddress() {
    return raw.localAddress
  },
  remoteAddress: raw.remoteAddress,
  sharesPort: raw.sharesPort,
  ownedReads: raw.ownedReads,
  tryRead: () => {
    const batch = raw.tryRead()
    if (batch !== undefined && batch !== null) traffic.received += batch.length
    return batch
  },
  tryWrite: (batch) => {
    const taken = raw.tryWrite(batch)
    traffic.sent += taken
    return taken
  },
  copiesWrites: raw.copiesWrites,
  whenReadable: (wake) => raw.whenReadable?.(wake) ?? false,
  flush: () => raw.flush(),
  reset: (because) => raw.reset(because),
  // Effects that may change with the state of the connection.
  get readable() {
    return raw.readable
  },
  get writable() {
    return raw.writable
  },
  get closeWrite() {
    return raw.closeWrite
  }
})

/** Nobody watches. */
export const none: Watch = {
  meter: noMeter,
  trace: (_name, _attributes, effect) => effect,
  span: Effect.succeed(undefined),
  timed: (effect) => effect,
  security: (of) => of,
  muxer: (of) => of,
  upgrade: (upgrade) => upgrade,
  dial: (_peer, _parent, dial) => dial,
  attempt: (_address, attempt) => attempt
}

/** For the meter and the tracer of the context that the swarm is built in. */
export const make: Effect.Effect<Watch> = Effect.gen(function* () {
  const meter = yield* Meter
  const trace = yield* Tracing.make
  const clock = yield* Clock.Clock
  if (meter === noMeter && !Tracing.isTraced(trace)) return none
  const nowMs = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const timed: Watch["timed"] = (effect, done) =>
    Effect.suspend(() => {
      const began = nowMs()
      return Effect.onExit(effect, (exit) => Effect.sync(() => done(exit, nowMs() - began)))
    })

  const upgrade =
    (inner: Upgrade): Upgrade =>
    (raw, options) => {
      const attributes = () => ({
        "libp2p.address": raw.remoteAddress.toString(),
        "libp2p.dir": directionOf(options.role)
      })
      const upgrading = timed(inner(counted(raw, meter.traffic), options), (exit, ms) => {
        if (Exit.isFailure(exit)) return
        const { muxed, secured } = exit.value
        meter.upgraded(raw.remoteAddress, secured.security, muxed.protocol, secured.earlyMuxer !== undefined, ms)
      })
      // A child of its dial; one that comes in starts a trace.
      return trace("libp2p.upgrade", attributes, upgrading, options.role === "listener" ? null : undefined)
    }

  return {
    meter,
    trace,
    span: Tracing.isTraced(trace) ? Tracing.current : none.span,
    timed,
    security: ({ protocols }) => ({
      protocols: protocols.map((protocol) => ({
        id: protocol.id,
        secure: (raw, options) =>
          trace(
            "libp2p.secure",
            () => ({ "libp2p.security": protocol.id }),
            timed(protocol.secure(raw, options), (exit, ms) =>
              meter.secured(protocol.id, options.role, failure(exit), ms)
            )
          )
      }))
    }),
    muxer: ({ protocols }) => ({
      protocols: protocols.map((protocol) => ({
        id: protocol.id,
        make: (connection, options) =>
          trace(
            "libp2p.multiplex",
            () => ({ "libp2p.muxer": protocol.id }),
            timed(protocol.make(connection, options), (exit, ms) =>
              meter.multiplexed(protocol.id, options.role, failure(exit), ms)
            )
          )
      }))
    }),
    upgrade,
    dial: (peer, parent, dial) =>
      trace(
        "libp2p.dial",
        () => ({ "libp2p.peer": peer?.toString() ?? "" }),
        timed(Effect.tap(dial, tellFailure), (exit, ms) => {
          // Given up by all who waited for it: that is neither a success nor a failure.
          if (Exit.isFailure(exit)) return
          const { value } = exit
          meter.dialed(value._tag === "Failed" ? value.reason._tag : undefined, value.tried, ms)
        }),
        parent ?? null
      ),
    attempt: (address, attempt) =>
      trace(
        "libp2p.attempt",
        () => ({ "libp2p.address": address.toString() }),
        timed(attempt, (exit, ms) => {
          const error = Exit.findErrorOption(exit)
          // One that another address has overtaken did not fail.
          if (Exit.isSuccess(exit) || Option.isSome(error)) meter.attempted(address, Option.getOrUndefined(error), ms)
        })
      )
  } satisfies Watch
})
