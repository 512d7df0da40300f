/** Dials over a network that does what a script says, in virtual time. */
import { Clock, Context, Duration, Effect, Exit, Fiber, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Keys from "../../../../src/data/Keys.ts"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import { Deadlines } from "../../../../src/layers/internal/Deadlines.ts"
import * as Dial from "../../../../src/layers/swarm/Dial.ts"
import type { Upgrade } from "../../../../src/layers/swarm/Upgrade.ts"
import { type ByteStream, ResetLocally, StreamError } from "../../../../src/services/ByteStream.ts"
import type { Denied } from "../../../../src/services/ConnectionGater.ts"
import { HandshakeInterrupted, SecurityError } from "../../../../src/services/ConnectionSecurity.ts"
import {
  ConnectionRefused,
  NameNotFound,
  NetError,
  type NetErrorReason,
  type Net,
  Unreachable
} from "../../../../src/services/Net.ts"
import { type ConnectionReservation, LimitExceeded } from "../../../../src/services/ResourceManager.ts"
import { DeadlineExceeded, SecurityFailed } from "../../../../src/services/Swarm.ts"
import { NetworkFailure, type RawConnection, TransportError } from "../../../../src/services/Transport.ts"

/**
 * What an address does: `connects` and says nothing after; `meets` connects two
 * dialers, unless another port is left from; `rejects` the handshake; `answers`
 * is a peer.
 */
export type Script =
  | { readonly _tag: "silent" }
  | { readonly _tag: "refuses"; readonly afterMs: number }
  | { readonly _tag: "unreachable" }
  | { readonly _tag: "connects"; readonly afterMs: number }
  | { readonly _tag: "meets"; readonly afterMs: number; readonly next: "answers" | "silent" }
  | { readonly _tag: "rejects" }
  | { readonly _tag: "answers"; readonly connectMs: number; readonly upgradeMs: number }
  | { readonly _tag: "dies" }

export const silent: Script = { _tag: "silent" }
export const refuses: Script = { _tag: "refuses", afterMs: 10 }
export const answers: Script = { _tag: "answers", connectMs: 20, upgradeMs: 40 }

const keyOf = (n: number) => Result.getOrThrow(Keys.publicKey("Ed25519", new Uint8Array(32).fill(n)))
/** A peer by number. */
export const peerOf = (n: number): PeerId.PeerId => PeerId.fromPublicKey(keyOf(n))
const publicKey = keyOf(1)

const dead: Omit<ByteStream, "ownedReads"> = {
  tryRead: () => undefined,
  readable: Effect.never,
  tryWrite: () => 0,
  writable: Effect.never,
  flush: () => {},
  closeWrite: Effect.void,
  reset: () => {}
}

/** A network that counts what is open on it, and what was dialled when. */
export class Network {
  readonly scripts: Map<string, Script>
  readonly dialled: Array<{ readonly address: string; readonly at: number }> = []
  /** Sockets that are open now, and the most that were ever being dialled. */
  open = 0
  mostOpen = 0
  reserved = 0
  /** Reservations that may be held at once. */
  limit = Number.POSITIVE_INFINITY
  names: Record<string, ReadonlyArray<string>> = {}
  denied: ((address: string) => Effect.Effect<void, Denied>) | undefined

  constructor(scripts: Record<string, Script>) {
    this.scripts = new Map(Object.entries(scripts))
  }

  /** The addresses dialled, in order. */
  get order(): ReadonlyArray<string> {
    return this.dialled.map(({ address }) => address)
  }

  private readonly fail = (address: string, reason: NetErrorReason) =>
    new TransportError({
      address,
      reason: new NetworkFailure({ cause: new NetError({ operation: "connect", endpoint: undefined, reason }) })
    })

  private readonly connect = (address: Multiaddr.Multiaddr, sharePort: boolean) =>
    Effect.gen({ self: this }, function* () {
      const text = address.toString()
      this.dialled.push({ address: text, at: Number(yield* Clock.monotonicTimeNanos) / 1e6 })
      const socket = Effect.acquireRelease(
        Effect.sync(() => {
          this.mostOpen = Math.max(this.mostOpen, ++this.open)
        }),
        () => Effect.sync(() => this.open--)
      )
      yield* socket
      const script = this.scripts.get(Multiaddr.withoutPeer(address)?.toString() ?? "") ?? { _tag: "unreachable" }
      switch (script._tag) {
        case "silent":
          return yield* Effect.never
        case "dies":
          return yield* Effect.die("a bug of the transport")
        case "unreachable":
          return yield* this.fail(text, new Unreachable({ code: "EHOSTUNREACH" }))
        case "refuses":
          yield* Effect.sleep(script.afterMs)
          return yield* this.fail(text, new ConnectionRefused({}))
        case "connects":
          yield* Effect.sleep(script.afterMs)
          break
        case "meets":
          if (!sharePort && script.next === "silent") return yield* Effect.never
          break
        case "answers":
          yield* Effect.sleep(script.connectMs)
      }
      const raw: RawConnection = {
        ...dead,
        ownedReads: true,
        localAddress: address,
        remoteAddress: address,
        sharesPort: script._tag === "meets" && sharePort
      }
      return raw
    })

  readonly upgrade: Upgrade = (raw, { deadline }) =>
    Effect.gen({ self: this }, function* () {
      const script = this.scripts.get(Multiaddr.withoutPeer(raw.remoteAddress)?.toString() ?? "")
      if (script?._tag === "connects") {
        yield* Effect.sleep(deadline)
        return yield* Effect.fail(new DeadlineExceeded({ stage: "securing", afterMs: Duration.toMillis(deadline) }))
      }
      if (raw.sharesPort === true || script?._tag === "rejects") {
        if (script?._tag === "meets") yield* Effect.sleep(script.afterMs)
        const cause = new StreamError({ reason: new ResetLocally({ because: "both are dialers" }) })
        const reason = new HandshakeInterrupted({ cause })
        return yield* Effect.fail(new SecurityFailed({ cause: new SecurityError({ protocol: "/noise", reason }) }))
      }
      yield* Effect.sleep(script?._tag === "answers" ? script.upgradeMs : 0)
      return {
        secured: {
          ...dead,
          ownedReads: true,
          remotePeer: PeerId.fromPublicKey(publicKey),
          remotePublicKey: publicKey,
          security: "/noise",
          earlyMuxer: undefined
        },
        muxed: {
          protocol: "/yamux/1.0.0",
          openStream: Effect.never,
          tryOpenStream: () => undefined,
          acceptStream: Effect.never,
          isOpen: () => true,
          streamCount: () => 0,
          ping: Effect.never,
          close: Effect.void,
          awaitClosed: Effect.never
        }
      }
    })

  private readonly reserve = (): Result.Result<ConnectionReservation, LimitExceeded> => {
    if (this.reserved >= this.limit) {
      const resource = "outbound connections"
      return Result.fail(new LimitExceeded({ scope: "system", resource, limit: this.limit, current: this.reserved }))
    }
    this.reserved++
    let held = true
    return Result.succeed({
      setPeer: () => undefined,
      openStream: () =>
        Result.fail(new LimitExceeded({ scope: "connection", resource: "streams", limit: 0, current: 0 })),
      memory: { resize: () => undefined },
      release: () => {
        if (held) this.reserved--
        held = false
      }
    })
  }

  /** The dialler of a node. */
  dialler(options?: Partial<Dial.Options>) {
    const names = this.names
    const lookup: Net["Service"]["lookup"] = (name, family) => {
      const found = (names[name] ?? []).filter((host) => family === "any" || host.includes(":") === (family === 6))
      const reason = new NameNotFound({ name })
      return found.length > 0
        ? Effect.succeed(found)
        : Effect.fail(new NetError({ operation: "lookup", endpoint: undefined, reason }))
    }
    const net: Net["Service"] = {
      connect: () => Effect.never,
      listen: () => Effect.never,
      bind: () => Effect.never,
      interfaces: Effect.succeed([]),
      lookup,
      lookupTxt: (name) => lookup(name, "any")
    }
    const transport = {
      transports: [
        {
          name: "scripted",
          canDial: (address: Multiaddr.Multiaddr) => !address.toString().startsWith("/memory"),
          canListen: () => false,
          dial: (address: Multiaddr.Multiaddr, dialOptions?: { readonly sharePort?: boolean | undefined }) =>
            this.connect(address, dialOptions?.sharePort !== false),
          listen: () => Effect.never
        }
      ]
    }
    const make = (clock: Clock.Clock) =>
      Dial.make(net, transport, this.upgrade, {
        addressDeadline: Duration.seconds(10),
        reserve: this.reserve,
        gate: { dialAddress: (_, address) => this.denied?.(address.toString()) ?? Effect.void },
        deadlines: new Deadlines(clock, Effect.runForkWith(Context.make(Clock.Clock, clock))),
        ...options
      })
    // One for all dials, on the clock of the test.
    let made: ReturnType<typeof make> | undefined
    return (...dial: Parameters<ReturnType<typeof make>>) =>
      Effect.flatMap(Clock.Clock, (clock) => (made ??= make(clock))(...dial))
  }
}

/** Addresses as the caller gave them. */
export const given = (texts: ReadonlyArray<string>): Array<Dial.Known> =>
  texts.map((text) => ({ address: Multiaddr.fromStringUnsafe(text), given: true, proven: false }))

/** Addresses as they were known from before. */
export const known = (texts: ReadonlyArray<string>): Array<Dial.Known> =>
  given(texts).map((one) => ({ ...one, given: false }))

/** Runs `effect` while virtual time goes by; gives what came of it, and how long that took. */
export const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>, upTo: Duration.Input = "2 minutes") =>
  Effect.gen(function* () {
    const began = yield* Clock.monotonicTimeNanos
    let ended = began
    const fiber = yield* Effect.forkChild(
      Effect.onExit(effect, () =>
        Effect.map(Clock.monotonicTimeNanos, (now) => {
          ended = now
        })
      ),
      { startImmediately: true }
    )
    yield* TestClock.adjust(upTo)
    const exit = yield* Fiber.await(fiber)
    return { exit, tookMs: Number(ended - began) / 1e6, value: yield* exit }
  })

/** A dial in a scope of its own, which is closed after; what it came to. */
export const dialOnce = (
  dialler: ReturnType<Network["dialler"]>,
  peer: PeerId.PeerId | undefined,
  addresses: ReadonlyArray<Dial.Known>,
  upTo?: Duration.Input
) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const { tookMs, value } = yield* elapse(dialler(peer, addresses, scope), upTo)
    return { tookMs, result: value, close: Scope.close(scope, Exit.void) }
  })
