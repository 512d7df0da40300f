/**
 * The TCP transport: `/ip4/…/tcp/…`, `/ip6/…/tcp/…`, and names (`/dns`, `/dns4`,
 * `/dns6`) in front of `/tcp`, on whatever Net there is.
 *
 * A dial leaves from a port that this transport listens on, if there is one of
 * the same family, so that a NAT maps both alike and the remote observes an
 * address that others can dial. Where the system refuses, another port is used.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { StreamError } from "../../services/ByteStream.ts"
import { type Endpoint, Net, type NetError, type Socket } from "../../services/Net.ts"
import {
  type DialOptions,
  layerPrefer,
  NetworkFailure,
  type RawConnection,
  type Transport,
  TransportError,
  type TransportListener,
  type TransportProtocol,
  UnsupportedAddress
} from "../../services/Transport.ts"

export interface Options {
  /** Dial from a port that is listened on. Default true. */
  readonly portReuse?: boolean | undefined
  /** Connections that may wait to be accepted; further ones are reset. Default: that of Net. */
  readonly backlog?: number | undefined
}

type Family = 4 | 6

/** Where an address leads: an endpoint, or a name to look up. */
type Target =
  | { readonly _tag: "Ip"; readonly endpoint: Endpoint }
  | { readonly _tag: "Name"; readonly name: string; readonly family: Family | "any"; readonly port: number }

const targetOf = (address: Multiaddr.Multiaddr): Target | undefined => {
  const endpoint = Multiaddr.toEndpoint(address)
  if (endpoint !== undefined) {
    return endpoint.transport === "tcp"
      ? { _tag: "Ip", endpoint: { host: endpoint.host, port: endpoint.port } }
      : undefined
  }
  const dns = Multiaddr.dnsName(address)
  const [, tcp, peer, ...rest] = address.components
  if (dns === undefined || dns.kind === "dnsaddr" || tcp?.name !== "tcp" || rest.length > 0) return undefined
  if (peer !== undefined && peer.name !== "p2p") return undefined
  const family = dns.kind === "dns4" ? 4 : dns.kind === "dns6" ? 6 : "any"
  return { _tag: "Name", name: dns.name, family, port: Number(tcp.value) }
}

const portOf = (target: Target): number => (target._tag === "Ip" ? target.endpoint.port : target.port)

const familyOf = (host: string): Family => (host.includes(":") ? 6 : 4)
const isUnspecified = (host: string): boolean => host === "0.0.0.0" || host === "::"
const isLoopback = (host: string): boolean => host === "::1" || host.startsWith("127.")
/** It means nothing without the zone of the machine that dials it. */
const isLinkLocal6 = (host: string): boolean => /^fe[89ab]/i.test(host)

/** Net gives only literal addresses; one that is not a multiaddr is a defect of its layer. */
const toAddress = (endpoint: Endpoint): Multiaddr.Multiaddr =>
  Result.getOrThrow(Multiaddr.fromEndpoint(endpoint.host, endpoint.port, "tcp"))

/** A socket with its addresses. Kept for as long as the connection: what few ask for is made when they do. */
class TcpConnection implements RawConnection {
  readonly ownedReads: boolean
  readonly copiesWrites: boolean | undefined
  readonly remoteAddress: Multiaddr.Multiaddr
  readonly sharesPort: boolean
  private readonly socket: Socket
  private local: Multiaddr.Multiaddr | undefined

  constructor(socket: Socket, sharesPort: boolean) {
    this.socket = socket
    this.ownedReads = socket.ownedReads
    this.copiesWrites = socket.copiesWrites
    this.remoteAddress = toAddress(socket.remote)
    this.sharesPort = sharesPort
  }

  get localAddress(): Multiaddr.Multiaddr {
    return (this.local ??= toAddress(this.socket.local))
  }

  tryRead(): Uint8Array | null | undefined {
    return this.socket.tryRead()
  }

  get readable(): Effect.Effect<void, StreamError> {
    return this.socket.readable
  }

  whenReadable(wake: () => void): boolean {
    return this.socket.whenReadable?.(wake) ?? false
  }

  tryWrite(bytes: Uint8Array): number {
    return this.socket.tryWrite(bytes)
  }

  get writable(): Effect.Effect<void, StreamError> {
    return this.socket.writable
  }

  flush(): void {
    this.socket.flush()
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return this.socket.closeWrite
  }

  reset(because: string): void {
    this.socket.reset(because)
  }
}

const unsupported = (address: Multiaddr.Multiaddr, detail: string): TransportError =>
  new TransportError({ address: address.toString(), reason: new UnsupportedAddress({ detail }) })

const refused =
  (address: Multiaddr.Multiaddr) =>
  (cause: NetError): TransportError =>
    new TransportError({ address: address.toString(), reason: new NetworkFailure({ cause }) })

/** Makes the transport with options; see {@link make}. */
export const makeWith = (options: Options): Effect.Effect<TransportProtocol, never, Net> =>
  Effect.map(Net, (net) => {
    const portReuse = options.portReuse !== false
    const listening = new Set<Endpoint>()

    /** The listened port to leave from: of a listener that could reach the remote. */
    const localPort = (remote: string): number | undefined => {
      for (const local of listening) {
        if (familyOf(local.host) !== familyOf(remote)) continue
        if (isUnspecified(local.host) || isLoopback(local.host) === isLoopback(remote)) return local.port
      }
      return undefined
    }

    const connect = (endpoint: Endpoint, share: boolean): Effect.Effect<RawConnection, NetError, Scope.Scope> =>
      Effect.suspend(() => {
        const from = share ? localPort(endpoint.host) : undefined
        return Effect.map(
          net.connect({ ...endpoint, localPort: from }),
          (socket) => new TcpConnection(socket, from !== undefined && socket.local.port === from)
        )
      })

    /** Each address of the name in turn; the last refusal is the one told. */
    const connectAny = (
      hosts: ReadonlyArray<string>,
      port: number,
      share: boolean
    ): Effect.Effect<RawConnection, NetError, Scope.Scope> => {
      const [host = "", ...rest] = hosts
      const first = connect({ host, port }, share)
      return rest.length === 0 ? first : first.pipe(Effect.catch(() => connectAny(rest, port, share)))
    }

    const dial = (
      address: Multiaddr.Multiaddr,
      options?: DialOptions
    ): Effect.Effect<RawConnection, TransportError, Scope.Scope> =>
      Effect.suspend(() => {
        const target = targetOf(address)
        if (target === undefined) return Effect.fail(unsupported(address, "not an IP address or name with a TCP port"))
        if (portOf(target) === 0) return Effect.fail(unsupported(address, "port 0 cannot be dialled"))
        const share = options?.sharePort !== false
        const connected =
          target._tag === "Ip"
            ? connect(target.endpoint, share)
            : Effect.flatMap(net.lookup(target.name, target.family), (hosts) => connectAny(hosts, target.port, share))
        return Effect.mapError(connected, refused(address))
      })

    const addressesOf = (local: Endpoint): Effect.Effect<ReadonlyArray<Multiaddr.Multiaddr>> => {
      if (!isUnspecified(local.host)) return Effect.sync(() => [toAddress(local)])
      const family = familyOf(local.host)
      return Effect.map(net.interfaces, (all) =>
        all
          .filter((one) => one.family === family && !isLinkLocal6(one.host))
          .map((one) => toAddress({ host: one.host, port: local.port }))
      )
    }

    const listen = (address: Multiaddr.Multiaddr): Effect.Effect<TransportListener, TransportError, Scope.Scope> =>
      Effect.gen(function* () {
        const target = targetOf(address)
        if (target?._tag !== "Ip") return yield* unsupported(address, "not an IP address with a TCP port")
        const listener = yield* Effect.mapError(
          net.listen({ ...target.endpoint, reusePort: portReuse, backlog: options.backlog }),
          refused(address)
        )
        if (portReuse) {
          yield* Effect.acquireRelease(
            Effect.sync(() => listening.add(listener.local)),
            () => Effect.sync(() => listening.delete(listener.local))
          )
        }
        return {
          addresses: addressesOf(listener.local),
          accept: Effect.mapBoth(listener.accept, {
            onFailure: refused(address),
            onSuccess: (socket): RawConnection => new TcpConnection(socket, false)
          })
        }
      })

    return {
      name: "tcp",
      canDial: (address) => {
        const target = targetOf(address)
        return target !== undefined && portOf(target) !== 0
      },
      canListen: (address) => targetOf(address)?._tag === "Ip",
      dial,
      listen
    }
  })

/** The TCP transport. Combine it with others by `Transport.layerPrefer([Tcp.make, …])`. */
export const make: Effect.Effect<TransportProtocol, never, Net> = makeWith({})

/** TCP alone. */
export const layer: Layer.Layer<Transport, never, Net> = layerPrefer([make])
