/**
 * Dialling: from the addresses of a peer to an upgraded connection, or the
 * reason why each address failed.
 *
 * Specification: addressing/README.md, "dnsaddr links".
 */
import { Clock, Duration, Effect, Exit, Queue, Result, Scope } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { Net } from "../../services/Net.ts"
import {
  type AttemptReason,
  DeadlineExceeded,
  type DialAttempt,
  NoTransport,
  TransportFailed,
  UnresolvedName
} from "../../services/Swarm.ts"
import type { RawConnection, Transport } from "../../services/Transport.ts"
import type { Prepared } from "./Connection.ts"
import type * as Upgrade from "./Upgrade.ts"

/** How deep `/dnsaddr` records may lead to further ones. */
const maxDepth = 4
/** Addresses tried in one dial, after names are resolved. */
const maxAddresses = 32
/** Addresses tried at once. */
const maxAtOnce = 8
/** How long an address is given before the next is tried beside it. */
const stagger = Duration.millis(250)

/** How the handshake of two dialers ends: the one that notices resets the other. */
const mayHaveMet = (reason: AttemptReason): boolean =>
  reason._tag === "NegotiationFailed" ||
  (reason._tag === "SecurityFailed" &&
    (reason.cause.reason._tag === "BadHandshake" || reason.cause.reason._tag === "HandshakeInterrupted"))

export interface Options {
  /** For resolving a name; and for one address, from the first packet to a usable connection. */
  readonly addressDeadline: Duration.Duration
}

/** A dial that failed on every address. */
export interface Failed {
  readonly _tag: "Failed"
  readonly attempts: ReadonlyArray<DialAttempt>
}
/** A dial that led to a connection. */
export interface Succeeded {
  readonly _tag: "Succeeded"
  readonly prepared: Prepared
}

export const make = (
  net: Net["Service"],
  transport: Transport["Service"],
  upgrade: ReturnType<typeof Upgrade.make>,
  options: Options
) => {
  /** Ends the wait for an address, or for the name in front of it. */
  const timeout = {
    duration: options.addressDeadline,
    orElse: () =>
      Effect.fail(new DeadlineExceeded({ stage: "dialing", afterMs: Duration.toMillis(options.addressDeadline) }))
  }
  const unresolved = (detail: string) => Effect.fail(new UnresolvedName({ detail }))

  /** Follows `/dnsaddr` links; other addresses stay as they are. Keeps those that can lead to `peer`. */
  const resolve = (
    address: Multiaddr.Multiaddr,
    peer: PeerId.PeerId | undefined,
    depth: number
  ): Effect.Effect<ReadonlyArray<Multiaddr.Multiaddr>, UnresolvedName> => {
    const name = Multiaddr.dnsName(address)
    if (name === undefined || name.kind !== "dnsaddr") return Effect.succeed([address])
    if (depth === maxDepth) return unresolved(`dnsaddr links nested more than ${maxDepth} deep`)
    return Effect.gen(function* () {
      const texts = yield* Effect.mapError(
        net.lookupTxt(`_dnsaddr.${name.name}`),
        (error) => new UnresolvedName({ detail: error.message })
      )
      const links = texts
        .filter((text) => text.startsWith("dnsaddr="))
        .flatMap((text) => {
          const link = Multiaddr.fromString(text.slice("dnsaddr=".length))
          return Result.isSuccess(link) ? [link.success] : []
        })
        .filter((link) => {
          const named = Multiaddr.peerId(link)
          return peer === undefined || named === undefined || PeerId.equals(named, peer)
        })
        .slice(0, maxAddresses)
      if (links.length === 0) {
        return yield* unresolved(`no dnsaddr record of ${name.name} leads to ${peer?.toString() ?? "a peer"}`)
      }
      const resolved = yield* Effect.forEach(links, (link) => Effect.result(resolve(link, peer, depth + 1)), {
        concurrency: 8
      })
      return resolved.flatMap((result) => (Result.isSuccess(result) ? result.success : [])).slice(0, maxAddresses)
    })
  }

  /**
   * One address, within its deadline. What it opened is gone when it fails.
   *
   * When two nodes dial each other at once from the ports that they listen on,
   * TCP makes a single connection of it, on which both are dialers: no handshake
   * can succeed. Then another port is left from.
   */
  const attempt = (
    address: Multiaddr.Multiaddr,
    peer: PeerId.PeerId | undefined,
    parent: Scope.Scope,
    sharePort = true
  ): Effect.Effect<Prepared, AttemptReason> => {
    let shared = false
    const first = attemptOnce(address, peer, parent, sharePort, (raw) => {
      shared = raw.sharesPort === true
    })
    return first.pipe(
      Effect.catch((reason) =>
        shared && mayHaveMet(reason) ? attempt(address, peer, parent, false) : Effect.fail(reason)
      )
    )
  }

  const attemptOnce = (
    address: Multiaddr.Multiaddr,
    peer: PeerId.PeerId | undefined,
    parent: Scope.Scope,
    sharePort: boolean,
    connected: (raw: RawConnection) => void
  ): Effect.Effect<Prepared, AttemptReason> =>
    Effect.gen(function* () {
      const protocol = transport.transports.find((candidate) => candidate.canDial(address))
      if (protocol === undefined) return yield* Effect.fail(new NoTransport({}))
      const scope = yield* Scope.fork(parent)
      return yield* Effect.gen(function* () {
        const began = yield* Clock.monotonicTimeNanos
        const raw = yield* protocol.dial(address, { sharePort }).pipe(
          Effect.mapError((cause) => new TransportFailed({ cause })),
          Effect.timeoutOrElse(timeout)
        )
        connected(raw)
        const spentMs = Number((yield* Clock.monotonicTimeNanos) - began) / 1e6
        const upgraded = yield* upgrade(raw, {
          role: "dialer",
          expectedPeer: peer ?? Multiaddr.peerId(address),
          deadline: Duration.millis(Math.max(0, Duration.toMillis(options.addressDeadline) - spentMs))
        }).pipe(
          Effect.mapError((reason) =>
            reason._tag === "DeadlineExceeded"
              ? new DeadlineExceeded({ stage: reason.stage, afterMs: Duration.toMillis(options.addressDeadline) })
              : reason
          )
        )
        const prepared: Prepared = { scope, raw, upgraded, direction: "outbound" }
        return prepared
      }).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)))
      )
    })

  /**
   * Tries the addresses, the first one first: the next is begun when one has
   * failed, or after a moment, so that one that does not answer holds up nobody.
   * The first to succeed ends the others. `addresses` may grow meanwhile. The
   * connection belongs to a scope forked from `parent`.
   */
  return Effect.fnUntraced(function* (
    peer: PeerId.PeerId | undefined,
    addresses: ReadonlyArray<Multiaddr.Multiaddr>,
    parent: Scope.Scope
  ) {
    const attempts: Array<DialAttempt> = []
    const seen = new Set<string>()
    const ready: Array<Multiaddr.Multiaddr> = []
    const results = yield* Queue.unbounded<Outcome>()
    let taken = 0
    let running = 0

    const report = (effect: Effect.Effect<Outcome>) =>
      Effect.andThen(
        Effect.sync(() => running++),
        Effect.forkScoped(Effect.flatMap(effect, (outcome) => Queue.offer(results, outcome)))
      )
    const resolveOne = (address: Multiaddr.Multiaddr): Effect.Effect<Outcome> =>
      Effect.match(Effect.timeoutOrElse(resolve(address, peer, 0), timeout), {
        onFailure: (reason) => ({ _tag: "Failed", address: address.toString(), reason }),
        onSuccess: (resolved) => ({ _tag: "Resolved", addresses: resolved })
      })
    const attemptOne = (address: Multiaddr.Multiaddr): Effect.Effect<Outcome> =>
      Effect.match(attempt(address, peer, parent), {
        onFailure: (reason) => ({ _tag: "Failed", address: address.toString(), reason }),
        onSuccess: (prepared) => ({ _tag: "Connected", prepared })
      })

    const race = Effect.gen(function* () {
      for (;;) {
        for (; taken < addresses.length && seen.size < maxAddresses; taken++) {
          const address = addresses[taken]
          if (address === undefined || seen.has(address.toString())) continue
          seen.add(address.toString())
          if (Multiaddr.dnsName(address)?.kind === "dnsaddr") yield* report(resolveOne(address))
          else ready.push(address)
        }
        const next = running < maxAtOnce ? ready.shift() : undefined
        if (next !== undefined) yield* report(attemptOne(next))
        else if (running === 0) return undefined
        const outcome = yield* Effect.timeoutOption(Queue.take(results), stagger)
        if (outcome._tag === "None") continue
        running--
        switch (outcome.value._tag) {
          case "Connected":
            return outcome.value.prepared
          case "Failed":
            attempts.push({ address: outcome.value.address, reason: outcome.value.reason })
            break
          case "Resolved":
            for (const address of outcome.value.addresses) {
              if (seen.has(address.toString()) || seen.size >= maxAddresses) continue
              seen.add(address.toString())
              ready.push(address)
            }
        }
      }
    })
    const prepared = yield* Effect.scoped(race)
    // One that succeeded a moment later is not needed.
    for (const late of yield* Queue.clear(results)) {
      if (late._tag === "Connected" && late.prepared !== prepared) yield* Scope.close(late.prepared.scope, Exit.void)
    }
    const result: Succeeded | Failed =
      prepared === undefined ? { _tag: "Failed", attempts } : { _tag: "Succeeded", prepared }
    return result
  })
}

/** What came of one address. */
type Outcome =
  | { readonly _tag: "Connected"; readonly prepared: Prepared }
  | { readonly _tag: "Resolved"; readonly addresses: ReadonlyArray<Multiaddr.Multiaddr> }
  | { readonly _tag: "Failed"; readonly address: string; readonly reason: AttemptReason }
