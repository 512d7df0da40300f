/**
 * Several routings as one: one after the other, all at once, or each for its
 * own part of what is asked.
 *
 * ```
 * CompositeRouting.layerSequential([Routing.fromLayer(KadRouting.layer()), DelegatedRouting.make({ url })])
 * ```
 *
 * A routing that fails or does not keep its deadline is no failure of the whole
 * as long as another has an answer. Interrupting a question interrupts it
 * everywhere; when one has won, the others are interrupted.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PeerId } from "../../data/PeerId.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { PeerRouting, RoutingError, RoutingUnsupported } from "../../services/PeerRouting.ts"
import { type Routing, toLayer } from "../../services/Routing.ts"
import { together } from "../../services/internal/Together.ts"
import * as Parallel from "./composite/Parallel.ts"
import { aboutClosest, aboutPeer, aboutProviders, aboutProviding, fromPlan, providedBy } from "./composite/Plan.ts"
import * as Sequential from "./composite/Sequential.ts"

type Make = Effect.Effect<Routing, unknown, unknown>
type Combined<M extends Make> = Effect.Effect<Routing, Effect.Error<M>, Effect.Services<M>>
type CombinedLayer<M extends Make> = Layer.Layer<
  PeerRouting | ContentRouting,
  Effect.Error<M>,
  Exclude<Effect.Services<M>, Scope.Scope>
>

/**
 * The next is asked when the one before fails, or has found nothing within its
 * share of the deadline: for two, half of it. Content is announced by the first
 * that can.
 */
export const sequential = <M extends Make>(makes: ReadonlyArray<M>): Combined<M> =>
  Effect.map(together<Routing, M>(makes), (routings) => fromPlan(routings, Sequential.make(routings)))

/**
 * All are asked at once. The first answer to where a peer is wins; of providers
 * and closest peers, what all find is told, each once. Content is announced by
 * all, and is announced when one of them could.
 */
export const parallel = <M extends Make>(makes: ReadonlyArray<M>): Combined<M> =>
  Effect.map(together<Routing, M>(makes), (routings) => fromPlan(routings, Parallel.make(routings)))

/** What a question is about: a peer, the content of a key, or the peers closest to one. */
export type Subject =
  | { readonly _tag: "Peer"; readonly peer: PeerId }
  | { readonly _tag: "Content"; readonly key: Uint8Array }
  | { readonly _tag: "Closest"; readonly key: Uint8Array }

/**
 * Each question goes to the routing that `choose` names; one that it names none
 * for fails as unsupported.
 *
 * ```
 * CompositeRouting.byScope({ lan: Routing.fromLayer(MdnsRouting.layer()), wan: Routing.fromLayer(KadRouting.layer()) },
 *   (subject) => (subject._tag === "Peer" && inHouse.has(subject.peer.toString()) ? "lan" : "wan"))
 * ```
 */
export const byScope = <Name extends string, M extends Make>(
  makes: Readonly<Record<Name, M>>,
  choose: (subject: Subject) => NoInfer<Name> | undefined
): Combined<M> =>
  Effect.gen(function* () {
    const entries = Object.entries<M>(makes)
    const made = yield* together<Routing, M>(entries.map(([, make]) => make))
    const routings = new Map(entries.map(([name], index) => [name, made[index]]))
    const router = `byScope(${entries.map(([name]) => name).join(", ")})`
    const chosen = (subject: Subject): Routing | undefined => routings.get(choose(subject) ?? "")
    const none = (what: string) =>
      new RoutingError({ router, what, reason: new RoutingUnsupported({ detail: "no routing is chosen for it" }) })
    return {
      peers: PeerRouting.of({
        router,
        findPeer: (peer, options) =>
          Effect.suspend(
            () => chosen({ _tag: "Peer", peer })?.peers.findPeer(peer, options) ?? Effect.fail(none(aboutPeer(peer)))
          ),
        closestPeers: (key, options) =>
          Stream.suspend(
            () =>
              chosen({ _tag: "Closest", key })?.peers.closestPeers(key, options) ?? Stream.fail(none(aboutClosest(key)))
          )
      }),
      content: ContentRouting.of({
        router,
        provide: (key, options) =>
          Effect.suspend(
            () =>
              chosen({ _tag: "Content", key })?.content.provide(key, options) ?? Effect.fail(none(aboutProviding(key)))
          ),
        unprovide: (key) =>
          Effect.suspend(() => chosen({ _tag: "Content", key })?.content.unprovide(key) ?? Effect.void),
        provided: providedBy(made),
        findProviders: (key, options) =>
          Stream.suspend(
            () =>
              chosen({ _tag: "Content", key })?.content.findProviders(key, options) ??
              Stream.fail(none(aboutProviders(key)))
          )
      })
    }
  })

/** The layer of {@link sequential}. */
export const layerSequential = <M extends Make>(makes: ReadonlyArray<M>): CombinedLayer<M> => toLayer(sequential(makes))

/** The layer of {@link parallel}. */
export const layerParallel = <M extends Make>(makes: ReadonlyArray<M>): CombinedLayer<M> => toLayer(parallel(makes))

/** The layer of {@link byScope}. */
export const layerByScope = <Name extends string, M extends Make>(
  makes: Readonly<Record<Name, M>>,
  choose: (subject: Subject) => NoInfer<Name> | undefined
): CombinedLayer<M> => toLayer(byScope(makes, choose))
