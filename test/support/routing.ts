/** Routings that do as a test says, and networks in memory for the suites. */
import { Effect, Result, Stream } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import * as MemoryRouting from "../../src/layers/routing/MemoryRouting.ts"
import {
  NotFound,
  type RoutedPeer,
  RoutingError,
  type RoutingErrorReason,
  RoutingFailed
} from "../../src/services/PeerRouting.ts"
import type { Routing } from "../../src/services/Routing.ts"

export const peerOf = (n: number): PeerId.PeerId =>
  Result.getOrThrow(
    PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 30 }, () => 1), n >> 8, n & 255))
  )

export const routed = (n: number, port = 4001): RoutedPeer => ({
  peer: peerOf(n),
  addresses: [Multiaddr.fromStringUnsafe(`/ip4/192.0.2.${n & 255}/tcp/${port}`)]
})

export const failing = (router: string, reason: RoutingErrorReason = new RoutingFailed({ detail: "broken" })) =>
  new RoutingError({ router, what: "all", reason })

/** A routing with the answers given; what is not given is not found. */
export const scripted = (
  router: string,
  answers: Partial<Routing["peers"] & Routing["content"]> = {}
): Effect.Effect<Routing> => {
  const none = Effect.fail(failing(router, new NotFound({ asked: 1 })))
  const all = {
    findPeer: () => none,
    closestPeers: () => Stream.fromEffect(none),
    provide: () => none,
    unprovide: () => Effect.void,
    provided: Effect.succeed([]),
    findProviders: () => Stream.empty,
    ...answers,
    router
  }
  return Effect.succeed({ peers: all, content: all })
}

/** The members of a hub, the first of whom is asked. */
export const memoryNetwork = (
  numbers: ReadonlyArray<number>,
  key: Uint8Array,
  wrap: (mine: Effect.Effect<Routing>) => Effect.Effect<Routing> = (mine) => mine
) =>
  Effect.gen(function* () {
    const hub = yield* MemoryRouting.makeHub
    const members: Array<Routing> = []
    for (const n of numbers) members.push(yield* MemoryRouting.make(hub, routed(n)))
    const [mine, ...others] = members
    const [, ...rest] = numbers
    if (mine === undefined) return yield* Effect.die("an empty network")
    for (const other of others.slice(0, 2)) yield* Effect.orDie(other.content.provide(key))
    const silence = Effect.sync(() => {
      hub.answers = false
    })
    const routing = yield* wrap(Effect.succeed(mine))
    return { hub, mine, others, routing, peers: rest.map((n) => routed(n)), silence }
  })
