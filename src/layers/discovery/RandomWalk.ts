/**
 * A walk through the network now and then: who is closest to a key that nobody
 * chose? Whoever is met on the way is told as discovered, and the routing that
 * is asked learns of them too.
 *
 * ```
 * scope of the layer
 *  └─ actor random-walk     walks, one walk at a time
 *      └─ one timer         for the next
 * ```
 *
 * A walk on which nobody new is met makes the pause after it longer.
 *
 * Specification: kad-dht/README.md, "Bootstrap process".
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type ActorRef, Actors, type Behaviour } from "../../services/Actors.ts"
import { type DiscoveredPeer, Discovery } from "../../services/Discovery.ts"
import { PeerRouting, type RoutingProgress } from "../../services/PeerRouting.ts"
import { pauseMs } from "../internal/Retry.ts"
import { Met } from "./core/Met.ts"

export interface Options {
  /** From one walk to the next, at most; at least half of it. Default 10 minutes. */
  readonly interval?: Duration.Input | undefined
  /** The same when nobody new is met, walk after walk. Default 2 hours. */
  readonly longest?: Duration.Input | undefined
  /** Before the first walk, at most; at least half of it. Default 10 seconds. */
  readonly first?: Duration.Input | undefined
  /** For one walk. Default 1 minute. */
  readonly deadline?: Duration.Input | undefined
  /** Peers of one walk that are told. Default 200. */
  readonly perWalk?: number | undefined
}

/** Peers told of that a slow reader may fall behind. */
const capacity = 1024
/** Peers that are remembered, to tell who is new. */
const remembered = 4096

interface Walk {
  readonly _tag: "Walk"
}

/** A key from the whole space, in the form of a SHA-256 multihash, which every routing can be asked for. */
const randomKey = Effect.map(
  Effect.forEach(Array.from({ length: 32 }), () => Random.nextIntBetween(0, 255)),
  (digest) => Uint8Array.of(0x12, 0x20, ...digest)
)

/** The walk as a value, for `Discovery.layerAll`. */
export const make = (
  options?: Options
): Effect.Effect<Discovery["Service"], never, Actors | PeerRouting | Scope.Scope> =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const routing = yield* PeerRouting
    const pauses = {
      firstMs: Duration.toMillis(options?.interval ?? "10 minutes"),
      longestMs: Duration.toMillis(options?.longest ?? "2 hours")
    }
    const first = Duration.toMillis(options?.first ?? "10 seconds")
    const deadline = Duration.toMillis(options?.deadline ?? "1 minute")
    const perWalk = options?.perWalk ?? 200
    const told = yield* PubSub.sliding<DiscoveredPeer>({ capacity })
    const met = new Met(remembered)
    let walks = 0
    /** Walks in a row on which nobody new was met. */
    let barren = 0

    const walk = Effect.gen(function* () {
      const onThisWalk = new Met(perWalk)
      let isFruitful = false
      const meet = ({ learnt }: RoutingProgress) =>
        Effect.sync(() => {
          for (const { addresses, peer } of learnt) {
            const id = peer.toString()
            if (onThisWalk.size >= perWalk || !onThisWalk.add(id)) continue
            if (met.add(id)) isFruitful = true
            PubSub.publishUnsafe(told, { peer, addresses, by: "random-walk" })
          }
        })
      yield* Stream.runForEach(routing.closestPeers(yield* randomKey, { deadline }), meet).pipe(
        // A routing that does not keep its deadline must not end the walks.
        Effect.timeoutOrElse({ duration: deadline * 2, orElse: () => Effect.void }),
        Effect.catch((error) => Effect.logDebug(`random walk: ${error.message}`))
      )
      walks++
      barren = isFruitful ? 0 : barren + 1
    })

    yield* actors.spawn<Walk, never, Scope.Scope>({
      name: "random-walk",
      mailbox: 1,
      restart: { times: 10, within: "1 hour" },
      make: (self: ActorRef<Walk>) =>
        Effect.gen(function* () {
          const scope = yield* Effect.scope
          const walkAfter = (ms: number) =>
            Effect.asVoid(
              Effect.forkIn(Effect.andThen(Effect.sleep(ms), Effect.ignore(self.tell({ _tag: "Walk" }))), scope)
            )
          // The pause begins when a walk has ended: two never overlap.
          const behaviour: Behaviour<Walk, never> = {
            receive: () =>
              walk.pipe(
                Effect.andThen(Random.next),
                Effect.flatMap((random) => walkAfter(pauseMs(barren + 1, pauses, random)))
              ),
            detail: () => `${walks} walks, ${barren} in a row met nobody new`
          }
          yield* walkAfter(pauseMs(1, { firstMs: first, longestMs: first }, yield* Random.next))
          return behaviour
        })
    })
    return Discovery.of({ discovered: Stream.fromPubSub(told) })
  })

/**
 * Walks for as long as the layer is in use.
 *
 * ```
 * RandomWalk.layer({ interval: "5 minutes" })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Discovery, never, Actors | PeerRouting> =>
  Layer.effect(Discovery, make(options))
