/**
 * MdnsRouting: peers and content of the local network, asked of all who are on
 * it at once. There is no upkeep and nobody to enter by: who has what is asked
 * for answers.
 *
 * ```
 * const Routing = MdnsRouting.layer.pipe(Layer.provide(MdnsNetwork.layer()))
 * ```
 *
 * An answer is hearsay, as with every routing. Nobody says that they do not have
 * it, so that a question that nobody answers takes the whole wait. Who asks for
 * a key tells the network its hash, and not the key.
 *
 * To provide tells nobody: the answer is given when somebody asks. The `holders`
 * of it are those who are there now and would have it from here. While nobody
 * was heard yet, as just after the start, they are 0, and it is provided all the
 * same.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { LocalNetwork, type LocalQuestion } from "../../services/LocalNetwork.ts"
import {
  NobodyToAsk,
  NotFound,
  PeerRouting,
  type RoutedPeer,
  RoutingError,
  type RoutingErrorReason,
  type RoutingOptions,
  RoutingTimeout
} from "../../services/PeerRouting.ts"
import { type Routing, toLayer } from "../../services/Routing.ts"
import { aboutClosest, aboutPeer, aboutProviders } from "./composite/Plan.ts"
import { closest } from "./core/Closest.ts"

export interface Options {
  /** How long a question waits for answers, unless its deadline comes first. Default 2 seconds. */
  readonly wait?: Duration.Input | undefined
}

const router = "mdns"
/** Peers told of as the closest. */
const bucket = 20

/** It as a value, for `CompositeRouting`. What it provides is provided until the scope closes. */
export const make = (options?: Options): Effect.Effect<Routing, never, LocalNetwork | Scope.Scope> =>
  Effect.gen(function* () {
    const network = yield* LocalNetwork
    const waitMs = Duration.toMillis(options?.wait ?? "2 seconds")
    const mine = new Map<string, Uint8Array>()
    yield* Effect.addFinalizer(() =>
      Effect.forEach(mine.values(), (key) => network.release({ _tag: "Key", key }), { discard: true })
    )

    const fail = (what: string, reason: RoutingErrorReason) => new RoutingError({ router, what, reason })
    const nobody = new NobodyToAsk({ detail: "nobody was heard on the local network" })
    const present = Effect.map(network.peers, (peers) =>
      peers.map(({ addresses, peer }): RoutedPeer => ({ peer, addresses }))
    )

    /** Those who answer; at the end of a question that nobody has answered, why it ends. */
    const ask = (question: LocalQuestion, what: string, asking: RoutingOptions | undefined) => {
      const deadlineMs = Duration.toMillis(asking?.deadline ?? Duration.minutes(1))
      let answered = 0
      const tell = (learnt: RoutedPeer, present: number) =>
        Effect.sync(() => {
          answered++
          asking?.onProgress?.({
            router,
            learnt: [learnt],
            asked: Math.max(present, answered),
            answered,
            failed: 0,
            hops: 1,
            closest: []
          })
        })
      const end = Effect.flatMap(network.peers, ({ length }): Effect.Effect<void, RoutingError> => {
        if (deadlineMs < waitMs) {
          return Effect.fail(fail(what, new RoutingTimeout({ afterMs: deadlineMs, asked: answered })))
        }
        return answered === 0 && length === 0 ? Effect.fail(fail(what, nobody)) : Effect.void
      })
      // Counted once: whoever answers without end does not have all that is known gone through as often.
      const answers = Effect.map(network.peers, ({ length }) =>
        network.ask(question, Math.min(waitMs, deadlineMs)).pipe(
          Stream.map(({ addresses, peer }): RoutedPeer => ({ peer, addresses })),
          Stream.tap((one) => tell(one, length))
        )
      )
      return Stream.concat(Stream.unwrap(answers), Stream.drain(Stream.fromEffect(end)))
    }

    const peers = PeerRouting.of({
      router,
      findPeer: (peer, asking) =>
        Effect.gen(function* () {
          const id = peer.toString()
          const known = (yield* present).find((one) => one.peer.toString() === id)
          if (known !== undefined) return known
          const what = aboutPeer(peer)
          const found = yield* ask({ _tag: "Peer", peer }, what, asking).pipe(
            // What is said of others was not asked for.
            Stream.filter((one) => one.peer.toString() === id),
            Stream.runHead
          )
          if (Option.isSome(found)) return found.value
          return yield* fail(what, new NotFound({ asked: (yield* present).length }))
        }),
      closestPeers: (key) =>
        Stream.fromEffect(
          Effect.flatMap(present, (all) => {
            if (all.length === 0) return Effect.fail(fail(aboutClosest(key), nobody))
            const nearest = closest(key, all, bucket)
            const count = all.length
            return Effect.succeed({
              router,
              learnt: nearest,
              asked: count,
              answered: count,
              failed: 0,
              hops: 1,
              closest: nearest
            })
          })
        )
    })

    const content = ContentRouting.of({
      router,
      provide: (key) =>
        Effect.gen(function* () {
          const own = Bytes.copy(key)
          mine.set(Bytes.toHex(own), own)
          yield* network.hold({ _tag: "Key", key: own })
          // Nobody is told: those who are here find it when they ask, and those who come later too.
          return { holders: (yield* network.peers).length }
        }),
      unprovide: (key) =>
        Effect.suspend(() => (mine.delete(Bytes.toHex(key)) ? network.release({ _tag: "Key", key }) : Effect.void)),
      provided: Effect.sync(() => [...mine.values()]),
      findProviders: (key, asking) => ask({ _tag: "Key", key: Bytes.copy(key) }, aboutProviders(key), asking)
    })

    return { peers, content }
  })

/** The routing of the local network. */
export const layer: Layer.Layer<PeerRouting | ContentRouting, never, LocalNetwork> = toLayer(make())

/** The same, with another wait. */
export const layerWith = (options: Options): Layer.Layer<PeerRouting | ContentRouting, never, LocalNetwork> =>
  toLayer(make(options))
