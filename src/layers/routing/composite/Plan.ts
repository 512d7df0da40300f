/** A plan says how questions are put to several routings; with it, they are one. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as ContentKey from "../../../data/ContentKey.ts"
import type { PeerId } from "../../../data/PeerId.ts"
import { ContentRouting, type Provided } from "../../../services/ContentRouting.ts"
import {
  PeerRouting,
  type RoutedPeer,
  type RoutingError,
  type RoutingOptions,
  type RoutingProgress
} from "../../../services/PeerRouting.ts"
import type { Routing } from "../../../services/Routing.ts"
import { Introductions } from "../../internal/Introductions.ts"
import { distinct } from "../core/Combine.ts"
import type { Many, One } from "./Question.ts"

/** Providers of one question that are told; there is no use for more. */
const maxProviders = 10_000

export interface Plan {
  readonly router: string
  /** The first good answer, or else the first of the others. */
  readonly first: <A>(question: One<A>, isGood: (answer: A) => boolean) => Effect.Effect<A, RoutingError>
  /** What the routings tell; `index` says which of them. An element that is `isFound` is an answer. */
  readonly every: <A>(
    question: Many<A>,
    isFound: (element: A) => boolean
  ) => Stream.Stream<{ readonly index: number; readonly element: A }, RoutingError>
  readonly provide: (question: One<Provided>) => Effect.Effect<Provided, RoutingError>
  /** Steps of routings that work side by side become steps of the whole. */
  readonly steps: (key: Uint8Array) => (index: number, step: RoutingProgress) => RoutingProgress
}

export const aboutPeer = (peer: PeerId): string => `peer ${peer.toString()}`
export const aboutProviders = (key: Uint8Array): string => `providers of ${ContentKey.nameOf(key)}`
export const aboutProviding = (key: Uint8Array): string => `providing ${ContentKey.nameOf(key)}`
export const aboutClosest = (key: Uint8Array): string => `peers closest to ${ContentKey.nameOf(key)}`

const peerRouter = ({ peers }: Routing): string => peers.router
const contentRouter = ({ content }: Routing): string => content.router

/** What is announced by any of them. */
export const providedBy = (routings: ReadonlyArray<Routing>): Effect.Effect<ReadonlyArray<Uint8Array>> =>
  Effect.map(
    Effect.forEach(routings, ({ content }) => content.provided),
    (all) => distinct(all.flat())
  )

export const fromPlan = (routings: ReadonlyArray<Routing>, plan: Plan): Routing => ({
  peers: PeerRouting.of({
    router: plan.router,
    findPeer: (peer, options) =>
      plan.first<RoutedPeer>(
        {
          what: aboutPeer(peer),
          options,
          routerOf: peerRouter,
          ask: ({ peers }, given: RoutingOptions) => peers.findPeer(peer, given)
        },
        // One without addresses is of use only if nobody has a better one.
        ({ addresses }) => addresses.length > 0
      ),
    closestPeers: (key, options) =>
      Stream.suspend(() => {
        const view = plan.steps(key)
        const question: Many<RoutingProgress> = {
          what: aboutClosest(key),
          options,
          routerOf: peerRouter,
          ask: ({ peers }, given) => peers.closestPeers(key, given)
        }
        return Stream.map(
          plan.every(question, ({ closest }) => closest.length > 0),
          ({ element, index }) => view(index, element)
        )
      })
  }),
  content: ContentRouting.of({
    router: plan.router,
    provide: (key, options) =>
      plan.provide({
        what: aboutProviding(key),
        options,
        routerOf: contentRouter,
        ask: ({ content }, given) => content.provide(key, given)
      }),
    unprovide: (key) =>
      Effect.forEach(routings, ({ content }) => content.unprovide(key), { concurrency: "unbounded", discard: true }),
    provided: providedBy(routings),
    findProviders: (key, options) =>
      Stream.suspend(() => {
        const told = new Introductions(maxProviders)
        const question: Many<RoutedPeer> = {
          what: aboutProviders(key),
          options,
          routerOf: contentRouter,
          ask: ({ content }, given) => content.findProviders(key, given)
        }
        const rest = Effect.sync(() => told.takeRest())
        // One without addresses is of use only if nobody has a better one.
        return plan
          .every(question, ({ addresses }) => addresses.length > 0)
          .pipe(
            Stream.map(({ element }) => element),
            Stream.filter((provider) => told.isNew(provider)),
            // What was found before it failed is an answer.
            Stream.catch((error) =>
              Stream.unwrap(
                Effect.map(rest, (left) => (left.length > 0 ? Stream.fromIterable(left) : Stream.fail(error)))
              )
            ),
            Stream.concat(Stream.fromIterableEffect(rest))
          )
      })
  })
})
