/** The memory network itself: its hosts and what is open on each of them. */
import type * as Scheduler from "effect/Scheduler"
import {
  AddressInUse,
  AddressUnavailable,
  type Datagram,
  type Endpoint,
  type NetErrorReason,
  type Socket,
  SystemRefused
} from "../../services/Net.ts"
import type { Inbox } from "../internal/Inbox.ts"
import type { PipeEnd } from "../internal/Pipe.ts"

/** What a name stands for. */
export interface NameRecord {
  readonly addresses?: ReadonlyArray<string> | undefined
  readonly txt?: ReadonlyArray<string> | undefined
}

export interface NetworkOptions {
  /** The network's table of names. */
  readonly names?: Readonly<Record<string, NameRecord>> | undefined
  /** Bytes that may be under way in each direction of a connection. Default 64 KiB. */
  readonly capacity?: number | undefined
}

export interface Listener {
  readonly local: Endpoint
  readonly reusePort: boolean
  readonly accepting: Inbox<MemorySocket>
}

export type MemorySocket = Socket & PipeEnd

/** A bound socket as its host sees it. */
export interface Datagrams {
  readonly local: Endpoint
  readonly reuseAddress: boolean
  readonly groups: ReadonlySet<string>
  readonly inbox: Inbox<Datagram>
}

export const familyOf = (host: string): 4 | 6 => (host.includes(":") ? 6 : 4)

export const isLoopback = (host: string): boolean => host === "::1" || host.startsWith("127.")

/** The address for "all of mine". */
const wildcard = (family: 4 | 6): string => (family === 6 ? "::" : "0.0.0.0")

export const isAddress = (host: string): boolean =>
  (host.includes(":") ? /^[0-9a-fA-F:.]+(%.+)?$/ : /^\d+\.\d+\.\d+\.\d+$/).test(host)

/** One host: what is open on it. */
export class Host {
  readonly addresses: ReadonlyArray<string>
  readonly listeners: Array<Listener> = []
  /** Bound datagram sockets, and used to find their ports. */
  readonly datagrams: Array<Datagrams> = []
  /** Connections by both ends, so that a port is not used twice towards one remote. */
  readonly connections = new Set<string>()
  private nextPort = 49_152

  constructor(addresses: ReadonlyArray<string>) {
    this.addresses = addresses
  }

  owns(host: string): boolean {
    return isLoopback(host) || this.addresses.includes(host)
  }

  /** Where something sent to `host` leaves from. */
  sourceFor(host: string): string | undefined {
    return this.owns(host) ? host : this.addresses.find((address) => familyOf(address) === familyOf(host))
  }

  listenerAt(at: Endpoint): Listener | undefined {
    const wild = wildcard(familyOf(at.host))
    return (
      this.listeners.find(({ local }) => local.port === at.port && local.host === at.host) ??
      this.listeners.find(({ local }) => local.port === at.port && local.host === wild)
    )
  }

  /** A port that nothing uses. */
  freePort(): number {
    for (;;) {
      const port = this.nextPort
      this.nextPort = port === 65_535 ? 49_152 : port + 1
      if (
        !this.listeners.some(({ local }) => local.port === port) &&
        !this.datagrams.some(({ local }) => local.port === port)
      ) {
        return port
      }
    }
  }

  /** Why it cannot listen or bind there. */
  unusable(at: Endpoint, open: ReadonlyArray<{ readonly local: Endpoint }>): NetErrorReason | undefined {
    if (!isAddress(at.host)) return new SystemRefused({ code: "ERR_INVALID_IP_ADDRESS" })
    if (!Number.isInteger(at.port) || at.port < 0 || at.port > 65_535)
      return new SystemRefused({ code: "ERR_SOCKET_BAD_PORT" })
    const wild = wildcard(familyOf(at.host))
    if (at.host !== wild && !this.owns(at.host)) return new AddressUnavailable({ code: "EADDRNOTAVAIL" })
    const clash = open.some(
      ({ local }) =>
        local.port === at.port &&
        familyOf(local.host) === familyOf(at.host) &&
        (local.host === at.host || local.host === wild || at.host === wild)
    )
    return clash ? new AddressInUse() : undefined
  }
}

/** All that hosts share. */
export class Fabric {
  readonly dispatcher: Scheduler.SchedulerDispatcher
  readonly names: ReadonlyMap<string, NameRecord>
  readonly capacity: number | undefined
  readonly hosts = new Map<string, Host>()

  constructor(dispatcher: Scheduler.SchedulerDispatcher, options: NetworkOptions | undefined) {
    this.dispatcher = dispatcher
    this.names = new Map(Object.entries(options?.names ?? {}))
    this.capacity = options?.capacity
  }

  readonly schedule = (task: () => void): void => this.dispatcher.scheduleTask(task, 0)

  /** The host that `from` reaches at an address. */
  find(from: Host, host: string): Host | undefined {
    return from.owns(host) ? from : this.hosts.get(host)
  }
}
