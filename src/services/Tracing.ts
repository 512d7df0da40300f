/**
 * Tracing: spans that cost nothing when nobody collects them. Effect makes a
 * span for its own tracer too, and each costs microseconds and a kilobyte; a
 * swarm that dials and serves streams by the thousand should not pay that.
 */
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

/**
 * Runs `effect` in a span. `attributes` is called only if there is a tracer.
 * With `parent` it is a child of that span, whichever fiber it runs in; with
 * `null` it starts a trace of its own.
 */
export type Trace = <A, E, R>(
  name: string,
  attributes: () => Readonly<Record<string, unknown>>,
  effect: Effect.Effect<A, E, R>,
  parent?: Tracer.AnySpan | null
) => Effect.Effect<A, E, R>

const untraced: Trace = (_name, _attributes, effect) => effect

/** Whose tracer the calling fiber has does not matter: dials are asked for from anywhere. */
const traced =
  (tracer: Tracer.Tracer): Trace =>
  (name, attributes, effect, parent) =>
    Effect.suspend(() =>
      Effect.withSpan(effect, name, {
        attributes: attributes(),
        captureStackTrace: false,
        ...(parent === undefined ? {} : parent === null ? { root: true } : { parent })
      })
    ).pipe(Effect.withTracer(tracer))

/**
 * How a layer traces, decided once when it is built: with the tracer of its
 * context, or not at all if that is Effect's own, which keeps no span.
 *
 * ```
 * const trace = yield* Tracing.make
 * return trace("libp2p.secure", () => ({ peer }), secure(raw))
 * ```
 */
export const make: Effect.Effect<Trace> = Effect.map(Effect.tracer, (tracer) =>
  tracer === Tracer.nativeTracer ? untraced : traced(tracer)
)

/** False when spans go nowhere. */
export const isTraced = (trace: Trace): boolean => trace !== untraced

/** The span that this runs in, to be handed to another fiber as a parent. */
export const current: Effect.Effect<Tracer.AnySpan | undefined> = Effect.map(
  Effect.serviceOption(Tracer.ParentSpan),
  (span) => (span._tag === "Some" ? span.value : undefined)
)
