/**
 * Dialling: from the addresses of a peer to an upgraded connection, or the
 * reason why each address failed. Addresses are tried one after the other.
 *
 * Specification: addressing/README.md, "dnsaddr links".
 */
import { Duration, Effect, Exit, Result, Scope } from "effect"
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
import type { Transport } from "../../services/Transport.ts"
import type { Prepared } from "./Connection.ts"
import type * as Upgrade from "./Upgrade.ts"

/** How deep `/dnsaddr` records may lead to further ones. */
const maxDepth = 4
/** Addresses tried in one dial, after names are resolved. */
const maxAddresses = 32

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
    return Effect.gen(function*() {
      const texts = yield* Effect.mapError(
        net.lookupTxt(`_dnsaddr.${name.name}`),
        (error) => new UnresolvedName({ detail: error.message })
      )
      const links = texts.filter((text) => text.startsWith("dnsaddr=")).flatMap((text) => {
        const link = Multiaddr.fromString(text.slice("dnsaddr=".length))
        return Result.isSuccess(link) ? [link.success] : []
      }).filter((link) => {
        const named = Multiaddr.peerId(link)
        return peer === undefined || named === undefined || PeerId.equals(named, peer)
      }).slice(0, maxAddresses)
      if (links.length === 0) {
        return yield* unresolved(`no dnsaddr record of ${name.name} leads to ${peer?.toString() ?? "a peer"}`)
      }
      const resolved = yield* Effect.forEach(links, (link) => Effect.result(resolve(link, peer, depth + 1)), {
        concurrency: 8
      })
      return resolved.flatMap((result) => Result.isSuccess(result) ? result.success : []).slice(0, maxAddresses)
    })
  }

  /** One address, within its deadline. What it opened is gone when it fails. */
  const attempt = (
    address: Multiaddr.Multiaddr,
    peer: PeerId.PeerId | undefined,
    parent: Scope.Scope
  ): Effect.Effect<Prepared, AttemptReason> =>
    Effect.gen(function*() {
      const protocol = transport.transports.find((candidate) => candidate.canDial(address))
      if (protocol === undefined) return yield* Effect.fail(new NoTransport({}))
      const scope = yield* Scope.fork(parent)
      return yield* Effect.gen(function*() {
        const raw = yield* protocol.dial(address).pipe(
          Effect.mapError((cause) => new TransportFailed({ cause })),
          Effect.timeoutOrElse(timeout)
        )
        const upgraded = yield* upgrade(raw, {
          role: "dialer",
          expectedPeer: peer ?? Multiaddr.peerId(address),
          deadline: options.addressDeadline
        })
        const prepared: Prepared = { scope, raw, upgraded, direction: "outbound" }
        return prepared
      }).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
      )
    })

  /** Tries the addresses in turn; the connection belongs to a scope forked from `parent`. */
  return Effect.fnUntraced(function*(
    peer: PeerId.PeerId | undefined,
    addresses: ReadonlyArray<Multiaddr.Multiaddr>,
    parent: Scope.Scope
  ) {
    const attempts: Array<DialAttempt> = []
    const seen = new Set<string>()
    for (const given of addresses) {
      const resolved = yield* Effect.result(Effect.timeoutOrElse(resolve(given, peer, 0), timeout))
      if (Result.isFailure(resolved)) {
        attempts.push({ address: given.toString(), reason: resolved.failure })
        continue
      }
      for (const address of resolved.success) {
        const text = address.toString()
        if (seen.has(text) || seen.size >= maxAddresses) continue
        seen.add(text)
        const result = yield* Effect.result(attempt(address, peer, parent))
        if (Result.isSuccess(result)) {
          const succeeded: Succeeded = { _tag: "Succeeded", prepared: result.success }
          return succeeded
        }
        attempts.push({ address: text, reason: result.failure })
      }
    }
    const failed: Failed = { _tag: "Failed", attempts }
    return failed
  })
}
