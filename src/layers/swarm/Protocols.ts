/** The registry of protocol handlers; one for a node. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import {
  type Handler,
  type HandlerOptions,
  Protocols,
  ProtocolTaken,
  type Registration
} from "../../services/Protocols.ts"

const defaultMaxStreams = 1024

const make = Effect.gen(function* () {
  const handlers = new Map<string, Registration>()
  const list = () => [...handlers.keys()].toSorted()
  // What changed does not matter, only that something did: one element is enough.
  const changes = yield* PubSub.sliding<void>({ capacity: 1 })

  const handle = Effect.fnUntraced(function* <E, R>(
    protocol: string,
    handler: Handler<E, R>,
    options?: HandlerOptions
  ) {
    const context = yield* Effect.context<R>()
    // Merged once for all streams of a connection: their fibers begin in the same context.
    const merged = new WeakMap<Context.Context<never>, Context.Context<R>>()
    const within = (from: Context.Context<never>): Context.Context<R> => {
      const known = merged.get(from) ?? Context.merge(from, context)
      merged.set(from, known)
      return known
    }
    const changed = () => PubSub.publishUnsafe(changes, undefined)
    const register = Effect.suspend(() => {
      if (handlers.has(protocol)) return Effect.fail(new ProtocolTaken({ protocol }))
      handlers.set(protocol, {
        protocol,
        maxStreamsPerConnection: options?.maxStreamsPerConnection ?? defaultMaxStreams,
        service: options?.service,
        run: (stream) => Effect.updateContext(handler(stream), (from: Context.Context<never>) => within(from))
      })
      return Effect.sync(changed)
    })
    yield* Effect.acquireRelease(register, () =>
      Effect.sync(() => {
        handlers.delete(protocol)
        changed()
      })
    )
  })

  return Protocols.of({
    handle,
    registered: Effect.sync(list),
    changes: Stream.fromPubSub(changes),
    find: (protocol) => handlers.get(protocol),
    list
  })
})

export const layer: Layer.Layer<Protocols> = Layer.effect(Protocols, make)
