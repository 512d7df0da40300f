/**
 * Names in front of addresses: `/dnsaddr` links are followed, and `/dns`,
 * `/dns4` and `/dns6` become addresses, so that each of these is ranked and
 * tried for itself. Where the name is spoken of above the network (TLS,
 * WebSocket, HTTP), the address keeps it.
 *
 * Specification: addressing/README.md, "dnsaddr links".
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as PeerId from "../../../data/PeerId.ts"
import type { Net } from "../../../services/Net.ts"
import { TransportFailed, UnresolvedName } from "../../../services/Swarm.ts"
import { NetworkFailure, TransportError } from "../../../services/Transport.ts"

/** How deep `/dnsaddr` records may lead to further ones. */
const maxDepth = 4
/** Lookups of one dial: who keeps a zone of links could else have any number made. */
export const maxLookups = 100

/** How many lookups a dial has left. */
export interface Lookups {
  left: number
}

/** For the names of one dial. */
export const lookups = (): Lookups => ({ left: maxLookups })

const speaksTheName = new Set<string>(["tls", "sni", "ws", "wss", "http", "https", "webtransport"])

/** The name that is to be looked up before the address can be ranked. */
export const of = (address: Multiaddr.Multiaddr): Multiaddr.DnsName | undefined => {
  const name = Multiaddr.dnsName(address)
  if (name === undefined || name.kind === "dnsaddr") return name
  return address.components.some((component) => speaksTheName.has(component.name)) ? undefined : name
}

const unresolved = (detail: string) => Effect.fail(new UnresolvedName({ detail }))

/**
 * `maxAddresses`: that a name may lead to; further ones are left out. There is no deadline: the caller sets one, and
 * says how many lookups are left.
 */
export const make = (net: Net["Service"], maxAddresses: number) => {
  const hosts = (address: Multiaddr.Multiaddr, { kind, name }: Multiaddr.DnsName) =>
    net.lookup(name, kind === "dns4" ? 4 : kind === "dns6" ? 6 : "any").pipe(
      Effect.mapError((cause) => {
        const reason = new NetworkFailure({ cause })
        return new TransportFailed({ cause: new TransportError({ address: address.toString(), reason }) })
      }),
      Effect.map((found) => {
        const rest = address.toString().slice(`/${kind}/${name}`.length)
        return found.slice(0, maxAddresses).flatMap((host) => {
          const resolved = Multiaddr.fromString(`/${host.includes(":") ? "ip6" : "ip4"}/${host}${rest}`)
          return Result.isSuccess(resolved) ? [resolved.success] : []
        })
      })
    )

  const links = Effect.fnUntraced(function* (
    name: string,
    peer: PeerId.PeerId | undefined,
    lookups: Lookups,
    depth: number
  ) {
    const texts = yield* Effect.mapError(
      net.lookupTxt(`_dnsaddr.${name}`),
      (error) => new UnresolvedName({ detail: error.message })
    )
    const found = texts
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
    if (found.length === 0) {
      return yield* unresolved(`no dnsaddr record of ${name} leads to ${peer?.toString() ?? "a peer"}`)
    }
    const resolved = yield* Effect.forEach(found, (link) => Effect.result(resolve(link, peer, lookups, depth + 1)), {
      concurrency: 8
    })
    const addresses = resolved.flatMap((result) => (Result.isSuccess(result) ? result.success : []))
    const failure = resolved.find(Result.isFailure)
    return addresses.length === 0 && failure !== undefined
      ? yield* Effect.fail(failure.failure)
      : addresses.slice(0, maxAddresses)
  })

  /** The addresses that the name leads to, of `peer` as far as they say. An address without a name stays as it is. */
  const resolve = (
    address: Multiaddr.Multiaddr,
    peer: PeerId.PeerId | undefined,
    lookups: Lookups,
    depth = 0
  ): Effect.Effect<ReadonlyArray<Multiaddr.Multiaddr>, TransportFailed | UnresolvedName> =>
    Effect.suspend(() => {
      const name = of(address)
      if (name === undefined) return Effect.succeed([address])
      if (name.kind === "dnsaddr" && depth === maxDepth)
        return unresolved(`dnsaddr links nested more than ${maxDepth} deep`)
      if (lookups.left <= 0) return unresolved(`the names of this dial take more than ${maxLookups} lookups`)
      lookups.left--
      return name.kind === "dnsaddr" ? links(name.name, peer, lookups, depth) : hosts(address, name)
    })
  return resolve
}
