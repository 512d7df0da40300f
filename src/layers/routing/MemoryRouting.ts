/**
 * A routing in memory: all who share a hub find each other and what they
 * provide. For tests, and for nodes of one process.
 *
 * ```
 * const hub = yield* MemoryRouting.makeHub
 * const a = yield* MemoryRouting.make(hub, { peer, addresses })
 * ```
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import {
  NobodyToAsk,
  NotFound,
  PeerRouting,
  type RoutedPeer,
  RoutingError,
  type RoutingOptions,
  RoutingTimeout
} from "../../services/PeerRouting.ts"
import { type Routing, toLayer } from "../../services/Routing.ts"
import { Swarm } from "../../services/Swarm.ts"
import { closest } from "./core/Closest.ts"
import { aboutClosest, aboutPeer, aboutProviders, aboutProviding } from "./composite/Plan.ts"

/** Peers told of as the closest. */
const bucket = 20

/** What its members know together. */
export interface Hub {
  /** By peer id. */
  readonly peers: Map<string, RoutedPeer>
  /** Who has the content of a key in hexadecimal, by peer id. */
  readonly providers: Map<string, Map<string, RoutedPeer>>
  /** False while nobody answers: every question then waits for its deadline. */
  answers: boolean
}

export const makeHub: Effect.Effect<Hub> = Effect.sync(() => ({
  peers: new Map(),
  providers: new Map(),
  answers: true
}))

const router = "memory"

/** The routing of one member, which others find for as long as the scope is open. */
export const make = (hub: Hub, self: RoutedPeer): Effect.Effect<Routing, never, Scope.Scope> =>
  Effect.gen(function* () {
    const me = self.peer.toString()
    const mine = new Map<string, Uint8Array>()
    const leave = (id: string) => {
      const providers = hub.providers.get(id)
      providers?.delete(me)
      if (providers?.size === 0) hub.providers.delete(id)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => hub.peers.set(me, self)),
      () =>
        Effect.sync(() => {
          hub.peers.delete(me)
          for (const id of mine.keys()) leave(id)
        })
    )

    const others = () => [...hub.peers.values()].filter(({ peer }) => peer.toString() !== me)

    /** What the others say, unless nobody answers. */
    const ask = <A>(
      what: string,
      options: RoutingOptions | undefined,
      answer: (others: ReadonlyArray<RoutedPeer>) => A | NotFound | NobodyToAsk
    ): Effect.Effect<A, RoutingError> =>
      Effect.suspend(() => {
        const fail = (reason: RoutingError["reason"]) => new RoutingError({ router, what, reason })
        if (!hub.answers) {
          const ms = Duration.toMillis(options?.deadline ?? Duration.minutes(1))
          return Effect.andThen(Effect.sleep(ms), Effect.fail(fail(new RoutingTimeout({ afterMs: ms, asked: 0 }))))
        }
        const known = others()
        const said = known.length === 0 ? new NobodyToAsk({ detail: "no other is in the hub" }) : answer(known)
        if (said instanceof NotFound || said instanceof NobodyToAsk) return Effect.fail(fail(said))
        options?.onProgress?.({
          router,
          learnt: [],
          asked: known.length,
          answered: known.length,
          failed: 0,
          hops: 1,
          closest: []
        })
        return Effect.succeed(said)
      })

    return {
      peers: PeerRouting.of({
        router,
        findPeer: (peer, options) =>
          ask(
            aboutPeer(peer),
            options,
            (known) =>
              known.find((one) => one.peer.toString() === peer.toString()) ?? new NotFound({ asked: known.length })
          ),
        closestPeers: (key, options) =>
          Stream.fromEffect(
            ask(aboutClosest(key), options, (known) => {
              const found = closest(key, known, bucket)
              const count = known.length
              return { router, learnt: found, asked: count, answered: count, failed: 0, hops: 1, closest: found }
            })
          )
      }),
      content: ContentRouting.of({
        router,
        provide: (key, options) =>
          ask(aboutProviding(key), options, (known) => {
            const id = Bytes.toHex(key)
            mine.set(id, key.slice())
            const providers = hub.providers.get(id) ?? new Map<string, RoutedPeer>()
            hub.providers.set(id, providers.set(me, self))
            return { holders: known.length }
          }),
        unprovide: (key) =>
          Effect.sync(() => {
            const id = Bytes.toHex(key)
            if (mine.delete(id)) leave(id)
          }),
        provided: Effect.sync(() => [...mine.values()]),
        findProviders: (key, options) =>
          Stream.unwrap(
            Effect.map(
              ask(aboutProviders(key), options, () => hub.providers.get(Bytes.toHex(key))?.values() ?? []),
              (found) => Stream.fromIterable(found)
            )
          )
      })
    }
  })

/** The routing of a node, which others find where its swarm listens when it starts. */
export const layer = (hub: Hub): Layer.Layer<PeerRouting | ContentRouting, never, Swarm> =>
  toLayer(
    Effect.gen(function* () {
      const { listenAddresses, peerId } = yield* Swarm
      return yield* make(hub, { peer: peerId, addresses: yield* listenAddresses })
    })
  )
