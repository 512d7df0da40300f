/**
 * Routing: a PeerRouting and a ContentRouting as one value, for those who
 * combine several of them.
 *
 * ```
 * const Both = CompositeRouting.layerParallel([
 *   Routing.fromLayer(KadRouting.layer()),
 *   DelegatedRouting.make({ url: "https://routing.example" })
 * ])
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { ContentRouting } from "./ContentRouting.ts"
import { PeerRouting } from "./PeerRouting.ts"

export interface Routing {
  readonly peers: PeerRouting["Service"]
  readonly content: ContentRouting["Service"]
}

/** What a layer of both gives, as a value. The layer lives as long as the scope. */
export const fromLayer = <E, R>(
  layer: Layer.Layer<PeerRouting | ContentRouting, E, R>
): Effect.Effect<Routing, E, R | Scope.Scope> =>
  Effect.map(Layer.build(layer), (context) => ({
    peers: Context.get(context, PeerRouting),
    content: Context.get(context, ContentRouting)
  }))

/** The layer of both. */
export const toLayer = <E, R>(
  make: Effect.Effect<Routing, E, R>
): Layer.Layer<PeerRouting | ContentRouting, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(make, ({ content, peers }) =>
      Context.make(PeerRouting, peers).pipe(Context.add(ContentRouting, content))
    )
  )
