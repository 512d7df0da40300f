/**
 * The sockets of multicast DNS: one for each link, joined to its group there.
 * Each hears what any of them is sent; what came from elsewhere than its link is
 * dropped before anybody looks at it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Datagram, DatagramSocket, Endpoint, Net, NetError } from "../../services/Net.ts"
import * as Links from "./core/Links.ts"

/** The groups of multicast DNS. */
const groups = { 4: "224.0.0.251", 6: "ff02::fb" } as const
const wildcards = { 4: "0.0.0.0", 6: "::" } as const
/** RFC 6762, section 11: it tells those who look that a packet was not routed. */
const ttl = 255
/** Packets of a link that may wait. */
const backlog = 512

interface Open {
  readonly link: Links.Link
  readonly socket: DatagramSocket
  readonly scope: Scope.Closeable
  /** It hears nothing any more. */
  hasFailed: boolean
}

export interface Options {
  readonly net: Net["Service"]
  readonly port: number
  /** Told of each packet that came from its link. Plain code, and quick. */
  readonly receive: (link: string, datagram: Datagram) => void
}

export interface Sockets {
  /** Opens and closes what the links need, and opens anew what has failed; gives those that are open. A link that cannot be joined is left out. */
  readonly set: (links: ReadonlyArray<Links.Link>) => Effect.Effect<ReadonlyArray<Links.Link>>
  /** Sends to all on a link, or to one. A packet that does not get away is one that was lost. */
  readonly send: (link: string, bytes: Uint8Array, to?: Endpoint) => Effect.Effect<void>
}

/** The sockets live as long as the scope. */
export const make = ({ net, port, receive }: Options): Effect.Effect<Sockets, never, Scope.Scope> =>
  Effect.gen(function* () {
    const parent = yield* Effect.scope
    const open = new Map<string, Open>()

    const join = (link: Links.Link): Effect.Effect<DatagramSocket, NetError, Scope.Scope> =>
      Effect.gen(function* () {
        const { family, via } = link
        const socket = yield* net.bind({ host: wildcards[family], port, reuseAddress: true, backlog })
        yield* socket.join(groups[family], via)
        yield* socket.setMulticast({ ttl, loopback: true, via })
        return socket
      })

    const listen = (opened: Open) =>
      Effect.flatMap(opened.socket.receive, (datagram) =>
        Effect.sync(() => {
          if (Links.isFrom(opened.link, datagram.from.host)) receive(opened.link.id, datagram)
        })
      ).pipe(
        // Nobody waits for its turn: the scheduler ends one that lasts.
        Effect.forever({ disableYield: true }),
        Effect.catch((error) => {
          opened.hasFailed = true
          return Effect.logDebug(`mdns ${opened.link.id}: ${error.message}`)
        })
      )

    const shut = (id: string, { scope }: Open) =>
      Effect.suspend(() => {
        open.delete(id)
        return Scope.close(scope, Exit.void)
      })

    const start = Effect.fnUntraced(function* (link: Links.Link) {
      const scope = yield* Scope.fork(parent)
      const joined = yield* Effect.exit(Scope.provide(join(link), scope))
      if (Exit.isFailure(joined)) {
        yield* Effect.logDebug(`mdns: ${link.id} cannot be joined`, joined.cause)
        return yield* Scope.close(scope, Exit.void)
      }
      const opened: Open = { link, socket: joined.value, scope, hasFailed: false }
      open.set(link.id, opened)
      yield* Effect.forkIn(listen(opened), scope)
    })

    return {
      set: (links) =>
        Effect.gen(function* () {
          const wanted = new Map(links.map((link) => [link.id, link]))
          for (const [id, opened] of open) {
            const link = wanted.get(id)
            if (link === undefined || opened.hasFailed || !Links.isSame(link, opened.link)) yield* shut(id, opened)
          }
          for (const link of links) if (!open.has(link.id)) yield* start(link)
          return links.filter(({ id }) => open.has(id))
        }).pipe(Effect.uninterruptible),
      send: (id, bytes, one) =>
        Effect.suspend(() => {
          const found = open.get(id)
          if (found === undefined) return Effect.void
          const to = one ?? { host: groups[found.link.family], port }
          return found.socket
            .send(bytes, to)
            .pipe(Effect.catch((error) => Effect.logDebug(`mdns ${id}: ${error.message}`)))
        })
    }
  })
